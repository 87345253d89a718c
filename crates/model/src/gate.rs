//! The gate of a gated feed-forward network.

use kernform_math::{Activation, vector};
use kernform_simd::{Kernel, Simd};
use kernform_tensor::Parallel;

use crate::layers::Context;
use crate::rows::for_row_blocks;

/// The first half of each row becomes its activation times the second half: one product an element.
pub(crate) fn gate<P: Parallel>(context: &Context<'_, P>, activation: Activation, rows: &mut [f32], width: usize) {
    for_row_blocks(context.parallel, rows, width, |_, rows| context.isa.dispatch(Gate { activation, rows, width }));
}

struct Gate<'a> {
    activation: Activation,
    rows: &'a mut [f32],
    width: usize,
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let (x, gate) = row.split_at_mut(self.width / 2);
            for (x, gate) in x.chunks_mut(S::LANES).zip(gate.chunks(S::LANES)) {
                let activated = vector::activate(s, self.activation, s.load_or(x, 0.0));
                s.store_partial(s.mul(activated, s.load_or(gate, 0.0)), x);
            }
        }
    }
}
