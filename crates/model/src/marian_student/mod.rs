//! Marian's student models ("tiny11" and its kin; Kim et al. 2019, "From Research to Production and Back"): a Transformer
//! encoder, and a decoder with a recurrent unit (SSRU) where others have self-attention, over one table of tokens.
//!
//! The weights are int8 and come with the multipliers of their inputs, so every product is one of bytes, as in the engine
//! that the models were trained for; or all of it is computed in floats of the same values. The words that a translation
//! may use are those of a lexical shortlist, so that the last product is a small one.

mod config;
pub(crate) mod engine;
mod load;
mod output;
mod session;
mod ssru;
mod table;
mod translate;

pub use config::StudentConfig;
pub use load::StudentWeights;
pub use session::{StudentPlan, StudentRow, StudentSession};
pub use translate::{StudentInput, Translated, translate};

use alloc::vec::Vec;

use kernform_attention::{Heads, KeptKeys, Rows, RowsMut, Segment, Visible, attend_cached};
use kernform_simd::Isa;
use kernform_tensor::Parallel;

use crate::attention::CrossAttention;
use crate::error::ModelError;
use crate::feed_forward::FeedForward;
use crate::layers::{Activations, Context, Widths};
use crate::session::Cache;
use crate::stack::EncoderStack;
use ssru::Ssru;
use table::Table;

/// A student with its weights packed for the kernels.
///
/// It is not changed by running it: threads share one, each with a [`StudentSession`] of its own.
pub struct MarianStudent {
    config: StudentConfig,
    weights: StudentWeights,
    isa: Isa,
    table: Table,
    encoder: EncoderStack,
    decoder: Vec<DecoderLayer>,
}

/// The recurrent unit, attention to the encoder, and feed-forward.
struct DecoderLayer {
    recurrence: Ssru,
    cross: CrossAttention,
    feed_forward: FeedForward,
}

impl MarianStudent {
    /// The sizes that the weights were loaded for.
    pub fn config(&self) -> &StudentConfig {
        &self.config
    }

    /// The level that the model runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of packed weights and tables.
    pub fn memory(&self) -> usize {
        let layer =
            |layer: &DecoderLayer| layer.recurrence.memory() + layer.cross.memory() + layer.feed_forward.memory();
        self.table.memory() + self.encoder.memory() + self.decoder.iter().map(layer).sum::<usize>()
    }

    /// Runs the encoder; each segment sees itself and no other.
    fn encode<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        a: &mut Activations<'_>,
        segments: &[Segment],
    ) -> Result<(), ModelError> {
        if self.weights != StudentWeights::Engine {
            return self.encoder.run(context, a, segments, KeptKeys::All, None);
        }
        for layer in &self.encoder.layers {
            let attention = &layer.attention;
            attention.project(context, a, None, segments, 0)?;
            let (parts, out) = (attention.parts(a.projected), RowsMut::new(a.mixed, self.config.width));
            engine::attend(context.isa, attention.heads, parts, segments, out, a.scratch)?;
            attention.output(context, a)?;
            layer.feed_forward.forward(context, a)?;
        }
        Ok(())
    }

    /// The values of each row's source, mixed for its query.
    fn mix_source<P: Parallel>(
        &self,
        context: &Context<'_, P>,
        cross: &CrossAttention,
        q: Rows<'_>,
        (cache, sources): (&Cache<'_>, &[usize]),
        out: RowsMut<'_>,
        scratch: &mut [f32],
    ) -> Result<(), ModelError> {
        let (isa, heads) = (context.isa, cross.heads);
        if self.weights == StudentWeights::Engine {
            return engine::attend_cached(isa, heads, q, (cache, sources), out, scratch);
        }
        let (parallel, seen) = (context.parallel, Visible::default());
        Ok(attend_cached(isa, parallel, heads, cross.scale, q, cache, sources, seen, out, scratch)?)
    }

    fn context<'c, P: Parallel>(&self, parallel: &'c P) -> Context<'c, P> {
        Context { isa: self.isa, parallel }
    }

    fn heads(&self) -> Heads {
        Heads::new(self.config.heads, self.config.width / self.config.heads)
    }

    fn widths(&self) -> Widths {
        Widths { stream: self.config.width, projected: 3 * self.config.width, hidden: self.config.feed_forward }
    }
}
