//! ESM-2 (Lin et al. 2023) and ESM-1b: a pre-norm encoder of proteins with rotary or learned positions.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernform_formats::Json;
use kernform_math::Activation;

use super::config::{EncoderConfig, KEYS};
use super::model::Parts;
use super::{bert, roberta};
use crate::attention::Rotary;
use crate::config::{Family, NormPlacement};
use crate::embedding::{Embedding, TokenDropout};
use crate::error::ModelError;
use crate::layers::{EncoderLayer, Residual};
use crate::stack::EncoderStack;
use crate::weights::Weights;

pub(super) fn load(weights: &Weights<'_>, json: &Json) -> Result<Parts, ModelError> {
    let mut config = EncoderConfig::read(json, Family::Esm, &KEYS)?;
    // The family has no choice of activation.
    config.activation = Activation::GeluErf;
    let root = weights.root("esm.", "embeddings.word_embeddings.weight")?;
    let rotary = match json.str_or("position_embedding_type", "absolute")? {
        "rotary" => {
            let theta = json.f64_or("rope_theta", 10_000.0)?;
            Some(Arc::new(Rotary::new(theta, config.head_dim(), config.max_positions)?))
        }
        "absolute" => None,
        other => {
            let problem = format!("{other:?} is not known; \"rotary\" and \"absolute\" are");
            return Err(ModelError::Config { key: "position_embedding_type", problem });
        }
    };
    let embedding = embedding(weights, root, json, &config, rotary.is_none())?;
    let layers = (0..config.layers)
        .map(|i| layer(weights, &format!("{root}encoder.layer.{i}."), &config, rotary.as_ref()))
        .collect::<Result<_, _>>()?;
    let norm = weights.norm(&format!("{root}encoder.emb_layer_norm_after"), config.norm())?;
    let stack = EncoderStack::new(layers, Some(norm));
    let head = match bert::pooler(weights, root, &config)? {
        Some(pooler) => Some(pooler),
        None => roberta::head(weights, json, &config, &embedding)?,
    };
    Ok(Parts { config, embedding, projection: None, stack, head, zero_padding: true })
}

fn embedding(
    weights: &Weights<'_>,
    root: &str,
    json: &Json,
    config: &EncoderConfig,
    absolute: bool,
) -> Result<Embedding, ModelError> {
    let table = |name: &str, rows| weights.tensor(&format!("{root}embeddings.{name}.weight"), &[rows, config.width]);
    let has_norm = json.bool_or("emb_layer_norm_before", false)?;
    let norm = has_norm.then(|| weights.norm(&format!("{root}embeddings.layer_norm"), config.norm())).transpose()?;
    let token_dropout = match json.bool_or("token_dropout", false)? {
        true => Some(TokenDropout { mask_token: json.required_u32("mask_token_id")? }),
        false => None,
    };
    let tokens = weights.table(&format!("{root}embeddings.word_embeddings.weight"), config.vocab_size, config.width)?;
    let tokens = Embedding::new(tokens, config.width);
    let positions = if absolute { table("position_embeddings", config.max_positions)? } else { Vec::new() };
    let numbering = if absolute { roberta::numbering(config)? } else { tokens.numbering };
    Ok(Embedding { positions, numbering, token_dropout, norm, ..tokens })
}

fn layer(
    weights: &Weights<'_>,
    prefix: &str,
    config: &EncoderConfig,
    rotary: Option<&Arc<Rotary>>,
) -> Result<EncoderLayer, ModelError> {
    let residual = |name: &str| {
        let name: String = format!("{prefix}{name}LayerNorm");
        Ok::<_, ModelError>(Residual::new(NormPlacement::Pre, weights.norm(&name, config.norm())?))
    };
    let residuals = [residual("attention.")?, residual("")?];
    bert::layer_with(weights, prefix, config, residuals, |attention| match rotary {
        Some(rotary) => attention.with_rotary(Arc::clone(rotary)),
        None => attention,
    })
}
