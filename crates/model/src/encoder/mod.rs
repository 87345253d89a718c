//! Encoder-only Transformers (Devlin et al. 2019 and what followed): their families, heads, and how they are run.

mod albert;
mod bert;
mod config;
mod distilbert;
mod esm;
mod forward;
mod head;
mod model;
mod modernbert;
mod packed;
mod pooling;
mod roberta;

pub use pooling::normalise;

use crate::norm::NormConfig;

pub use config::{EncoderConfig, Task};
pub use forward::{EncoderInputs, EncoderOutputs, NamedOutput};
pub use model::EncoderModel;
pub use packed::{EncoderLimits, EncoderPlan, EncoderSession, PackedInputs};
