//! Scratch memory from one buffer that the caller gives.
//!
//! A kernel says how much it needs with a [`ScratchPlan`] and takes the same pieces in the same order from an
//! [`Arena`], so that the number and the use cannot drift apart.

use crate::ShapeError;
use core::fmt;

/// Alignment, in bytes, to which pieces are rounded: a cache line, and the widest vector.
pub const ALIGNMENT: usize = 64;

const STEP: usize = ALIGNMENT / size_of::<f32>();

/// `len` floats rounded up to whole [`ALIGNMENT`] units; saturates at the largest such number.
#[must_use]
pub const fn rounded(len: usize) -> usize {
    match len.checked_next_multiple_of(STEP) {
        Some(rounded) => rounded,
        None => usize::MAX / STEP * STEP,
    }
}

/// The buffer is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaError {
    /// Floats that were asked for.
    pub asked: usize,
    /// Floats that were left.
    pub left: usize,
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scratch is too small: {} floats were asked for, {} are left", self.asked, self.left)
    }
}

impl core::error::Error for ArenaError {}

/// Hands out pieces of one buffer, front to back.
///
/// ```
/// use kernform_tensor::{Arena, ScratchPlan};
///
/// let needed = ScratchPlan::new().take(100).scope(ScratchPlan::new().take(50)).finish()?;
/// let mut buffer = vec![0.0; needed];
/// let mut arena = Arena::new(&mut buffer);
/// let hidden = arena.take(100)?;
/// {
///     let mut inner = arena.scope();
///     hidden[0] = inner.take(50)?.len() as f32;
/// } // the 50 floats are free again
/// assert_eq!(arena.left(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Arena<'a> {
    free: &'a mut [f32],
}

impl<'a> Arena<'a> {
    /// An arena over the whole buffer. Pieces are aligned to [`ALIGNMENT`] when the buffer is.
    #[must_use]
    pub const fn new(buffer: &'a mut [f32]) -> Self {
        Self { free: buffer }
    }

    /// An arena that begins at the buffer's first aligned float, so that every piece is aligned.
    ///
    /// It may skip up to 15 floats; [`ScratchPlan::finish_aligned`] counts them in.
    #[must_use]
    pub fn aligned(buffer: &'a mut [f32]) -> Self {
        let skip = buffer.as_ptr().align_offset(ALIGNMENT).min(buffer.len());
        Self { free: &mut buffer[skip..] }
    }

    /// The next `len` floats, with whatever they held before; [`rounded`]`(len)` of the buffer are spent.
    ///
    /// # Errors
    /// [`ArenaError`] when fewer than `len` are left; nothing is spent then.
    pub fn take(&mut self, len: usize) -> Result<&'a mut [f32], ArenaError> {
        if len > self.free.len() {
            return Err(ArenaError { asked: len, left: self.free.len() });
        }
        let spent = rounded(len).min(self.free.len());
        let (piece, rest) = core::mem::take(&mut self.free).split_at_mut(spent);
        self.free = rest;
        Ok(&mut piece[..len])
    }

    /// The next `len` floats, set to 0.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_zeroed(&mut self, len: usize) -> Result<&'a mut [f32], ArenaError> {
        let piece = self.take(len)?;
        piece.fill(0.0);
        Ok(piece)
    }

    /// An arena over what is left; what it spends comes back when it goes.
    #[must_use]
    pub const fn scope(&mut self) -> Arena<'_> {
        Arena { free: self.free }
    }

    /// All that is left, for a callee that takes its scratch as a slice.
    #[must_use]
    pub const fn rest(&mut self) -> &mut [f32] {
        self.free
    }

    /// Floats that are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.free.len()
    }
}

/// Adds up what will be taken from an [`Arena`]; an overflow is kept until [`finish`](Self::finish).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ScratchPlan {
    // `None` once a sum has overflowed.
    used: Option<usize>,
    peak: Option<usize>,
}

impl Default for ScratchPlan {
    fn default() -> Self {
        Self::new()
    }
}

impl ScratchPlan {
    /// Nothing taken yet.
    pub const fn new() -> Self {
        Self { used: Some(0), peak: Some(0) }
    }

    /// A piece of `len` floats, kept to the end.
    pub const fn take(self, len: usize) -> Self {
        let used = match (self.used, len.checked_next_multiple_of(STEP)) {
            (Some(used), Some(len)) => used.checked_add(len),
            _ => None,
        };
        Self { used, peak: larger(self.peak, used) }
    }

    /// A piece of `rows * cols` floats, kept to the end.
    pub const fn take_matrix(self, rows: usize, cols: usize) -> Self {
        match rows.checked_mul(cols) {
            Some(len) => self.take(len),
            None => Self { used: None, peak: None },
        }
    }

    /// Pieces that are taken in a [`scope`](Arena::scope) and given back.
    pub const fn scope(self, inner: Self) -> Self {
        let peak = match (self.used, inner.peak) {
            (Some(used), Some(inner)) => used.checked_add(inner),
            _ => None,
        };
        Self { used: self.used, peak: larger(self.peak, peak) }
    }

    /// A callee that is lent the [`rest`](Arena::rest) and needs `len` floats of it; the same as a scope of one piece.
    pub const fn lend(self, len: usize) -> Self {
        self.scope(Self::new().take(len))
    }

    /// Floats that the buffer of [`Arena::new`] must have.
    ///
    /// # Errors
    /// [`ShapeError::Overflow`] when the sum does not fit `usize`.
    pub const fn finish(self) -> Result<usize, ShapeError> {
        match self.peak {
            Some(peak) => Ok(peak),
            None => Err(ShapeError::Overflow),
        }
    }

    /// Floats that the buffer of [`Arena::aligned`] must have, wherever it begins.
    ///
    /// # Errors
    /// [`ShapeError::Overflow`] when the sum does not fit `usize`.
    pub const fn finish_aligned(self) -> Result<usize, ShapeError> {
        match self.peak {
            Some(peak) => match peak.checked_add(STEP - 1) {
                Some(len) => Ok(len),
                None => Err(ShapeError::Overflow),
            },
            None => Err(ShapeError::Overflow),
        }
    }
}

const fn larger(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a > b { a } else { b }),
        _ => None,
    }
}
