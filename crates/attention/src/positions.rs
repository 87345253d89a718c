//! Tables of sinusoidal positions, in the layouts that models were trained with.
//!
//! Learned positions are an ordinary table: see [`crate::embed_at`]. Angles and functions are computed in `f64` by the
//! software functions of the `libm` crate and rounded once at the end, so a table has the same bits on every target.

use core::fmt;

/// The base of the wavelengths (Vaswani et al. 2017, section 3.5).
const BASE: f64 = 10_000.0;

/// How sines and cosines of one position are laid out in its row of `width` elements, and at which frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinusoidalLayout {
    /// Vaswani et al. 2017, section 3.5: element `2 i` is `sin(p / 10000^(2 i / width))`, element `2 i + 1` the cosine.
    Interleaved,
    /// Marian and its Hugging Face port: the same sines in the first half (the larger one of an odd width), the cosines
    /// in the second.
    Halves,
    /// fairseq and M2M100: sines, then cosines, of `p f` with `f = exp(-i ln(10000) / (width / 2 - 1))`, the last
    /// element of an odd width 0. These frequencies were computed in single precision when the models were trained, so
    /// exponent, frequency and angle are each rounded to `f32` here too.
    Fairseq {
        /// The row that is 0 because it stands for padding.
        padding: Option<usize>,
    },
}

/// Why a table of positions cannot be made; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PositionError {
    /// The width of a row is 0, or the output is no whole number of rows.
    Table {
        /// Elements of the output.
        len: usize,
        /// Elements of a row.
        width: usize,
    },
    /// A position is too large to be distinguished from its neighbours in the layout's arithmetic.
    Position {
        /// The largest position asked for.
        position: usize,
        /// The largest that there is.
        largest: usize,
    },
}

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Table { len, width } => {
                write!(f, "an output of {len} elements is no whole number of rows of {width}")
            }
            Self::Position { position, largest } => {
                write!(f, "position {position} is beyond the largest one, {largest}")
            }
        }
    }
}

impl core::error::Error for PositionError {}

/// The largest position: whole numbers up to here are exact in `f32`.
pub const LARGEST_POSITION: usize = 1 << 24;

/// Writes the rows of positions `first ..` to `out`, as many as it holds: `[positions, width]`.
///
/// Error against exact arithmetic: `2^-25 + p 2^-50` at position `p` in the first two layouts; in
/// [`SinusoidalLayout::Fairseq`] `2^-25` against the sine or cosine of the rounded angle.
///
/// # Errors
/// [`PositionError`] for a width of 0, an output that is no whole number of rows, or positions beyond
/// [`LARGEST_POSITION`].
pub fn sinusoidal(layout: SinusoidalLayout, width: usize, first: usize, out: &mut [f32]) -> Result<(), PositionError> {
    if width == 0 || !out.len().is_multiple_of(width) {
        return Err(PositionError::Table { len: out.len(), width });
    }
    let rows = out.len() / width;
    let last = first.saturating_add(rows.saturating_sub(1));
    if last > LARGEST_POSITION {
        return Err(PositionError::Position { position: last, largest: LARGEST_POSITION });
    }
    let half = match layout {
        SinusoidalLayout::Fairseq { .. } => width / 2,
        _ => width.div_ceil(2),
    };
    for i in 0..half {
        let frequency = Frequency::new(layout, i, width);
        let (sine_at, cosine_at) = match layout {
            SinusoidalLayout::Interleaved => (2 * i, 2 * i + 1),
            _ => (i, half + i),
        };
        for (row, position) in out.chunks_exact_mut(width).zip(first..) {
            let (sine, cosine) = libm::sincos(frequency.angle(position));
            row[sine_at] = sine as f32;
            // An odd width has a sine more than cosines.
            if let Some(element) = row.get_mut(cosine_at) {
                *element = cosine as f32;
            }
        }
    }
    if let SinusoidalLayout::Fairseq { padding } = layout {
        for (row, position) in out.chunks_exact_mut(width).zip(first..) {
            row[2 * half..].fill(0.0);
            if padding == Some(position) {
                row.fill(0.0);
            }
        }
    }
    Ok(())
}

/// What turns a position into the angle of one column.
#[derive(Clone, Copy)]
enum Frequency {
    /// The angle is the position divided by this.
    Divisor(f64),
    /// The angle is the product with this, rounded.
    Single(f32),
}

impl Frequency {
    fn new(layout: SinusoidalLayout, i: usize, width: usize) -> Frequency {
        match layout {
            SinusoidalLayout::Interleaved | SinusoidalLayout::Halves => {
                Frequency::Divisor(libm::pow(BASE, (2 * i) as f64 / width as f64))
            }
            SinusoidalLayout::Fairseq { .. } => {
                let steps = (width / 2).saturating_sub(1).max(1) as f64;
                let exponent = i as f32 * -(libm::log(BASE) / steps) as f32;
                Frequency::Single(libm::exp(f64::from(exponent)) as f32)
            }
        }
    }

    fn angle(self, position: usize) -> f64 {
        match self {
            Frequency::Divisor(divisor) => position as f64 / divisor,
            Frequency::Single(frequency) => f64::from(position as f32 * frequency),
        }
    }
}
