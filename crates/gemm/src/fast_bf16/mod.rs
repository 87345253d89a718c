//! Products in bf16 arithmetic, twice as fast as `f32`, and **outside the contract**: other bits than any other product.
//!
//! Both operands are rounded to bf16 (8 bits) and multiplied two steps of `k` at a time by an instruction that adds both
//! products to its sum, flushes denormals, and rounds in an order of its own (VDPBF16PS of AVX512_BF16). There is no other
//! level: a [`FastBf16`] exists only where the CPU has the instruction, and whoever asks for it says so. On one CPU the
//! result does not depend on threads, batch or layout.
//!
//! ```
//! use kernform_gemm::fast_bf16::{FastBf16, PackedBf16, gemm_fast_bf16, gemm_fast_bf16_scratch_len};
//! use kernform_gemm::Epilogue;
//! use kernform_tensor::{MatrixMut, MatrixRef, Serial};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let Some(token) = FastBf16::new() else { return Ok(()) };
//! let (a, b, mut c) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0; 4]);
//! let weights = PackedBf16::pack(MatrixRef::new(&b, 3, 2)?)?;
//! let mut scratch = vec![0.0; gemm_fast_bf16_scratch_len(1, 2, 3)];
//! let (a, out) = (MatrixRef::new(&a, 2, 3)?, MatrixMut::new(&mut c, 2, 2)?);
//! gemm_fast_bf16(token, &Serial, a, &weights, out, &Epilogue::NONE, &mut scratch)?;
//! assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
//! # Ok(())
//! # }
//! ```

use alloc::vec::Vec;

use kernform_math::activate_in_place;
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, Parallel, bf16};

use crate::blocking::a_stride;
use crate::multiply::check_shapes;
use crate::{Activation, Epilogue, GemmError, PANEL, Weight};

#[cfg_attr(target_arch = "x86_64", path = "x86.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "absent.rs")]
mod kernels;

/// Pairs of `k` in a block: two panels of them are 16 KiB.
const PAIRS: usize = 128;
/// Rows of A in a block: 126 KiB of pairs, whole tiles.
const ROWS: usize = 224;
/// Rows of a tile at most: so few go through all of `k` at once, for each panel is used once.
const TILE_ROWS: usize = 14;
/// Parts into which a product is cut at most.
const MAX_PARTS: usize = 64;
/// Multiply-adds below which another thread is not worth waking.
const WORK_PER_PART: usize = 1 << 19;

/// Proof that this CPU multiplies bf16 (AVX512_BF16 on top of AVX-512).
#[derive(Clone, Copy, Debug)]
pub struct FastBf16(Token);

#[cfg(target_arch = "x86_64")]
type Token = kernform_simd::Avx512Bf16;
#[cfg(not(target_arch = "x86_64"))]
type Token = core::convert::Infallible;

impl FastBf16 {
    /// The token, where the CPU has the instructions.
    #[must_use]
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Token::new().map(Self);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }
}

/// Two steps of `k` for the columns of a panel: the even step in the lower halves.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Line(#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by the kernels"))] [u32; PANEL]);

/// A right operand `[k, n]` rounded to bf16, in pairs of `k`.
#[derive(Clone, Debug)]
pub struct PackedBf16 {
    k: usize,
    n: usize,
    /// Panels of [`PANEL`] columns one after the other, each `k / 2` lines, rounded up.
    lines: Vec<Line>,
}

fn pair(even: f32, odd: f32) -> u32 {
    u32::from(bf16::from_f32(even).to_bits()) | u32::from(bf16::from_f32(odd).to_bits()) << 16
}

