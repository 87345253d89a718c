//! A full pass over given sources and targets, as a check against other engines and for drawing the attention.

use alloc::vec::Vec;

use kernform_attention::{KeptKeys, Mask, Rows, Segment, attend, attention_weights};
use kernform_tensor::{Arena, Parallel, Serial};

use crate::encoder_decoder::EncoderDecoder;
use crate::error::ModelError;
use crate::layers::{Activations, Context};
use crate::plan::work_len;

/// A padded batch for [`EncoderDecoder::forward`], with the names of Hugging Face's arguments.
#[derive(Clone, Copy, Debug)]
pub struct ForwardInputs<'i> {
    /// Sequences.
    pub batch: usize,
    /// `[batch, source tokens]`.
    pub input_ids: &'i [u32],
    /// `[batch, source tokens]`: `false` for padding; `None` where there is none.
    pub attention_mask: Option<&'i [bool]>,
    /// `[batch, target tokens]`.
    pub decoder_input_ids: &'i [u32],
}

/// What [`EncoderDecoder::forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardOutputs {
    /// `[batch, target tokens, vocabulary]`: the logits of the token after each.
    pub logits: Vec<f32>,
    /// `[batch, source tokens, width]`: the encoder's last states.
    pub encoder_last_hidden_state: Vec<f32>,
}

/// The lengths of a padded batch.
struct BatchShape {
    batch: usize,
    source_len: usize,
    target_len: usize,
}

impl BatchShape {
    fn of(inputs: &ForwardInputs<'_>) -> Result<Self, ModelError> {
        let batch = inputs.batch;
        let length = |what, len: usize| match len.checked_div(batch) {
            Some(each) if each * batch == len => Ok(each),
            _ => Err(ModelError::Length { what, found: len, expected: len.next_multiple_of(batch.max(1)) }),
        };
        let shape = Self {
            batch,
            source_len: length("input_ids", inputs.input_ids.len())?,
            target_len: length("decoder_input_ids", inputs.decoder_input_ids.len())?,
        };
        if shape.source_len == 0 || shape.target_len == 0 {
            return Err(ModelError::EmptySequence);
        }
        match inputs.attention_mask {
            Some(mask) if mask.len() != inputs.input_ids.len() => {
                Err(ModelError::Length { what: "attention_mask", found: mask.len(), expected: inputs.input_ids.len() })
            }
            _ => Ok(shape),
        }
    }

    fn sources(&self) -> usize {
        self.batch * self.source_len
    }

    fn targets(&self) -> usize {
        self.batch * self.target_len
    }

    /// The queries of `query_len` tokens and the keys of `key_len` of each sequence.
    fn segments(&self, query_len: usize, key_len: usize) -> Vec<Segment> {
        let range = |i: usize, len: usize| i * len..(i + 1) * len;
        (0..self.batch).map(|i| Segment { query: range(i, query_len), key: range(i, key_len) }).collect()
    }
}

impl EncoderDecoder {
    /// Runs encoder and decoder over a padded batch, every target token at once. Padding is computed too, as queries, and
    /// never seen as keys; the other tokens have the bits that they have without it.
    ///
    /// # Errors
    /// Inputs of the wrong length, ids outside the vocabulary, sequences with more tokens than positions.
    pub fn forward<P: Parallel>(&self, parallel: &P, inputs: &ForwardInputs<'_>) -> Result<ForwardOutputs, ModelError> {
        let shape = BatchShape::of(inputs)?;
        let states = self.encode_batch(parallel, inputs, &shape)?;
        let mut logits = alloc::vec![0.0; shape.targets() * self.config.decoder_vocab_size];
        self.decode_batch(parallel, inputs, &shape, &states, |_, _, _| Ok(()), Some(&mut logits))?;
        Ok(ForwardOutputs { logits, encoder_last_hidden_state: states })
    }

