//! The right operand, rearranged once for many products.

use kernform_simd::Isa;
use kernform_tensor::MatrixRef;

use crate::GemmError;
use crate::pack::PackMatrix;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// Columns of a panel: one AVX-512 vector, two of AVX2, four of NEON, one cache line.
pub const PANEL: usize = 16;

/// The right operand of [`gemm`](crate::gemm) in the layout that its kernels read: the same for every level and machine.
///
/// `[k, n]` is cut into panels of [`PANEL`] columns; a panel holds its `k` rows one after the other, the last one filled
/// with zeros to its full width. So element `(i, j)` is at `(j / PANEL * k + i) * PANEL + j % PANEL`, and packed weights
/// can be written to a file, mapped, or read from flash ([`PackedB::from_slice`]). Products are fastest where the data
/// begin at a multiple of 64 bytes; [`PackedB::pack`] allocates so.
#[derive(Clone, Debug)]
pub struct PackedB<'a> {
    k: usize,
    n: usize,
    data: Storage<'a>,
}

#[derive(Clone, Debug)]
enum Storage<'a> {
    Borrowed(&'a [f32]),
    #[cfg(feature = "alloc")]
    Owned(Vec<Line>),
}

/// A row of a panel, on a cache line of its own.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; PANEL]);

impl<'a> PackedB<'a> {
    /// Floats of a packed `[k, n]` operand.
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

    /// Data packed before, of a `[k, n]` operand. What stands in the filling of the last panel does not matter.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where the length is not [`PackedB::packed_len`].
    pub const fn from_slice(k: usize, n: usize, data: &'a [f32]) -> Result<Self, GemmError> {
        match Self::packed_len(k, n) {
            Ok(needed) if needed == data.len() => Ok(PackedB { k, n, data: Storage::Borrowed(data) }),
            Ok(needed) => Err(GemmError::PackedLength { needed, found: data.len() }),
            Err(error) => Err(error),
        }
    }

    /// Packs `b`, of any strides, into memory of the caller, of which it takes the first [`PackedB::packed_len`] floats.
    ///
    /// # Errors
    /// [`GemmError::PackedLength`] where there are fewer.
    pub fn pack_into(b: MatrixRef<'_, f32>, into: &'a mut [f32]) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let needed = Self::packed_len(k, n)?;
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

    /// The packed floats, as [`PackedB::from_slice`] takes them.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        match &self.data {
            Storage::Borrowed(data) => data,
            #[cfg(feature = "alloc")]
            // SAFETY: a `Line` is exactly `PANEL` floats without padding (64 bytes, aligned to 64).
            Storage::Owned(lines) => unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * PANEL) },
        }
    }
}

#[cfg(feature = "alloc")]
impl PackedB<'static> {
    /// Packs `b`, of any strides, into memory of its own. For PyTorch weights `[out, in]` give the transposed view.
    ///
    /// # Errors
    /// [`GemmError::TooLarge`] and [`GemmError::OutOfMemory`].
    pub fn pack(b: MatrixRef<'_, f32>) -> Result<Self, GemmError> {
        let (k, n) = (b.rows(), b.cols());
        let floats = Self::packed_len(k, n)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(floats / PANEL).map_err(|_| GemmError::OutOfMemory { floats })?;
        lines.resize(floats / PANEL, Line([0.0; PANEL]));
        // SAFETY: a `Line` is exactly `PANEL` floats without padding (64 bytes, aligned to 64).
        let into = unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), floats) };
        Isa::best().dispatch(PackMatrix { b, into });
        Ok(PackedB { k, n, data: Storage::Owned(lines) })
    }
}
