//! Floats to int8.

use kernform_simd::{Isa, Kernel, Simd};
use kernform_tensor::{MatrixMut, MatrixRef};

use super::Scale;
use crate::GemmError;

/// Rows whose largest magnitude is below this (2^-119, about 1.5e-36) count as zeros: from here on, the scale and its
/// inverse are normal numbers.
pub const LEAST_MAGNITUDE: f32 = f32::from_bits((127 - 119) << 23);

/// `1.5 * 2^23`: a float of that size has no bits behind the point, so that adding it rounds to an integer, ties to
/// even, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Quantises each row of `x` by its largest magnitude: `q = round(x * (127 / max|x|))`, ties to even, with the scale
/// `max|x| / 127`, so that `x` is about `q * scale`.
///
/// The error of an element is at most `scale * (0.5 + 127 * 4 u)`, with `u = 2^-24`. A row of zeros, or below
/// [`LEAST_MAGNITUDE`], has the scale 0 and zeros. A row with NaN or an infinity has the scale NaN and zeros, so that all
/// of its products are NaN.
///
/// # Errors
/// [`GemmError::OutputShape`] where `q` has not the shape of `x`, [`GemmError::ScaleLength`] where there is not one scale
/// for each row.
pub fn quantize_rows(
    isa: Isa,
    x: MatrixRef<'_, f32>,
    mut q: MatrixMut<'_, i8>,
    scales: &mut [f32],
) -> Result<(), GemmError> {
    check_shape(&x, &q)?;
    Scale::check_len(scales.len(), x.rows())?;
    isa.dispatch(QuantizeMatrix { x, q: &mut q, scales: Some(scales), multiplier: 0.0 });
    Ok(())
}

/// Quantises with a given multiplier: `q = round(x * multiplier)`, ties to even, clamped to -127 to 127, as Marian and
/// intgemm do. NaN gives 0, infinities give -127 and 127.
///
/// # Errors
/// [`GemmError::OutputShape`] where `q` has not the shape of `x`.
pub fn quantize_with(
    isa: Isa,
    x: MatrixRef<'_, f32>,
    multiplier: f32,
    mut q: MatrixMut<'_, i8>,
) -> Result<(), GemmError> {
    check_shape(&x, &q)?;
    isa.dispatch(QuantizeMatrix { x, q: &mut q, scales: None, multiplier });
    Ok(())
}

fn check_shape(x: &MatrixRef<'_, f32>, q: &MatrixMut<'_, i8>) -> Result<(), GemmError> {
    let (needed, found) = ((x.rows(), x.cols()), (q.rows(), q.cols()));
    if needed == found { Ok(()) } else { Err(GemmError::OutputShape { needed, found }) }
}

/// Quantises a matrix: by rows where there are scales to write, else with the multiplier.
struct QuantizeMatrix<'a, 'q> {
    x: MatrixRef<'a, f32>,
    q: &'a mut MatrixMut<'q, i8>,
    scales: Option<&'a mut [f32]>,
    multiplier: f32,
}

impl Kernel for QuantizeMatrix<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut multiplier = self.multiplier;
        let mut scales = self.scales;
        for i in 0..self.x.rows() {
            if let Some(scale) = scales.as_deref_mut().and_then(|scales| scales.get_mut(i)) {
                (multiplier, *scale) = row_factors(s, self.x, i);
            }
            if let (Some(x), Some(q)) = (self.x.row(i), self.q.row_mut(i)) {
                to_bytes(s, x, multiplier, 0, q);
                continue;
            }
            let mut chunk = [0; CHUNK];
            let mut j = 0;
            while j < self.x.cols() {
                let count = CHUNK.min(self.x.cols() - j);
                row_to_bytes(s, self.x, (i, j), multiplier, 0, &mut chunk[..count]);
                for (offset, byte) in chunk[..count].iter().enumerate() {
                    if let Some(q) = self.q.get_mut(i, j + offset) {
                        *q = *byte;
                    }
                }
                j += count;
            }
        }
    }
}

/// Elements that are handled at once where they do not stand next to each other.
pub(super) const CHUNK: usize = 256;

/// Multiplier and scale of a row.
#[inline(always)]
pub(super) fn row_factors<S: Simd>(s: S, x: MatrixRef<'_, f32>, i: usize) -> (f32, f32) {
    let (largest, is_finite) = largest_magnitude(s, x, i);
    if !is_finite {
        (0.0, f32::NAN)
    } else if largest < LEAST_MAGNITUDE {
        (0.0, 0.0)
    } else {
        (127.0 / largest, largest / 127.0)
    }
}

