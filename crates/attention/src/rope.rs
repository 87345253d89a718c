//! Rotary positions (Su et al. 2021): tables of angles, scaled in the ways that models are, and their application.
//!
//! Frequencies, angles, sines and cosines are computed in `f64` by the software functions of the `libm` crate and rounded
//! once at the end, so a table has the same bits on every target.

use core::fmt;

use kernform_simd::{Arithmetic, Isa, Kernel, Simd};

use crate::RowsMut;
use crate::positions::LARGEST_POSITION;

/// Which two elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopePairing {
    /// Elements `2 i` and `2 i + 1`: the paper, GPT-J, GGUF files of Llama.
    Interleaved,
    /// Elements `i` and `i + rotary_dim / 2`: GPT-NeoX and the Hugging Face ports.
    Halves,
}

/// How frequencies are changed to reach beyond the positions that a model was trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Frequencies divided by a factor (Chen et al. 2023).
    Linear {
        /// How many times as many positions.
        factor: f64,
    },
    /// The base grows with the length of the sequence once that is beyond `trained`.
    DynamicNtk {
        /// How many times as many positions.
        factor: f64,
        /// Positions that the model was trained on.
        trained: usize,
        /// Tokens of the sequence.
        tokens: usize,
    },
    /// Long wavelengths divided by the factor, short ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// How many times as many positions.
        factor: f64,
        /// Wavelengths above `trained / low` are long.
        low: f64,
        /// Wavelengths below `trained / high` are short.
        high: f64,
        /// Positions that the model was trained on.
        trained: usize,
    },
    /// YaRN (Peng et al. 2023, section 3.2 to 3.4).
    Yarn {
        /// How many times as many positions.
        factor: f64,
        /// Positions that the model was trained on.
        trained: usize,
        /// Frequencies that turn more often than this within `trained` are kept; 32 in the paper.
        beta_fast: f64,
        /// Those that turn less often than this are divided by the factor; 1 in the paper.
        beta_slow: f64,
        /// What sines and cosines are multiplied by: `0.1 ln(factor) + 1` in the paper, see [`yarn_attention_factor`].
        attention_factor: f64,
    },
}

/// `0.1 ln(factor) + 1` (Peng et al. 2023, equation 22), 1 for factors up to 1.
#[must_use]
pub fn yarn_attention_factor(factor: f64) -> f64 {
    if factor > 1.0 { 0.1 * libm::log(factor) + 1.0 } else { 1.0 }
}

/// The rotation of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Elements of a head that are rotated, from the first on; even. Less than the head for partial rotation.
    pub rotary_dim: usize,
    /// The base of the wavelengths, 10000 in the paper.
    pub base: f64,
    /// What is done to the frequencies.
    pub scaling: RopeScaling,
}

/// Why positions cannot be rotated; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RopeError {
    /// The rotated part of a head is odd or longer than the head.
    RotaryDim {
        /// Its elements.
        rotary_dim: usize,
        /// Elements of a head.
        head_dim: usize,
    },
    /// The table is no whole number of rows, or the rotated part is empty.
    Table {
        /// Elements of the table.
        len: usize,
        /// Elements of a row.
        width: usize,
    },
    /// A position has no row in the table, or is beyond the largest one.
    Position {
        /// The position.
        position: usize,
        /// Positions that there are.
        positions: usize,
    },
    /// A base, factor or length of the scaling is not a finite number above 0.
    Scaling,
    /// The rows end too early, or overlap.
    Rows {
        /// Elements that are needed.
        needed: usize,
        /// Elements that are there.
        len: usize,
    },
}

impl fmt::Display for RopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RotaryDim { rotary_dim, head_dim } => {
                write!(
                    f,
                    "{rotary_dim} elements of {head_dim} cannot be rotated: an even number of at most as many can"
                )
            }
            Self::Table { len, width } => write!(f, "a table of {len} elements is no whole number of rows of {width}"),
            Self::Position { position, positions } => {
                write!(f, "position {position} does not exist, there are {positions}")
            }
            Self::Scaling => f.write_str("base, factors and lengths of the scaling must be finite numbers above 0"),
            Self::Rows { needed, len } => write!(f, "the rows must not overlap and reach {needed} elements, not {len}"),
        }
    }
}

impl core::error::Error for RopeError {}

