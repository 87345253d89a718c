//! Matrices in any layout, for products that must read and write no others' elements.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this module")]

use kernform_tensor::{MatrixMut, MatrixRef};
use proptest::prelude::*;

/// A matrix in a layout of its own: row-major, column-major, with gaps in either direction.
#[derive(Clone, Debug)]
pub struct Stored<T = f32> {
    pub data: Vec<T>,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Placement {
    pub transposed: bool,
    pub gap: usize,
    pub step: usize,
}

/// Row-major without gaps.
pub const PLAIN: Placement = Placement { transposed: false, gap: 0, step: 1 };

pub fn placement() -> impl Strategy<Value = Placement> {
    (any::<bool>(), prop_oneof![3 => Just(0usize), 1 => 1usize..20], prop_oneof![4 => Just(1usize), 1 => 2usize..4])
        .prop_map(|(transposed, gap, step)| Placement { transposed, gap, step })
}

impl<T> Stored<T> {
    pub fn new(rows: usize, cols: usize, at: Placement, mut value: impl FnMut() -> T) -> Self {
        let (outer, inner) = if at.transposed { (cols, rows) } else { (rows, cols) };
        let outer_stride = inner * at.step + at.gap;
        let (row_stride, col_stride) = if at.transposed { (at.step, outer_stride) } else { (outer_stride, at.step) };
        let data = (0..outer * outer_stride).map(|_| value()).collect();
        Stored { data, rows, cols, row_stride, col_stride }
    }
    pub fn map<U>(&self, to: impl Fn(&T) -> U) -> Stored<U> {
        let Stored { rows, cols, row_stride, col_stride, .. } = *self;
        Stored { data: self.data.iter().map(to).collect(), rows, cols, row_stride, col_stride }
    }
    pub fn view(&self) -> MatrixRef<'_, T> {
        MatrixRef::with_strides(&self.data, self.rows, self.cols, self.row_stride, self.col_stride).unwrap()
    }
    pub fn view_mut(&mut self) -> MatrixMut<'_, T> {
        MatrixMut::with_strides(&mut self.data, self.rows, self.cols, self.row_stride, self.col_stride).unwrap()
    }
}
