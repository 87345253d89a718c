//! The public functions: checks, cuts into parts, runs them.

use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel};

use super::driver::{ComputePart, Part, Product, Sink, part_scratch};
use super::kernels::Kernels;
use super::packed::{MAX_DEPTH, PackedI8};
use crate::driver::Output;
use crate::multiply::{Grid, MAX_PARTS, check_shapes};
use crate::{Epilogue, GemmError, PANEL};

/// Factors of rows or of columns.
#[derive(Clone, Copy, Debug)]
pub enum Scale<'a> {
    /// The same for all.
    One(f32),
    /// One for each.
    Each(&'a [f32]),
}

impl Scale<'_> {
    /// The factor of row or column `i`.
    #[inline(always)]
    pub(super) fn get(&self, i: usize) -> f32 {
        match *self {
            Scale::One(scale) => scale,
            Scale::Each(scales) => scales[i],
        }
    }

    fn check(&self, needed: usize) -> Result<(), GemmError> {
        match self {
            Scale::One(_) => Ok(()),
            Scale::Each(scales) => Scale::check_len(scales.len(), needed),
        }
    }

    pub(super) const fn check_len(found: usize, needed: usize) -> Result<(), GemmError> {
        if found == needed { Ok(()) } else { Err(GemmError::ScaleLength { needed, found }) }
    }
}

/// The left operand `[m, k]`: int8 already, or floats that are quantised on the way.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Bytes and the factors of their rows.
    Quantized {
        /// The bytes; all values are legal, -128 too.
        values: MatrixRef<'a, i8>,
        /// What a row's bytes are multiplied with to give its values.
        scale: Scale<'a>,
    },
    /// Each row quantised by its own largest magnitude, as [`quantize_rows`](super::quantize_rows) does.
    Dynamic(MatrixRef<'a, f32>),
    /// All rows quantised with one multiplier, as [`quantize_with`](super::quantize_with) does.
    Static {
        /// The floats.
        values: MatrixRef<'a, f32>,
        /// What they are multiplied with to give the bytes.
        multiplier: f32,
        /// What the bytes are multiplied with on the way out, mostly `1 / multiplier`.
        scale: f32,
    },
}

impl Rows<'_> {
    /// The shape `(m, k)`.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        match self {
            Rows::Quantized { values, .. } => (values.rows(), values.cols()),
            Rows::Dynamic(values) | Rows::Static { values, .. } => (values.rows(), values.cols()),
        }
    }
}

/// What is added to bytes of A in the product that saturates.
pub(super) const SHIFT: i32 = 127;

/// Multiply-adds below which another thread is not worth waking.
const WORK_PER_PART: usize = 1 << 20;

/// Floats of scratch that [`gemm_i8`] and [`gemm_i8_i32`] need for a product of these shapes with `threads` threads,
/// whatever the level.
///
/// It never shrinks as a number grows, so that the scratch of the largest product serves smaller ones.
#[must_use]
pub fn gemm_i8_scratch_len(threads: usize, m: usize, n: usize, k: usize) -> usize {
    if m == 0 || n == 0 {
        return 0;
    }
    // No packed operand is deeper.
    threads.clamp(1, MAX_PARTS) * part_scratch(m, k.min(MAX_DEPTH))
}

/// `c = activation(sum * (row_scale * col_scale) + bias) + residual`, where `sum` is the exact integer product of A
/// `[m, k]` and B `[k, n]`, for C `[m, n]`.
///
/// Element `c[i,j]` is `mul_add(f32(sum), row_scale[i] * col_scale[j], bias[j])` with a bias of 0 where there is none,
/// then the activation, then the residual: the bits of [`reference::gemm_i8`](super::reference::gemm_i8) in the class of
/// `isa`, whatever the level, the strides and the threads. `k = 0` leaves the bias or 0.
///
/// Before the activation, the error against exact arithmetic on the same bytes is at most `gamma_4 * (|bias| + |sum *
/// row_scale * col_scale|)` (conversion, product of the scales, product, sum), where nothing underflows. How far the
/// bytes are from the floats that they stand for is said with [`quantize_rows`](super::quantize_rows). A row with NaN or
/// an infinity gives NaN where it is quantised dynamically.
///
/// Nothing is allocated; `scratch` must have [`gemm_i8_scratch_len`] floats, whatever they hold.
///
/// # Errors
/// [`GemmError`] where shapes do not fit or the scratch is too short; C is as it was then.
pub fn gemm_i8(
    isa: Isa,
    parallel: &impl Parallel,
    rows: Rows<'_>,
    b: &PackedI8<'_>,
    col_scale: Scale<'_>,
    mut c: MatrixMut<'_, f32>,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    to_floats(isa, parallel, rows, b, (col_scale, false), &mut c, epilogue, scratch)
}

