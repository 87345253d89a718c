//! Weights, repacked once for many products.

use crate::block::Block;
use crate::layout::{PANEL, code_bytes, panel_bytes, run, scale_bytes, store_block};
use crate::{Format, QuantError};

#[cfg(feature = "alloc")]
use kernform_tensor::Memory;

/// Weights `[n, k]` in the layout that the kernels read: the same for every level and machine, about as many bytes as
/// the blocks themselves.
///
/// The integers and floats of the blocks are all there, none is rounded. Repacked weights can be written to a file, mapped
/// or read from flash ([`PackedWeights::from_slice`]). Products are fastest where they begin at a multiple of 64 bytes;
/// [`PackedWeights::pack`] allocates so.
#[derive(Clone, Debug)]
pub struct PackedWeights<'a> {
    format: Format,
    n: usize,
    k: usize,
    data: Storage<'a>,
}

#[derive(Clone, Debug)]
enum Storage<'a> {
    Borrowed(&'a [u8]),
    #[cfg(feature = "alloc")]
    Owned(Memory),
}

impl<'a> PackedWeights<'a> {
    /// Bytes of repacked `[n, k]` weights.
    ///
    /// # Errors
    /// [`QuantError::PartialBlock`] where `k` is no whole number of blocks, [`QuantError::TooLarge`].
    pub const fn packed_len(format: Format, n: usize, k: usize) -> Result<usize, QuantError> {
        let block_len = format.block_len();
        if !k.is_multiple_of(block_len) {
            return Err(QuantError::PartialBlock { len: k, block_len });
        }
        let Some(each) = panel_bytes(format, k / block_len) else { return Err(QuantError::TooLarge) };
        match each.checked_mul(n.div_ceil(PANEL)) {
            Some(len) => Ok(len),
            None => Err(QuantError::TooLarge),
        }
    }

    /// Weights repacked before. What stands in the filling of the last panel does not matter.
    ///
    /// # Errors
    /// [`QuantError::ByteLength`] where the length is not [`PackedWeights::packed_len`], and its errors.
    pub const fn from_slice(format: Format, n: usize, k: usize, data: &'a [u8]) -> Result<Self, QuantError> {
        match Self::packed_len(format, n, k) {
            Ok(needed) if needed == data.len() => Ok(PackedWeights { format, n, k, data: Storage::Borrowed(data) }),
            Ok(needed) => Err(QuantError::ByteLength { needed, found: data.len() }),
            Err(error) => Err(error),
        }
    }

    /// Repacks `n` rows of `k` values, of which `bytes` are the blocks, into the first [`PackedWeights::packed_len`] bytes
    /// of `memory`.
    ///
    /// # Errors
    /// [`QuantError::ByteLength`] where `bytes` are not the blocks of `n` rows, [`QuantError::MemoryTooShort`], and those
    /// of [`PackedWeights::packed_len`].
    pub fn pack_into(
        format: Format,
        n: usize,
        k: usize,
        bytes: &[u8],
        memory: &'a mut [u8],
    ) -> Result<Self, QuantError> {
        let len = Self::check_blocks(format, n, k, bytes)?;
        let found = memory.len();
        let memory = memory.get_mut(..len).ok_or(QuantError::MemoryTooShort { needed: len, found })?;
        repack(format, k / format.block_len(), bytes, memory);
        Ok(PackedWeights { format, n, k, data: Storage::Borrowed(memory) })
    }

    /// The bytes that repacking `bytes` takes.
    fn check_blocks(format: Format, n: usize, k: usize, bytes: &[u8]) -> Result<usize, QuantError> {
        let len = Self::packed_len(format, n, k)?;
        let needed = format.row_bytes(k).and_then(|row| row.checked_mul(n)).ok_or(QuantError::TooLarge)?;
        let found = bytes.len();
        if found == needed { Ok(len) } else { Err(QuantError::ByteLength { needed, found }) }
    }

    /// The format of the blocks.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The shape `(n, k)`: columns of the product, values of each chain.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// The repacked bytes, as [`PackedWeights::from_slice`] takes them.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.data {
            Storage::Borrowed(data) => data,
            #[cfg(feature = "alloc")]
            Storage::Owned(memory) => memory.as_bytes(),
        }
    }
}

#[cfg(feature = "alloc")]
impl PackedWeights<'static> {
    /// Repacks `n` rows of `k` values, of which `bytes` are the blocks, into memory of their own.
    ///
    /// # Errors
    /// [`QuantError::ByteLength`], [`QuantError::PartialBlock`], [`QuantError::TooLarge`], [`QuantError::OutOfMemory`].
    pub fn pack(format: Format, n: usize, k: usize, bytes: &[u8]) -> Result<Self, QuantError> {
        let len = Self::check_blocks(format, n, k, bytes)?;
        let mut memory = Memory::zeroed(len).ok_or(QuantError::OutOfMemory { bytes: len })?;
        repack(format, k / format.block_len(), bytes, memory.as_bytes_mut());
        Ok(PackedWeights { format, n, k, data: Storage::Owned(memory) })
    }
}

fn repack(format: Format, blocks: usize, bytes: &[u8], memory: &mut [u8]) {
    let row_bytes = blocks * format.block_bytes();
    if row_bytes == 0 {
        return;
    }
    let panel_len = memory.len() / bytes.len().div_ceil(PANEL * row_bytes).max(1);
    memory.fill(0);
    let (code_len, scale_len) = (code_bytes(format), scale_bytes(format));
    for (rows, panel) in bytes.chunks(PANEL * row_bytes).zip(memory.chunks_exact_mut(panel_len.max(1))) {
        for (column, row) in rows.chunks_exact(row_bytes).enumerate() {
            let runs = panel.chunks_mut(run(format) * (code_len + scale_len));
            for (blocks, run) in row.chunks(run(format) * format.block_bytes()).zip(runs) {
                let codes_at = run.len() - blocks.len() / format.block_bytes() * code_len;
                let (scales, codes) = run.split_at_mut(codes_at);
                let records = codes.chunks_exact_mut(code_len).zip(scales.chunks_exact_mut(scale_len));
                for (block, (codes, scales)) in blocks.chunks_exact(format.block_bytes()).zip(records) {
                    store_block(format, &Block::open(format, block), column, codes, scales);
                }
            }
        }
    }
}