impl PackedBf16 {
    /// Rounds (to nearest, ties to even) and packs; `bf16` weights stay as they are.
    ///
    /// # Errors
    /// [`GemmError::TooLarge`], [`GemmError::OutOfMemory`].
    pub fn pack<W: Weight>(b: MatrixRef<'_, W>) -> Result<Self, GemmError> {
        let (k, n, pairs) = (b.rows(), b.cols(), b.rows().div_ceil(2));
        let count = n.div_ceil(PANEL).checked_mul(pairs).ok_or(GemmError::TooLarge)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| GemmError::OutOfMemory { elements: count.saturating_mul(PANEL) })?;
        let value = |i: usize, j: usize| b.get(i, j).map_or(0.0, |value| value.to_f32());
        for (panel, step) in (0..n.div_ceil(PANEL)).flat_map(|panel| (0..pairs).map(move |step| (panel, step))) {
            lines.push(Line(core::array::from_fn(|j| {
                pair(value(2 * step, panel * PANEL + j), value(2 * step + 1, panel * PANEL + j))
            })));
        }
        Ok(Self { k, n, lines })
    }

    /// The shape `(k, n)`.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.k, self.n)
    }
}

/// Floats of scratch that [`gemm_fast_bf16`] needs with `threads` threads. It never shrinks as a number grows.
#[must_use]
pub fn gemm_fast_bf16_scratch_len(threads: usize, m: usize, k: usize) -> usize {
    let pairs = k.div_ceil(2);
    let few = m.min(TILE_ROWS).saturating_mul(a_stride(pairs));
    let many = m.min(ROWS) * a_stride(pairs.min(PAIRS));
    few.max(many).saturating_mul(threads.clamp(1, MAX_PARTS))
}

/// The rows of C that one thread computes, and its scratch.
struct Part<'c, 's> {
    first: usize,
    c: Option<MatrixMut<'c, f32>>,
    scratch: &'s mut [f32],
}

/// `c = activation(bias + a b) + residual` with A `[m, k]` and B rounded to bf16; outside the contract, see the
/// [module](self).
///
/// Before the activation, with `u = 2^-24`, the error against the exact product of the unrounded operands is at most
/// `(2^-7 + 2^-18 + 2 k u / (1 - 2 k u)) sum |a||b| + gamma_k |bias|`, where nothing underflows: the two roundings to bf16,
/// then sums in any order. NaN and infinities go through as IEEE 754 says, denormals count as 0.
///
/// Rows are shared out to threads. Nothing is allocated; `scratch` has [`gemm_fast_bf16_scratch_len`] floats, whatever they
/// hold.
///
/// # Errors
/// [`GemmError`] where shapes do not fit or the scratch is too short; C is as it was then.
pub fn gemm_fast_bf16(
    token: FastBf16,
    parallel: &impl Parallel,
    a: MatrixRef<'_, f32>,
    b: &PackedBf16,
    c: MatrixMut<'_, f32>,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) -> Result<(), GemmError> {
    let (m, k, (_, n)) = (a.rows(), a.cols(), b.shape());
    let residual_shape = epilogue.residual.map(|residual| (residual.rows(), residual.cols()));
    check_shapes((m, k), b.shape(), (c.rows(), c.cols()), epilogue.bias.map(<[f32]>::len), residual_shape)?;
    let threads = parallel.threads();
    let (needed, found) = (gemm_fast_bf16_scratch_len(threads, m, k), scratch.len());
    let scratch = scratch.get_mut(..needed).ok_or(GemmError::ScratchTooShort { needed, found })?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let work = m.saturating_mul(n).saturating_mul(k);
    let count = threads.min(work / WORK_PER_PART).clamp(1, MAX_PARTS);
    let rows = m.div_ceil(count);
    let each = gemm_fast_bf16_scratch_len(1, m, k);
    let mut parts: [Part<'_, '_>; MAX_PARTS] =
        core::array::from_fn(|_| Part { first: 0, c: None, scratch: Default::default() });
    let (mut rest, mut scratch, mut used) = (Some(c), scratch, 0);
    for (part, first) in parts.iter_mut().zip((0..m).step_by(rows)) {
        let Some(left) = rest.take() else { break };
        // What does not split by rows is computed as one part.
        let c = if first + rows < m && left.rows_are_contiguous() {
            let (mine, others) = left.split_at_row(rows).map_err(|_| GemmError::TooLarge)?;
            rest = Some(others);
            mine
        } else {
            left
        };
        let (mine, others) = scratch.split_at_mut(each);
        scratch = others;
        *part = Part { first, c: Some(c), scratch: mine };
        used += 1;
    }
    parallel.for_each(&mut parts[..used], |_, part| {
        if let Some(c) = &mut part.c {
            compute(token, a, b, part.first, c, epilogue, part.scratch);
        }
    });
    Ok(())
}

