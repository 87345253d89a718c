//! A model of any family.

use alloc::string::ToString;

use kernform_formats::{Json, ModelSource};
use kernform_simd::Isa;

use crate::config::Family;
use crate::encoder::EncoderModel;
use crate::encoder_decoder::EncoderDecoder;
use crate::error::ModelError;
use crate::linear::WeightType;

/// A model of the family that its configuration names.
pub enum Model {
    /// An encoder with a decoder.
    EncoderDecoder(EncoderDecoder),
    /// An encoder alone.
    Encoder(EncoderModel),
}

impl Model {
    /// Reads and packs the weights that `config` (a `config.json`) asks for.
    ///
    /// # Errors
    /// A family that is not known, or what [`EncoderDecoder::load`] and [`EncoderModel::load`] say.
    pub fn load(source: &impl ModelSource, config: &Json, isa: Isa) -> Result<Self, ModelError> {
        Self::load_as(source, config, isa, WeightType::F32)
    }

    /// The same, with the weights of the products and the table of tokens in memory as `kind`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_as(source: &impl ModelSource, config: &Json, isa: Isa, kind: WeightType) -> Result<Self, ModelError> {
        let name = config.required_str("model_type")?;
        match Family::from_name(name) {
            Some(family) if family.is_encoder() => Ok(Self::Encoder(EncoderModel::load_as(source, config, isa, kind)?)),
            Some(_) => Ok(Self::EncoderDecoder(EncoderDecoder::load_as(source, config, isa, kind)?)),
            None => Err(ModelError::UnknownFamily { name: name.to_string(), known: &Family::ALL }),
        }
    }

    /// Bytes of packed weights and tables.
    pub fn memory(&self) -> usize {
        match self {
            Self::EncoderDecoder(model) => model.memory(),
            Self::Encoder(model) => model.memory(),
        }
    }
}
