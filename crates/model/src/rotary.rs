//! Rotary position embeddings (Su et al. 2021) for whole sequences.

use alloc::format;
use alloc::vec::Vec;

use kernform_attention::{Heads, Segment};
use kernform_simd::{Isa, Kernel, Simd};

use crate::embedding::table_len;
use crate::error::ModelError;

/// Cosines and sines of every position: element `i` of a head turns with element `i + head_dim / 2`.
pub(crate) struct Rotary {
    half: usize,
    /// `[positions, 2, half]`: cosines, then sines.
    table: Vec<f32>,
}

impl Rotary {
    /// Angles `p theta^(-2 i / head_dim)`. As in transformers, frequency and angle are rounded to single precision.
    pub(crate) fn new(theta: f64, head_dim: usize, positions: usize) -> Result<Self, ModelError> {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            let problem = format!("leaves {head_dim} elements to a head; rotary positions turn pairs of them");
            return Err(ModelError::Config { key: "num_attention_heads", problem });
        }
        let half = head_dim / 2;
        let mut table = alloc::vec![0.0; table_len(positions, head_dim)?];
        for i in 0..half {
            let frequency = (1.0 / libm::pow(theta, (2 * i) as f64 / head_dim as f64)) as f32;
            for (position, row) in table.chunks_exact_mut(head_dim).enumerate() {
                let (sine, cosine) = libm::sincos(f64::from(position as f32 * frequency));
                row[i] = cosine as f32;
                row[half + i] = sine as f32;
            }
        }
        Ok(Self { half, table })
    }

    /// Turns the queries and keys at the beginning of rows of `stride` elements.
    pub(crate) fn turn(
        &self,
        isa: Isa,
        heads: Heads,
        segments: &[Segment],
        rows: &mut [f32],
        stride: usize,
    ) -> Result<(), ModelError> {
        isa.dispatch(Turn { rotary: self, heads: heads.query_heads + heads.kv_heads, segments, rows, stride });
        Ok(())
    }
}

struct Turn<'a> {
    rotary: &'a Rotary,
    heads: usize,
    segments: &'a [Segment],
    rows: &'a mut [f32],
    stride: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.rotary.half;
        for segment in self.segments {
            let rows = &mut self.rows[segment.query.start * self.stride..segment.query.end * self.stride];
            let angles = self.rotary.table.chunks_exact(2 * half);
            assert!(angles.len() >= segment.query.len(), "the plan refuses longer sequences");
            for (row, angles) in rows.chunks_exact_mut(self.stride).zip(angles) {
                let (cosines, sines) = angles.split_at(half);
                for head in row.chunks_exact_mut(2 * half).take(self.heads) {
                    let (first, second) = head.split_at_mut(half);
                    let parts = first.chunks_mut(S::LANES).zip(second.chunks_mut(S::LANES));
                    for ((x, y), (c, n)) in parts.zip(cosines.chunks(S::LANES).zip(sines.chunks(S::LANES))) {
                        let (a, b) = (s.load_or(x, 0.0), s.load_or(y, 0.0));
                        let (c, n) = (s.load_or(c, 0.0), s.load_or(n, 0.0));
                        s.store_partial(s.sub(s.mul(a, c), s.mul(b, n)), x);
                        s.store_partial(s.add(s.mul(b, c), s.mul(a, n)), y);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_an_odd_size_are_refused() {
        for head_dim in [0, 1, 15] {
            assert!(matches!(Rotary::new(1e4, head_dim, 4), Err(ModelError::Config { .. })), "{head_dim}");
        }
        assert!(Rotary::new(1e4, 14, 4).is_ok());
    }
}
