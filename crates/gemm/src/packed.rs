//! The right operand, rearranged once for many products.

use kernform_simd::Isa;
use kernform_tensor::MatrixRef;

use crate::GemmError;
use crate::pack::PackMatrix;
use crate::weight::Weight;

#[cfg(feature = "alloc")]
use kernform_tensor::Memory;

/// Columns of a panel: one AVX-512 vector, two of AVX2, four of NEON, one cache line.
pub const PANEL: usize = 16;

/// The right operand of [`gemm`](crate::gemm) in the layout that its kernels read: the same for every level and machine.
///
/// `[k, n]` is cut into panels of [`PANEL`] columns; a panel holds its `k` rows one after the other, the last one filled
/// with zeros to its full width. So element `(i, j)` is at `(j / PANEL * k + i) * PANEL + j % PANEL`, and packed weights
/// can be written to a file, mapped, or read from flash ([`PackedB::from_slice`]). Products are fastest where the data
/// begin at a multiple of 64 bytes; [`PackedB::pack`] allocates so.
#[derive(Clone, Debug)]
pub struct PackedB<'a, W = f32> {
    k: usize,
    n: usize,
    data: Storage<'a, W>,
}

#[derive(Clone, Debug)]
enum Storage<'a, W> {
    Borrowed(&'a [W]),
    #[cfg(feature = "alloc")]
    Owned(Memory),
}

impl PackedB<'_> {
    /// Elements of a packed `[k, n]` operand of any type.
    ///
    /// # Errors
    /// [`GemmError::TooLarge`] where the length does not fit `usize`.
    pub const fn packed_len(k: usize, n: usize) -> Result<usize, GemmError> {
        let Some(width) = n.checked_next_multiple_of(PANEL) else { return Err(GemmError::TooLarge) };
        match width.checked_mul(k) {
            Some(len) => Ok(len),
            None => Err(GemmError::TooLarge),
        }
    }
}

impl<'a, W: Weight> PackedB<'a, W> {
    /// Data packed before, of a `[k, n]` operand. What stands in the filling of the last panel does not matter.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where the length is not [`PackedB::packed_len`].
    pub const fn from_slice(k: usize, n: usize, data: &'a [W]) -> Result<Self, GemmError> {
        match PackedB::packed_len(k, n) {
            Ok(needed) if needed == data.len() => Ok(PackedB { k, n, data: Storage::Borrowed(data) }),
            Ok(needed) => Err(GemmError::PackedLength { needed, found: data.len() }),
            Err(error) => Err(error),
        }
    }

    /// Packs `b`, of any strides, into memory of the caller, of which it takes the first [`PackedB::packed_len`] elements.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where there are fewer.
    pub fn pack_into(b: MatrixRef<'_, W>, into: &'a mut [W]) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let needed = PackedB::packed_len(k, n)?;
        let found = into.len();
        let into = into.get_mut(..needed).ok_or(GemmError::PackedLength { needed, found })?;
        Isa::best().dispatch(PackMatrix { b, into });
        Ok(PackedB { k, n, data: Storage::Borrowed(into) })
    }

    /// The shape `(k, n)` of the operand.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.k, self.n)
    }

    /// The packed elements, as [`PackedB::from_slice`] takes them.
    #[must_use]
    pub fn as_slice(&self) -> &[W] {
        match &self.data {
            Storage::Borrowed(data) => data,
            #[cfg(feature = "alloc")]
            Storage::Owned(memory) => memory.as_slice(),
        }
    }
}

#[cfg(feature = "alloc")]
impl<W: Weight> PackedB<'static, W> {
    /// Packs `b`, of any strides, into memory of its own. For PyTorch weights `[out, in]` give the transposed view.
    ///
    /// # Errors
    /// [`GemmError::TooLarge`] and [`GemmError::OutOfMemory`].
    pub fn pack(b: MatrixRef<'_, W>) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let len = PackedB::packed_len(k, n)?;
        let bytes = len.checked_mul(size_of::<W>()).ok_or(GemmError::TooLarge)?;
        let mut memory = Memory::zeroed(bytes).ok_or(GemmError::OutOfMemory { elements: len })?;
        Isa::best().dispatch(PackMatrix { b, into: memory.as_mut_slice() });
        Ok(PackedB { k, n, data: Storage::Owned(memory) })
    }
}
