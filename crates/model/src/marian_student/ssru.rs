//! The recurrent unit of the decoder (Kim et al. 2019, section 3.1).

use kernform_simd::Isa;
use kernform_tensor::Parallel;

use crate::error::ModelError;
use crate::layers::{Activations, Context, Residual};
use crate::linear::{Extra, Linear};

/// `c' = f c + (1 - f) W x` with the gate `f = sigmoid(Wf x + bf)`, and `relu(c')` on top of the residual stream.
pub(super) struct Ssru {
    /// `W x` and `Wf x + bf`, side by side.
    maps: Linear,
    residual: Residual,
    sigmoid: fn(Isa, &mut [f32]),
}

impl Ssru {
    pub(super) const fn new(maps: Linear, residual: Residual, sigmoid: fn(Isa, &mut [f32])) -> Self {
        Self { maps, residual, sigmoid }
    }

    pub(super) fn memory(&self) -> usize {
        self.maps.memory()
    }

    pub(super) fn scratch_len(&self, rows: usize, threads: usize) -> usize {
        self.maps.scratch_len(rows, threads)
    }

    /// One step of each row; `slots[i]` is the place of row `i` in `states`.
    ///
    /// Products and sums are rounded one by one, so the bits of this block are the same in every class.
    pub(super) fn step<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        states: &mut [f32],
        slots: &[usize],
    ) -> Result<(), ModelError> {
        let width = self.maps.inputs();
        self.residual.run(context, a, |s| {
            let mapped = &mut s.projected[..s.residual.len() * 2];
            self.maps.apply(context, s.residual, mapped, Extra::default(), s.scratch)?;
            let rows = mapped.chunks_exact_mut(2 * width).zip(s.residual.chunks_exact(width)).zip(slots);
            for (((mapped, x), slot), out) in rows.zip(s.out.chunks_exact_mut(width)) {
                let (mapped, gate) = mapped.split_at_mut(width);
                (self.sigmoid)(context.isa, gate);
                let state = &mut states[slot * width..(slot + 1) * width];
                for ((((state, mapped), gate), x), out) in state.iter_mut().zip(mapped).zip(gate).zip(x).zip(out) {
                    *state = *state * *gate + *mapped * (1.0 - *gate);
                    *out = *x + if *state > 0.0 { *state } else { 0.0 };
                }
            }
            Ok(())
        })
    }
}