impl Rope {
    fn check(&self) -> Result<(), RopeError> {
        let positive = |numbers: &[f64]| numbers.iter().all(|x| x.is_finite() && *x > 0.0);
        let length = |n: usize| n as f64;
        let is_right = positive(&[self.base])
            && match self.scaling {
                RopeScaling::None => true,
                RopeScaling::Linear { factor } => positive(&[factor]),
                RopeScaling::DynamicNtk { factor, trained, .. } => positive(&[factor, length(trained)]),
                RopeScaling::Llama3 { factor, low, high, trained } => {
                    positive(&[factor, low, high, length(trained)]) && low < high
                }
                RopeScaling::Yarn { factor, trained, beta_fast, beta_slow, attention_factor } => {
                    positive(&[factor, length(trained), beta_fast, beta_slow, attention_factor])
                }
            };
        if is_right { Ok(()) } else { Err(RopeError::Scaling) }
    }

    /// The frequency of pair `i`, in radians a position.
    #[must_use]
    pub fn frequency(&self, i: usize) -> f64 {
        let dim = self.rotary_dim as f64;
        let exponent = (2 * i) as f64 / dim;
        let plain = 1.0 / libm::pow(self.base, exponent);
        match self.scaling {
            RopeScaling::None => plain,
            RopeScaling::Linear { factor } => plain / factor,
            RopeScaling::DynamicNtk { factor, trained, tokens } => {
                let ratio = tokens.max(trained) as f64 / trained as f64;
                let growth = libm::pow(factor * ratio - (factor - 1.0), dim / (dim - 2.0));
                1.0 / libm::pow(self.base * growth, exponent)
            }
            RopeScaling::Llama3 { factor, low, high, trained } => {
                let turns = trained as f64 * plain / core::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * plain / factor + kept * plain
            }
            RopeScaling::Yarn { factor, trained, beta_fast, beta_slow, .. } => {
                // The pair that turns so often within the trained positions.
                let pair = |turns: f64| {
                    let wavelength = trained as f64 / (turns * core::f64::consts::TAU);
                    dim * libm::log(wavelength) / (2.0 * libm::log(self.base))
                };
                let first = libm::floor(pair(beta_fast)).max(0.0);
                let last = libm::ceil(pair(beta_slow)).min(dim - 1.0);
                let last = if first == last { last + 0.001 } else { last };
                let divided = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
                divided * plain / factor + (1.0 - divided) * plain
            }
        }
    }

    /// Writes the rows of positions `first ..` to `out`, as many as it holds, `[positions, rotary_dim]`: the cosines of
    /// the pairs, then their sines.
    ///
    /// Error against exact arithmetic: `2^-25 + p 2^-49` at position `p`, times the attention factor of YaRN.
    ///
    /// # Errors
    /// [`RopeError`] for a size that is odd or 0, an output that is no whole number of rows, positions beyond
    /// [`LARGEST_POSITION`], or a scaling that makes no sense.
    pub fn table(&self, first: usize, out: &mut [f32]) -> Result<(), RopeError> {
        let width = self.rotary_dim;
        if !width.is_multiple_of(2) {
            return Err(RopeError::RotaryDim { rotary_dim: width, head_dim: width });
        }
        if width == 0 || !out.len().is_multiple_of(width) {
            return Err(RopeError::Table { len: out.len(), width });
        }
        self.check()?;
        let last = first.saturating_add((out.len() / width).saturating_sub(1));
        if last > LARGEST_POSITION {
            return Err(RopeError::Position { position: last, positions: LARGEST_POSITION + 1 });
        }
        let size = match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        };
        for i in 0..width / 2 {
            let frequency = self.frequency(i);
            for (row, position) in out.chunks_exact_mut(width).zip(first..) {
                let (sine, cosine) = libm::sincos(position as f64 * frequency);
                row[i] = (cosine * size) as f32;
                row[width / 2 + i] = (sine * size) as f32;
            }
        }
        Ok(())
    }
}

/// The defined order of operations of [`rotate`] for one pair: `(fma(a, c, -(b s)), fma(b, c, a s))`.
pub fn rotate_pair<A: Arithmetic, T: num_traits::Float>(a: T, b: T, cosine: T, sine: T) -> (T, T) {
    (A::mul_add(a, cosine, -(b * sine)), A::mul_add(b, cosine, a * sine))
}