/// Computes the rows of C that begin at row `first` of the product.
fn compute(
    token: FastBf16,
    a: MatrixRef<'_, f32>,
    b: &PackedBf16,
    first: usize,
    c: &mut MatrixMut<'_, f32>,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    let (rows, n, pairs) = (c.rows(), b.n, b.k.div_ceil(2));
    let block = if rows <= TILE_ROWS { pairs } else { PAIRS.min(pairs) };
    let stride = a_stride(block);
    for i in 0..rows {
        for_row(c, i, |j, c| *c = epilogue.bias.map_or(0.0, |bias| bias[j]));
    }
    for from in (0..pairs).step_by(block.max(1)) {
        let count = block.min(pairs - from);
        for row in (0..rows).step_by(ROWS) {
            let height = ROWS.min(rows - row);
            let scratch = &mut scratch[..height * stride];
            for (i, into) in scratch.chunks_exact_mut(stride).enumerate() {
                pack_row(token, a, first + row + i, 2 * from, &mut into[..count]);
            }
            for panel in (0..n.div_ceil(PANEL)).step_by(2) {
                multiply(token, b, (from, count), panel, (row, height), c, (scratch, stride));
            }
        }
    }
    if epilogue.activation == Activation::Identity && epilogue.residual.is_none() {
        return;
    }
    let isa = Isa::best();
    for i in 0..rows {
        match c.row_mut(i) {
            Some(row) => activate_in_place(isa, epilogue.activation, row),
            None => for_row(c, i, |_, c| activate_in_place(isa, epilogue.activation, core::slice::from_mut(c))),
        }
        if let Some(residual) = epilogue.residual {
            for_row(c, i, |j, c| *c += residual.get(first + i, j).copied().unwrap_or_default());
        }
    }
}

/// Calls `f` with the column and the element for all of row `i`.
fn for_row(c: &mut MatrixMut<'_, f32>, i: usize, mut f: impl FnMut(usize, &mut f32)) {
    if let Some(row) = c.row_mut(i) {
        row.iter_mut().enumerate().for_each(|(j, c)| f(j, c));
        return;
    }
    for j in 0..c.cols() {
        if let Some(c) = c.get_mut(i, j) {
            f(j, c);
        }
    }
}

/// Rounds row `i` of A from column `col` on to pairs, whose bits `into` gets.
fn pack_row(token: FastBf16, a: MatrixRef<'_, f32>, i: usize, col: usize, into: &mut [f32]) {
    if let Some(row) = a.row(i) {
        let row = &row[col..];
        let row = &row[..row.len().min(2 * into.len())];
        return kernels::pack_row(token.0, row, into);
    }
    let value = |j: usize| a.get(i, j).copied().unwrap_or_default();
    for (step, into) in into.iter_mut().enumerate() {
        let j = col + 2 * step;
        *into = f32::from_bits(pair(value(j), value(j + 1)));
    }
}

/// Adds the products of a block of pairs to `height` rows of C from `row` on and the columns of two panels, or of the last.
fn multiply(
    token: FastBf16,
    b: &PackedBf16,
    (from, count): (usize, usize),
    panel: usize,
    (row, height): (usize, usize),
    c: &mut MatrixMut<'_, f32>,
    a: (&[f32], usize),
) {
    let pairs = b.k.div_ceil(2);
    let panels = (b.n.div_ceil(PANEL) - panel).min(2);
    let lines = |panel: usize| &b.lines[panel * pairs + from..][..count];
    let right = [lines(panel), lines(panel + panels - 1)];
    kernels::multiply(token.0, &right[..panels], panel * PANEL, (row, height), c, a);
}
