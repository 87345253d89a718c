#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod any;
#[cfg(feature = "alloc")]
mod attention;
#[cfg(feature = "alloc")]
mod config;
#[cfg(feature = "alloc")]
mod embedding;
#[cfg(feature = "alloc")]
mod encoder;
#[cfg(feature = "alloc")]
mod encoder_decoder;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "alloc")]
mod feed_forward;
#[cfg(feature = "alloc")]
mod forward;
#[cfg(feature = "g2p")]
pub mod g2p;
#[cfg(feature = "alloc")]
mod gate;
#[cfg(feature = "alloc")]
mod generate;
#[cfg(feature = "alloc")]
mod hadamard;
#[cfg(feature = "alloc")]
mod layers;
#[cfg(feature = "alloc")]
mod linear;
#[cfg(feature = "alloc")]
mod marian_student;
#[cfg(feature = "alloc")]
mod norm;
#[cfg(feature = "alloc")]
mod parts;
#[cfg(feature = "alloc")]
mod plan;
#[cfg(feature = "alloc")]
mod projections;
#[cfg(feature = "alloc")]
mod rows;
#[cfg(feature = "alloc")]
mod seq2seq;
#[cfg(feature = "alloc")]
mod session;
#[cfg(feature = "alloc")]
mod stack;
#[cfg(feature = "alloc")]
mod table;
#[cfg(feature = "alloc")]
mod weights;

#[cfg(feature = "alloc")]
pub use any::Model;
#[cfg(feature = "alloc")]
pub use config::{EncoderDecoderConfig, Family, NormPlacement, PositionKind, StackConfig, generation_config};
#[cfg(feature = "alloc")]
pub use encoder::{
    EncoderConfig, EncoderInputs, EncoderLimits, EncoderModel, EncoderOutputs, EncoderPlan, EncoderSession,
    NamedOutput, PackedInputs, Task, normalise,
};
#[cfg(feature = "alloc")]
pub use encoder_decoder::EncoderDecoder;
#[cfg(feature = "alloc")]
pub use error::ModelError;
#[cfg(feature = "alloc")]
pub use forward::{ForwardInputs, ForwardOutputs};
#[cfg(feature = "alloc")]
pub use generate::generate;
#[cfg(feature = "alloc")]
pub use kernform_formats::Pooling;
#[cfg(feature = "alloc")]
pub use linear::WeightType;
#[cfg(feature = "alloc")]
pub use marian_student::{
    MarianStudent, StudentConfig, StudentInput, StudentPlan, StudentRow, StudentSession, StudentWeights, Translated,
    translate,
};
#[cfg(feature = "alloc")]
pub use plan::{Limits, Plan};
#[cfg(feature = "alloc")]
pub use session::{Row, Session, Source};