    /// The weights with which each target token attends to each source token: `[layers, heads, target, source]`.
    ///
    /// # Errors
    /// As [`EncoderDecoder::forward`].
    pub fn cross_attention(&self, source: &[u32], target: &[u32]) -> Result<Vec<f32>, ModelError> {
        let inputs = ForwardInputs { batch: 1, input_ids: source, attention_mask: None, decoder_input_ids: target };
        let shape = BatchShape::of(&inputs)?;
        let states = self.encode_batch(&Serial, &inputs, &shape)?;
        let panel = self.config.decoder.heads * target.len() * source.len();
        let mut weights = alloc::vec![0.0; self.config.decoder.layers * panel];
        self.decode_batch(
            &Serial,
            &inputs,
            &shape,
            &states,
            |layer, q, k| {
                let cross = &self.decoder.layers[layer].cross;
                let out = &mut weights[layer * panel..(layer + 1) * panel];
                let segment = Segment { query: 0..target.len(), key: 0..source.len() };
                Ok(attention_weights(self.isa, cross.heads, cross.scale, q, k, &segment, Mask::NONE, out)?)
            },
            None,
        )?;
        Ok(weights)
    }

    fn encode_batch<P: Parallel>(
        &self,
        parallel: &P,
        inputs: &ForwardInputs<'_>,
        shape: &BatchShape,
    ) -> Result<Vec<f32>, ModelError> {
        let context = self.context(parallel);
        let mut buffer = self.buffer(parallel, shape.sources())?;
        let mut a = Activations::cut(Arena::aligned(&mut buffer), shape.sources(), self.config.widths())?;
        self.encoder.embedding.sequences(self.isa, inputs.input_ids, shape.source_len, &mut Vec::new(), a.x)?;
        let segments = shape.segments(shape.source_len, shape.source_len);
        self.encoder.stack.run(&context, &mut a, &segments, present(inputs), None)?;
        Ok(a.x.to_vec())
    }

    /// The decoder over all targets. `see` gets the queries and keys of each layer's attention to the source.
    fn decode_batch<P: Parallel>(
        &self,
        parallel: &P,
        inputs: &ForwardInputs<'_>,
        shape: &BatchShape,
        states: &[f32],
        mut see: impl FnMut(usize, Rows<'_>, Rows<'_>) -> Result<(), ModelError>,
        logits: Option<&mut [f32]>,
    ) -> Result<(), ModelError> {
        let context: Context<'_, P> = self.context(parallel);
        let mut buffer = self.buffer(parallel, shape.targets())?;
        let mut a = Activations::cut(Arena::aligned(&mut buffer), shape.targets(), self.config.widths())?;
        let mut projected = alloc::vec![0.0; 2 * states.len()];
        self.decoder.embedding.sequences(self.isa, inputs.decoder_input_ids, shape.target_len, &mut Vec::new(), a.x)?;
        let own = shape.segments(shape.target_len, shape.target_len);
        let across = shape.segments(shape.target_len, shape.source_len);
        for (i, layer) in self.decoder.layers.iter().enumerate() {
            layer.attention.forward(&context, &mut a, None, &own, KeptKeys::All, true)?;
            let cross = &layer.cross;
            cross.project(&context, states, &mut projected, a.scratch)?;
            let (k, v) = cross.keys_and_values(&projected);
            cross.run(&context, &mut a, |q, out, scratch| {
                see(i, q, k)?;
                let (heads, scale) = (cross.heads, cross.scale);
                let mask = Mask { keys: present(inputs), ..Mask::NONE };
                Ok(attend(self.isa, parallel, heads, scale, q, k, v, &across, mask, out, scratch)?)
            })?;
            layer.feed_forward.forward(&context, &mut a)?;
        }
        match logits {
            Some(logits) => self.logits(&context, &mut a, logits),
            None => Ok(()),
        }
    }

    /// A buffer for the activations of `tokens` rows and the kernels' scratch.
    fn buffer<P: Parallel>(&self, parallel: &P, tokens: usize) -> Result<Vec<f32>, ModelError> {
        Ok(alloc::vec![0.0; work_len(self, tokens, parallel)?])
    }
}

fn present<'i>(inputs: &ForwardInputs<'i>) -> KeptKeys<'i> {
    inputs.attention_mask.map_or(KeptKeys::All, KeptKeys::Flags)
}
