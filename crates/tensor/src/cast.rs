//! Casts between slices of plain elements; they move nothing and never panic.

use bytemuck::{NoUninit, Pod, PodCastError};
use core::fmt;

/// Why a slice cannot be looked at as one of another element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CastError {
    /// The slice does not begin at a multiple of the target's alignment.
    Misaligned {
        /// Alignment that the target needs, in bytes.
        needed: usize,
        /// Bytes by which the address misses it.
        off_by: usize,
    },
    /// The slice is not a whole number of target elements long.
    Length {
        /// Length of the slice in bytes.
        bytes: usize,
        /// Bytes of one target element.
        element: usize,
    },
}

impl fmt::Display for CastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Misaligned { needed, off_by } => {
                write!(f, "the data begins {off_by} bytes past a multiple of {needed}, it must begin on one")
            }
            Self::Length { bytes, element } => {
                write!(f, "{bytes} bytes are no whole number of elements of {element} bytes")
            }
        }
    }
}

impl core::error::Error for CastError {}

fn explain<B>(error: PodCastError, address: usize, bytes: usize) -> CastError {
    match error {
        PodCastError::TargetAlignmentGreaterAndInputNotAligned => {
            CastError::Misaligned { needed: align_of::<B>(), off_by: address % align_of::<B>() }
        }
        _ => CastError::Length { bytes, element: size_of::<B>() },
    }
}

/// The same memory as elements of another type.
///
/// # Errors
/// [`CastError`] when the address or the length does not fit.
pub fn cast_slice<A: Pod, B: Pod>(slice: &[A]) -> Result<&[B], CastError> {
    if slice.is_empty() {
        // No element, no address that could be wrong.
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(slice).map_err(|error| explain::<B>(error, slice.as_ptr().addr(), size_of_val(slice)))
}

/// The same memory as mutable elements of another type.
///
/// # Errors
/// [`CastError`] when the address or the length does not fit.
pub fn cast_slice_mut<A: Pod, B: Pod>(slice: &mut [A]) -> Result<&mut [B], CastError> {
    if slice.is_empty() {
        return Ok(&mut []);
    }
    let (address, bytes) = (slice.as_ptr().addr(), size_of_val(slice));
    bytemuck::try_cast_slice_mut(slice).map_err(|error| explain::<B>(error, address, bytes))
}

/// The bytes of a slice, in the machine's own byte order.
#[must_use]
pub fn as_bytes<T: NoUninit>(slice: &[T]) -> &[u8] {
    bytemuck::must_cast_slice(slice)
}
