//! Elementwise functions, softmax, norms, embeddings and positions.

use alloc::string::ToString;
use alloc::{format, vec};

use kernform::Isa;
use kernform::attention::positions::{SinusoidalLayout, sinusoidal};
use kernform::attention::rope::{Rope, RopePairing, RopeScaling, rotate};
use kernform::attention::{RowsMut, embed_at};
use kernform::math::{self, Rows};
use kernform::norm::{LayerNorm, RmsNorm, add_rms_norm, layer_norm};

use crate::digest::{Random, digest};

/// Lengths around the lanes of reductions and of vectors.
const LENGTHS: [usize; 5] = [1, 17, 64, 129, 300];

pub(crate) fn run(isa: Isa, line: &mut dyn FnMut(&str, u64)) -> crate::Result {
    let mut random = Random(1);
    for len in LENGTHS {
        let (x, y) = (random.hostile(len), random.ordinary(len));
        let mut out = vec![0.0; len];
        macro_rules! elementwise {
            ($($function:ident)+) => {$(
                math::$function(isa, &x, &mut out).map_err(|error| error.to_string())?;
                line(&format!("{} of {len}", stringify!($function)), digest(&out));
            )+};
        }
        elementwise!(exp log tanh erf sigmoid gelu_erf gelu_tanh silu relu);
        let dot = math::dot(isa, &x, &y).map_err(|error| error.to_string())?;
        line(&format!("sum, max, dot of {len}"), digest(&[math::sum(isa, &y), math::max(isa, &x), dot]));
        for (name, x) in [("ordinary", &y), ("hostile", &x)] {
            let rows = Rows::dense(1, len);
            math::softmax(isa, x, rows, &mut out).map_err(|error| error.to_string())?;
            line(&format!("softmax of {len}, {name}"), digest(&out));
            math::log_softmax(isa, x, rows, &mut out).map_err(|error| error.to_string())?;
            line(&format!("log-softmax of {len}, {name}"), digest(&out));
            let norm = LayerNorm { gamma: &y, beta: Some(&y), epsilon: 1e-5 };
            layer_norm(isa, &norm, x, rows, &mut out, len).map_err(|error| error.to_string())?;
            line(&format!("LayerNorm of {len}, {name}"), digest(&out));
            let (norm, mut sum) = (RmsNorm { weight: &y, weight_offset: 0.0, epsilon: 1e-6 }, x.clone());
            add_rms_norm(isa, &norm, &mut sum, rows, &y, len, &mut out, len).map_err(|error| error.to_string())?;
            line(&format!("residual + RMSNorm of {len}, {name}"), digest(&out));
        }
    }
    let (width, tokens) = (40, 6);
    let (table, ids) = (random.ordinary(9 * width), [3, 8, 0, 8, 1, 2]);
    let mut positions = vec![0.0; 20 * width];
    sinusoidal(SinusoidalLayout::Interleaved, width, 0, &mut positions).map_err(|error| error.to_string())?;
    line("sinusoidal positions", digest(&positions));
    let (mut out, at) = (vec![0.0; tokens * width], [0, 1, 2, 3, 4, 19]);
    embed_at(isa, &table, width, &ids, 6.3, &positions, &at, 0, &mut out).map_err(|error| error.to_string())?;
    line("embedding + position", digest(&out));
    let rope = Rope { rotary_dim: 20, base: 10_000.0, scaling: RopeScaling::None };
    let mut angles = vec![0.0; 20 * rope.rotary_dim];
    rope.table(0, &mut angles).map_err(|error| error.to_string())?;
    let rows = RowsMut::new(&mut out, width);
    rotate(isa, RopePairing::Halves, 2, 20, 20, &angles, &at, rows).map_err(|error| error.to_string())?;
    line("rotary positions", digest(&out));
    Ok(())
}