/// The largest magnitude of a row, NaN left out, and whether all of it is finite.
#[inline(always)]
pub(super) fn largest_magnitude<S: Simd>(s: S, x: MatrixRef<'_, f32>, i: usize) -> (f32, bool) {
    let mut seen = Seen { largest: [s.splat(0.0); 4], zeros: [s.splat(0.0); 4] };
    if let Some(row) = x.row(i) {
        seen.add(s, row);
    } else {
        let mut chunk = [0.0; CHUNK];
        for j in (0..x.cols()).step_by(CHUNK) {
            let count = CHUNK.min(x.cols() - j);
            gather(x, (i, j), &mut chunk[..count]);
            seen.add(s, &chunk[..count]);
        }
    }
    seen.fold(s)
}

/// What is known of a row, in vectors enough to hide the latency of their operations.
struct Seen<S: Simd> {
    /// The largest magnitudes, NaN left out.
    largest: [S::F32; 4],
    /// 0 as long as all elements are finite, NaN from the first that is not.
    zeros: [S::F32; 4],
}

impl<S: Simd> Seen<S> {
    #[inline(always)]
    fn add(&mut self, s: S, row: &[f32]) {
        let mut fours = row.chunks_exact(4 * S::LANES);
        for four in fours.by_ref() {
            for v in 0..4 {
                self.add_vector(s, v, s.load(&four[v * S::LANES..]));
            }
        }
        for x in fours.remainder().chunks(S::LANES) {
            self.add_vector(s, 0, s.load_or(x, 0.0));
        }
    }

    #[inline(always)]
    fn add_vector(&mut self, s: S, v: usize, x: S::F32) {
        self.largest[v] = s.max(s.abs(x), self.largest[v]);
        self.zeros[v] = s.mul_add(x, s.splat(0.0), self.zeros[v]);
    }

    /// The largest magnitude, and whether all elements were finite.
    #[inline(always)]
    fn fold(self, s: S) -> (f32, bool) {
        let [a, b, c, d] = self.largest;
        let largest = s.fold_vector(s.max(s.max(a, b), s.max(c, d)), |a, b| s.max(a, b));
        let [a, b, c, d] = self.zeros;
        (largest, !s.any(s.is_nan(s.add(s.add(a, b), s.add(c, d)))))
    }
}

/// Elements of a row from `(i, j)` on.
#[inline(always)]
fn gather(x: MatrixRef<'_, f32>, (i, j): (usize, usize), into: &mut [f32]) {
    for (offset, into) in into.iter_mut().enumerate() {
        *into = x.get(i, j + offset).copied().unwrap_or(0.0);
    }
}

/// Quantises elements of a row, at most [`CHUNK`], from `(i, j)` on.
#[inline(always)]
pub(super) fn row_to_bytes<S: Simd>(
    s: S,
    x: MatrixRef<'_, f32>,
    (i, j): (usize, usize),
    multiplier: f32,
    shift: u8,
    q: &mut [i8],
) {
    if let Some(x) = x.row(i) {
        return to_bytes(s, &x[j..j + q.len()], multiplier, shift, q);
    }
    let mut chunk = [0.0; CHUNK];
    gather(x, (i, j), &mut chunk[..q.len()]);
    to_bytes(s, &chunk[..q.len()], multiplier, shift, q);
}

/// `q = clamp(round(x * multiplier)) + shift`, the low byte of it.
#[inline(always)]
fn to_bytes<S: Simd>(s: S, x: &[f32], multiplier: f32, shift: u8, q: &mut [i8]) {
    let factors = (s.splat(multiplier), s.splat(ROUND + f32::from(shift)));
    let len = x.len().min(q.len());
    let whole = len / S::LANES * S::LANES;
    for (x, q) in x[..whole].chunks_exact(S::LANES).zip(q[..whole].chunks_exact_mut(S::LANES)) {
        s.store_low_bytes(quantize(s, s.load(x), factors), q);
    }
    if whole < len {
        // No level has more lanes.
        let mut bytes = [0; 16];
        s.store_low_bytes(quantize(s, s.load_or(&x[whole..len], 0.0), factors), &mut bytes);
        q[whole..len].copy_from_slice(&bytes[..len - whole]);
    }
}

/// One element of it, without a shift.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(super) fn byte(x: f32, multiplier: f32) -> i8 {
    // A cast gives 0 for NaN.
    ((x * multiplier).clamp(-127.0, 127.0) + ROUND - ROUND) as i8
}

/// One vector of it.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: S::F32, (multiplier, round): (S::F32, S::F32)) -> S::I32 {
    let x = s.mul(x, multiplier);
    let x = s.select(s.is_nan(x), s.splat(0.0), x);
    let x = s.min(s.max(x, s.splat(-127.0)), s.splat(127.0));
    s.bits(s.add(x, round))
}
