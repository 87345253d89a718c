//! From a tile of sums to C.

use kernform_math::{Activation, vector};
use kernform_simd::{Simd, prefetch};
use kernform_tensor::MatrixRef;

use super::driver::{Product, Sink};
use super::kernels::{MAX_COLS, MAX_TILE};
use super::multiply::{SHIFT, Scale};
use super::packed::packed_sums;
use crate::Epilogue;
use crate::driver::Output;

/// The most lanes that a level has.
const MAX_LANES: usize = 16;

/// What is done to a tile of some columns.
pub(super) struct Finish<'a> {
    sink: &'a Sink<'a>,
    col: usize,
    width: usize,
    valid: usize,
    /// Factors and biases of the tile's columns, filled up to its width.
    col_scale: [f32; MAX_COLS],
    bias: [f32; MAX_COLS],
    /// What the shift of A adds to sums.
    shift: [i32; MAX_COLS],
}

impl<'a> Finish<'a> {
    /// For a product's tiles, once [`Finish::take`] has said which columns come.
    pub(super) fn new(sink: &'a Sink<'a>) -> Self {
        let mut col_scale = [0.0; MAX_COLS];
        if let Sink::Floats { col_scale: Scale::One(scale), .. } = sink {
            col_scale.fill(*scale);
        }
        Finish { sink, col: 0, width: 0, valid: 0, col_scale, bias: [0.0; MAX_COLS], shift: [0; MAX_COLS] }
    }

    /// Takes the `valid` of `width` columns from `col` on. What stands behind them is left over from others and goes nowhere.
    #[inline(always)]
    pub(super) fn take(&mut self, product: &Product<'_>, col: usize, width: usize, valid: usize) {
        (self.col, self.width, self.valid) = (col, width, valid);
        if let Sink::Floats { col_scale, epilogue, is_shifted, .. } = self.sink {
            if *is_shifted {
                let shift = &mut self.shift[..valid];
                packed_sums(product.b, product.k, col, shift);
                shift.iter_mut().for_each(|sum| *sum = sum.wrapping_mul(SHIFT));
            }
            if let Scale::Each(scales) = col_scale {
                self.col_scale[..valid].copy_from_slice(&scales[col..col + valid]);
            }
            if let Some(bias) = epilogue.bias {
                self.bias[..valid].copy_from_slice(&bias[col..col + valid]);
            }
        }
        self.fetch(col + valid);
    }

    /// Asks for the biases of the columns from `col` on, which come next: with few rows, waiting for them would show.
    #[inline(always)]
    pub(super) fn fetch(&self, col: usize) {
        if let Sink::Floats { epilogue: Epilogue { bias: Some(bias), .. }, .. } = self.sink
            && let Some(next) = bias.get(col..)
        {
            prefetch(&next[..next.len().min(MAX_COLS)]);
        }
    }