/// Rotates the first `rotary_dim` elements of each of `heads` heads of `head_dim` elements in place, token `t` by the row
/// `positions[t]` of `table`, which [`Rope::table`] has made.
///
/// Queries and keys of a fused projection are two calls with rows that begin at their first elements. The result of each
/// pair is that of [`rotate_pair`] on every level of a class; other elements are left alone. Error for a pair `(a, b)`:
/// `gamma_3 (|a c| + |b s|)` beyond that of the table.
///
/// # Errors
/// [`RopeError`] where sizes do not fit or a position has no row; nothing is written then.
pub fn rotate(
    isa: Isa,
    pairing: RopePairing,
    heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    table: &[f32],
    positions: &[usize],
    rows: RowsMut<'_>,
) -> Result<(), RopeError> {
    if rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
        return Err(RopeError::RotaryDim { rotary_dim, head_dim });
    }
    if rotary_dim == 0 || !table.len().is_multiple_of(rotary_dim) {
        return Err(RopeError::Table { len: table.len(), width: rotary_dim });
    }
    let count = table.len() / rotary_dim;
    if let Some(&position) = positions.iter().find(|position| **position >= count) {
        return Err(RopeError::Position { position, positions: count });
    }
    let Some(width) = heads.checked_mul(head_dim) else {
        return Err(RopeError::Rows { needed: usize::MAX, len: rows.data.len() });
    };
    if let Some(last) = positions.len().checked_sub(1) {
        let needed = last.saturating_mul(rows.stride).saturating_add(width);
        if needed > rows.data.len() || (last > 0 && rows.stride < width) {
            return Err(RopeError::Rows { needed, len: rows.data.len() });
        }
    }
    isa.dispatch(Rotate { pairing, heads, head_dim, rotary_dim, table, positions, rows });
    Ok(())
}

struct Rotate<'a> {
    pairing: RopePairing,
    heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    table: &'a [f32],
    positions: &'a [usize],
    rows: RowsMut<'a>,
}

/// The most lanes of a level.
const LANES: usize = 16;

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.heads * self.head_dim;
        for (token, position) in self.positions.iter().enumerate() {
            let row = &mut self.rows.data[token * self.rows.stride..][..width];
            let angles = &self.table[position * self.rotary_dim..][..self.rotary_dim];
            let (cosines, sines) = angles.split_at(self.rotary_dim / 2);
            for head in row.chunks_exact_mut(self.head_dim) {
                let head = &mut head[..self.rotary_dim];
                match self.pairing {
                    RopePairing::Halves => halves(s, head, cosines, sines),
                    RopePairing::Interleaved => interleaved(s, head, cosines, sines),
                }
            }
        }
    }
}

#[inline(always)]
fn pair<S: Simd>(s: S, a: S::F32, b: S::F32, cosine: S::F32, sine: S::F32) -> (S::F32, S::F32) {
    (s.mul_add(a, cosine, s.neg(s.mul(b, sine))), s.mul_add(b, cosine, s.mul(a, sine)))
}

#[inline(always)]
fn halves<S: Simd>(s: S, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (a, b) = head.split_at_mut(cosines.len());
    let parts = a.chunks_mut(S::LANES).zip(b.chunks_mut(S::LANES));
    let angles = cosines.chunks(S::LANES).zip(sines.chunks(S::LANES));
    for ((a, b), (cosine, sine)) in parts.zip(angles) {
        if a.len() == S::LANES {
            let (x, y) = pair(s, s.load(a), s.load(b), s.load(cosine), s.load(sine));
            s.store(x, a);
            s.store(y, b);
        } else {
            let load = |x: &[f32]| s.load_or(x, 0.0);
            let (x, y) = pair(s, load(a), load(b), load(cosine), load(sine));
            s.store_partial(x, a);
            s.store_partial(y, b);
        }
    }
}

#[inline(always)]
fn interleaved<S: Simd>(s: S, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let angles = cosines.chunks(S::LANES).zip(sines.chunks(S::LANES));
    for (part, (cosine, sine)) in head.chunks_mut(2 * S::LANES).zip(angles) {
        // Taken apart and put together by loops that compilers turn into shuffles.
        let (mut a, mut b) = ([0.0; LANES], [0.0; LANES]);
        for ((pair, a), b) in part.as_chunks::<2>().0.iter().zip(&mut a).zip(&mut b) {
            (*a, *b) = (pair[0], pair[1]);
        }
        let (x, y) = pair(s, s.load(&a), s.load(&b), s.load_or(cosine, 0.0), s.load_or(sine, 0.0));
        s.store(x, &mut a);
        s.store(y, &mut b);
        for ((pair, a), b) in part.as_chunks_mut::<2>().0.iter_mut().zip(&a).zip(&b) {
            *pair = [*a, *b];
        }
    }
}