/// [`gemm_i8`], or (`is_shifted`) the product of A's bytes with [`SHIFT`] added, whose floats are rounded after each operation.
pub(super) fn to_floats(
    isa: Isa,
    parallel: &impl Parallel,
    rows: Rows<'_>,
    b: &PackedI8<'_>,
    (col_scale, is_shifted): (Scale<'_>, bool),
    c: &mut MatrixMut<'_, f32>,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    let (m, _) = rows.shape();
    let (_, n) = b.shape();
    let residual_shape = epilogue.residual.map(|residual| (residual.rows(), residual.cols()));
    let bias_len = epilogue.bias.map(<[f32]>::len);
    check_shapes(rows.shape(), b.shape(), (c.rows(), c.cols()), bias_len, residual_shape)?;
    if let Rows::Quantized { scale, .. } = rows {
        scale.check(m)?;
    }
    col_scale.check(n)?;
    let sink = Sink::Floats { c: Output::new(c), col_scale, epilogue: *epilogue, is_shifted };
    run(isa, parallel, rows, b, sink, scratch)
}

/// `c = a b` in integers, for A `[m, k]`, B `[k, n]`, C `[m, n]`: exact.
///
/// Nothing is allocated; `scratch` must have [`gemm_i8_scratch_len`] floats, whatever they hold.
///
/// # Errors
/// [`GemmError`] where shapes do not fit or the scratch is too short; C is as it was then.
pub fn gemm_i8_i32(
    isa: Isa,
    parallel: &impl Parallel,
    a: MatrixRef<'_, i8>,
    b: &PackedI8<'_>,
    mut c: MatrixMut<'_, i32>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    check_shapes((a.rows(), a.cols()), b.shape(), (c.rows(), c.cols()), None, None)?;
    let c = Output::new(&mut c);
    run(isa, parallel, Rows::Quantized { values: a, scale: Scale::One(1.0) }, b, Sink::Integers { c }, scratch)
}

/// Runs a product whose shapes were checked.
fn run(
    isa: Isa,
    parallel: &impl Parallel,
    rows: Rows<'_>,
    b: &PackedI8<'_>,
    sink: Sink<'_>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    let ((m, k), (_, n)) = (rows.shape(), b.shape());
    let threads = parallel.threads();
    let (needed, found) = (gemm_i8_scratch_len(threads, m, n, k), scratch.len());
    let mut rest = scratch.get_mut(..needed).ok_or(GemmError::ScratchTooShort { needed, found })?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let product = Product { k, rows, b: b.as_slice(), sink, kernels: Kernels::of(isa) };
    let grid = grid(threads, m, n, k);
    if grid.rows * grid.cols == 1 {
        compute(isa, &product, &mut Part { rows: 0..m, cols: 0..n, scratch: rest });
        return Ok(());
    }
    let mut parts: [Part<'_>; MAX_PARTS] = core::array::from_fn(|_| Part { rows: 0..0, cols: 0..0, scratch: &mut [] });
    let mut count = 0;
    for (rows, cols) in grid.parts(m, n) {
        let (scratch, left) = rest.split_at_mut(part_scratch(m, k));
        rest = left;
        parts[count] = Part { rows, cols, scratch };
        count += 1;
    }
    parallel.for_each(&mut parts[..count], |_, part| compute(isa, &product, part));
    Ok(())
}

/// Computes one part on the level of `isa`: a function that is compiled in this crate, and not again with the kernels in
/// each that multiplies.
#[inline(never)]
fn compute(isa: Isa, product: &Product<'_>, part: &mut Part<'_>) {
    isa.dispatch(ComputePart { product, part });
}

/// Into how many parts rows and columns are cut: rows first, so that each row is quantised once.
fn grid(threads: usize, m: usize, n: usize, k: usize) -> Grid {
    let work = m.saturating_mul(n).saturating_mul(k);
    let parts = threads.min(work / WORK_PER_PART).clamp(1, MAX_PARTS);
    let rows = parts.min(m.div_ceil(24));
    Grid { rows, cols: (parts / rows).min(n.div_ceil(4 * PANEL)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multiply::tests::{THREADS, check_parts, extents};

    #[test]
    fn parts_cover_c_once() {
        for (m, n, k) in extents() {
            for threads in THREADS {
                check_parts(grid(threads, m, n, k), threads, m, n);
            }
        }
    }
}