    /// Finishes the tile whose first row is `row`; there are as many rows as scales.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&self, s: S, row: usize, scales: &[f32], tile: &[i32; MAX_TILE]) {
        match self.sink {
            Sink::Integers { c } => self.integers(*c, row, scales.len(), tile),
            Sink::Floats { c, epilogue, is_shifted, .. } => {
                let place = Place { c: *c, residual: epilogue.residual, row };
                let scaled = |sums, scale, bias| s.mul_add(s.float_of_i32(sums), scale, bias);
                match epilogue.activation {
                    activation if *is_shifted => self.floats(s, place, scales, tile, |col, sums, scale, bias| {
                        let sums = s.add_i32(sums, integers(s, &self.shift[col..]));
                        let x = s.add(s.mul(s.float_of_i32(sums), scale), bias);
                        if activation == Activation::Relu { vector::relu(s, x) } else { x }
                    }),
                    Activation::Identity => {
                        self.floats(s, place, scales, tile, |_, sums, scale, bias| scaled(sums, scale, bias));
                    }
                    Activation::Relu => self.floats(s, place, scales, tile, |_, sums, scale, bias| {
                        vector::relu(s, scaled(sums, scale, bias))
                    }),
                    other => self.floats(s, place, scales, tile, |_, sums, scale, bias| {
                        vector::activate(s, other, scaled(sums, scale, bias))
                    }),
                }
            }
        }
    }

    fn integers(&self, c: Output, row: usize, rows: usize, tile: &[i32; MAX_TILE]) {
        for (i, sums) in tile.chunks_exact(self.width).take(rows).enumerate() {
            for (j, sum) in sums[..self.valid].iter().enumerate() {
                let at = (row + i) * c.row_stride + (self.col + j) * c.col_stride;
                // SAFETY: element (row + i, col + j) of C, which is a matrix of `i32` here; only this thread touches it.
                unsafe { c.data.cast::<i32>().add(at).write(*sum) };
            }
        }
    }

    #[inline(always)]
    fn floats<S: Simd>(
        &self,
        s: S,
        place: Place<'_>,
        scales: &[f32],
        tile: &[i32; MAX_TILE],
        result: impl Fn(usize, S::I32, S::F32, S::F32) -> S::F32,
    ) {
        for ((i, sums), scale) in tile.chunks_exact(self.width).enumerate().zip(scales) {
            let row_scale = s.splat(*scale);
            let constants = self.col_scale.chunks_exact(S::LANES).zip(self.bias.chunks_exact(S::LANES));
            for ((v, sums), (col_scale, bias)) in sums.chunks_exact(S::LANES).enumerate().zip(constants) {
                let scale = s.mul(row_scale, s.load(col_scale));
                let col = v * S::LANES;
                let result = result(col, integers(s, sums), scale, s.load(bias));
                if col >= self.valid {
                    break;
                }
                let lanes = S::LANES.min(self.valid - col);
                place.store(s, i, self.col + col, lanes, result);
            }
        }
    }
}

/// A vector of integers.
#[inline(always)]
fn integers<S: Simd>(s: S, from: &[i32]) -> S::I32 {
    // SAFETY: as many integers as a vector has lanes; an `i32` may be read as the float of its bits.
    s.bits(unsafe { s.load_ptr(from[..S::LANES].as_ptr().cast()) })
}

/// Where the rows of a tile go.
#[derive(Clone, Copy)]
struct Place<'a> {
    c: Output,
    residual: Option<MatrixRef<'a, f32>>,
    row: usize,
}

impl Place<'_> {
    /// Adds the residual to the first `lanes` lanes and writes them to row `i` of the tile, from column `col` of C on.
    #[inline(always)]
    fn store<S: Simd>(&self, s: S, i: usize, col: usize, lanes: usize, result: S::F32) {
        let (c, row) = (self.c, self.row + i);
        let at = c.data.wrapping_add(row * c.row_stride + col * c.col_stride);
        let is_whole = lanes == S::LANES && c.col_stride == 1;
        match self.residual {
            // SAFETY: the columns exist and stand next to each other in C; only this thread touches them.
            None if is_whole => unsafe { s.store_ptr(result, at) },
            Some(residual) if is_whole && residual.col_stride() == 1 => {
                let start = row * residual.row_stride() + col;
                let sum = s.add(result, s.load(&residual.as_slice()[start..]));
                // SAFETY: as above.
                unsafe { s.store_ptr(sum, at) };
            }
            _ => self.store_each(s, (row, col), lanes, result, at),
        }
    }

    #[inline(never)]
    fn store_each<S: Simd>(&self, s: S, (row, col): (usize, usize), lanes: usize, result: S::F32, at: *mut f32) {
        let mut each = [0.0; MAX_LANES];
        s.store(result, &mut each);
        for (j, value) in each[..lanes].iter_mut().enumerate() {
            if let Some(residual) = self.residual.and_then(|residual| residual.get(row, col + j)) {
                *value += *residual;
            }
            // SAFETY: element (row, col + j) of C, which only this thread touches.
            unsafe { at.add(j * self.c.col_stride).write(*value) };
        }
    }
}
