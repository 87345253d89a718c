//! Biases by distance: the buckets of T5 and the slopes of ALiBi.

use core::fmt;

/// Why a table of biases cannot be made; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelativeError {
    /// Too few buckets: four where both directions are told apart, else two.
    Buckets {
        /// The number given.
        buckets: usize,
    },
    /// The largest distance is not beyond those that have a bucket each.
    Distance {
        /// The number given.
        max_distance: usize,
        /// It must be larger than this.
        least: usize,
    },
    /// A slice has the wrong length.
    Length {
        /// Elements that it must have.
        needed: usize,
        /// Elements that it has.
        len: usize,
    },
}

impl fmt::Display for RelativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Buckets { buckets } => {
                write!(f, "{buckets} buckets are too few: there must be two, or four in both directions")
            }
            Self::Distance { max_distance, least } => {
                write!(f, "the largest distance must be above {least}, not {max_distance}")
            }
            Self::Length { needed, len } => write!(f, "a slice must have {needed} elements, not {len}"),
        }
    }
}

impl core::error::Error for RelativeError {}

/// The buckets into which T5 sorts the distances between keys and queries (Raffel et al. 2020, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct T5Buckets {
    /// How many there are in all.
    pub buckets: usize,
    /// The distance from which on all share the last bucket.
    pub max_distance: usize,
    /// Whether keys behind the query have buckets of their own, as in an encoder.
    pub bidirectional: bool,
}

impl T5Buckets {
    /// The buckets of one direction, and how many of them hold a single distance.
    const fn parts(&self) -> (usize, usize) {
        let each = if self.bidirectional { self.buckets / 2 } else { self.buckets };
        (each, each / 2)
    }

    fn check(&self) -> Result<(), RelativeError> {
        let (_, exact) = self.parts();
        if exact == 0 {
            return Err(RelativeError::Buckets { buckets: self.buckets });
        }
        if self.max_distance <= exact {
            return Err(RelativeError::Distance { max_distance: self.max_distance, least: exact });
        }
        Ok(())
    }

    /// The bucket of `key - query`.
    ///
    /// Half of a direction's buckets hold one distance each, the others grow in logarithmic steps. The step is computed
    /// in single precision, each operation rounded, as it was when the models were trained.
    ///
    /// # Errors
    /// [`RelativeError`] for too few buckets or too small a largest distance.
    pub fn bucket(&self, distance: isize) -> Result<usize, RelativeError> {
        self.check()?;
        Ok(self.checked_bucket(distance))
    }

    fn checked_bucket(&self, distance: isize) -> usize {
        let (each, exact) = self.parts();
        let (start, distance) = match (self.bidirectional, distance > 0) {
            (true, true) => (each, distance.unsigned_abs()),
            (true, false) | (false, false) => (0, distance.unsigned_abs()),
            (false, true) => (0, 0),
        };
        if distance < exact {
            return start + distance;
        }
        let ratio = libm::log(f64::from(distance as f32 / exact as f32)) as f32;
        let whole = libm::log(self.max_distance as f64 / exact as f64) as f32;
        let step = (ratio / whole * (each - exact) as f32) as usize;
        start + exact.saturating_add(step).min(each - 1)
    }

    /// Writes the biases of all distances from `-before` to `after` to `out`, `[heads, before + 1 + after]`, for
    /// [`crate::RelativeBias`] with a `zero` of `before`.
    ///
    /// `table` has one row of `heads` elements a bucket.
    ///
    /// # Errors
    /// [`RelativeError`] for buckets that make no sense or slices of other lengths; nothing is written then.
    pub fn biases(
        &self,
        table: &[f32],
        heads: usize,
        before: usize,
        after: usize,
        out: &mut [f32],
    ) -> Result<(), RelativeError> {
        self.check()?;
        let needed = self.buckets.saturating_mul(heads);
        if table.len() != needed {
            return Err(RelativeError::Length { needed, len: table.len() });
        }
        let distances = before.saturating_add(after).saturating_add(1);
        let needed = distances.saturating_mul(heads);
        if out.len() != needed {
            return Err(RelativeError::Length { needed, len: out.len() });
        }
        for i in 0..if heads == 0 { 0 } else { distances } {
            let bucket = self.checked_bucket(i.cast_signed().wrapping_sub_unsigned(before));
            for head in 0..heads {
                out[head * distances + i] = table[bucket * heads + head];
            }
        }
        Ok(())
    }
}

/// Writes the slopes of ALiBi, one a head (Press et al. 2022, section 3): `2^(-8 (h + 1) / n)` where the number of heads
/// `n` is a power of two; otherwise those of the largest such number below, followed by every second one of twice as many.
///
/// Each is the nearest `f32`, the same on every target.
pub fn alibi_slopes(out: &mut [f32]) {
    let heads = out.len();
    let whole = if heads == 0 { 1 } else { 1usize << heads.ilog2() };
    for (h, slope) in out.iter_mut().enumerate() {
        let exponent = if h < whole {
            -8.0 * (h + 1) as f64 / whole as f64
        } else {
            -8.0 * (2 * (h - whole) + 1) as f64 / (2.0 * whole as f64)
        };
        *slope = libm::exp2(exponent) as f32;
    }
}
