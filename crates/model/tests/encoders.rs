//! The encoders against PyTorch, and the contract: the same bits for every level of a class, batch, padding and thread count.

mod common;

use common::{Case, encoder_cases};
use kernform_model::{
    EncoderInputs, EncoderLimits, EncoderModel, EncoderPlan, EncoderSession, PackedInputs, Pooling, Task, WeightType,
};
use kernform_simd::{Class, Isa, Level};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial};
use kernform_testkit::{assert_same_bits, isa_tests};

fn load(case: &Case, isa: Isa, kind: WeightType) -> EncoderModel {
    let model = EncoderModel::load_as(&case.folder, case.folder.config(), isa, kind);
    model.unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

#[test]
fn outputs_are_within_the_bounds_of_every_case() {
    for name in encoder_cases() {
        let case = Case::open(&name);
        let model = load(&case, Isa::best(), WeightType::F32);
        let (input_ids, [batch, _]) = case.ids("input_ids");
        let mask: Vec<bool> = case.ids("attention_mask").0.into_iter().map(|m| m != 0).collect();
        let types = case.has("token_type_ids").then(|| case.ids("token_type_ids").0);
        let inputs = EncoderInputs {
            batch,
            input_ids: &input_ids,
            attention_mask: Some(&mask),
            token_type_ids: types.as_deref(),
        };
        let outputs = model.forward(&Serial, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        let outputs = model.named(outputs, batch);
        assert_eq!(outputs.len(), case.outputs().len(), "{name}");
        for output in outputs {
            let expected = case.output(output.name);
            assert_eq!(output.dims.iter().product::<usize>(), expected.len(), "{name} {}", output.name);
            let errors = output.data.iter().zip(&expected).map(|(a, e)| (f64::from(*a) - f64::from(*e)).abs());
            let error = errors.fold(0.0, f64::max);
            let bound = case.bound(output.name);
            println!("{name:28} {:18} error {error:.2e}, bound {bound:.2e}", output.name);
            assert!(error <= bound, "{name}: {} is off by {error:e}, the bound is {bound:e}", output.name);
        }
    }
}

/// Sequences of unequal lengths, the last of which has more keys than one key block where the model has positions for it.
fn sequences(model: &EncoderModel) -> Vec<Vec<u32>> {
    let vocab = u32::try_from(model.config().vocab_size).expect("a small vocabulary");
    let most = model.max_tokens();
    [7, 1, 12, 2, 31, 5]
        .into_iter()
        .enumerate()
        .map(|(i, len)| (0..len.min(most)).map(|j| (3 + 7 * j as u32 + 11 * i as u32) % (vocab - 5) + 4).collect())
        .collect()
}

/// The states and what the head says of each sequence, all in one batch.
fn packed(model: &EncoderModel, parallel: &impl Parallel, sequences: &[Vec<u32>]) -> Vec<f32> {
    let ids = sequences.concat();
    let lengths: Vec<_> = sequences.iter().map(Vec::len).collect();
    let types: Vec<u32> = ids.iter().map(|id| id % 2).collect();
    let types = (model.config().token_types > 1).then_some(types.as_slice());
    let limits = EncoderLimits { sequences: lengths.len() + 2, tokens: ids.len() + 9 };
    let plan = EncoderPlan::new(model, limits, parallel).expect("the limits are sound");
    let mut buffer = vec![f32::NAN; plan.scratch_len()];
    let mut session = EncoderSession::new(model, &plan, &mut buffer).expect("the buffer is long enough");
    let inputs = PackedInputs { input_ids: &ids, token_type_ids: types, lengths: &lengths };
    session.run(parallel, &inputs).expect("the batch runs");
    let mut all = session.states().expect("it ran").to_vec();
    for pooling in
        [Pooling::Cls, Pooling::Mean, Pooling::Max, Pooling::MeanSqrtLen, Pooling::WeightedMean, Pooling::LastToken]
    {
        let mut pooled = vec![0.0; lengths.len() * model.config().width];
        session.pool(pooling, pooling == Pooling::Mean, &mut pooled).expect("it ran");
        all.extend(pooled);
    }
    if let Some((rows, outputs)) = session.head_shape() {
        let mut out = vec![0.0; rows * outputs];
        session.head(parallel, &mut out).expect("the model has a head");
        if !matches!(model.config().task, Task::States | Task::SequenceClassification) {
            let chosen: Vec<_> = (0..rows).rev().step_by(3).collect();
            let mut some = vec![0.0; chosen.len() * outputs];
            session.head_of(parallel, &chosen, &mut some).expect("the tokens are there");
            for (token, row) in chosen.iter().zip(some.chunks_exact(outputs)) {
                assert_same_bits("a token's head alone", row, &out[token * outputs..][..outputs]);
            }
        }
        all.extend(out);
    }
    all
}

/// The same, each sequence alone, in the order of `packed`.
fn alone(model: &EncoderModel, parallel: &impl Parallel, sequences: &[Vec<u32>]) -> Vec<f32> {
    let width = model.config().width;
    let mut parts: Vec<Vec<f32>> = vec![Vec::new(); 8];
    for sequence in sequences {
        let all = packed(model, parallel, core::slice::from_ref(sequence));
        let mut rest = all.as_slice();
        for (i, part) in parts.iter_mut().enumerate() {
            let len = match i {
                0 => sequence.len() * width,
                7 => rest.len(),
                _ => width,
            };
            part.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
    }
    parts.concat()
}

/// The states of the sequences in a padded batch.
fn padded(model: &EncoderModel, parallel: &impl Parallel, sequences: &[Vec<u32>]) -> Vec<f32> {
    let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
    let pad = model.config().pad_token_id.unwrap_or(0);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for sequence in sequences {
        ids.extend(sequence.iter().copied().chain(core::iter::repeat(pad)).take(longest));
        mask.extend((0..longest).map(|i| i < sequence.len()));
    }
    let types: Vec<u32> = ids.iter().map(|id| id % 2).collect();
    let inputs = EncoderInputs {
        batch: sequences.len(),
        input_ids: &ids,
        attention_mask: Some(&mask),
        token_type_ids: (model.config().token_types > 1).then_some(types.as_slice()),
    };
    let states = model.forward(parallel, &inputs).expect("the batch runs").last_hidden_state;
    let rows = states.chunks_exact(model.config().width).zip(mask);
    rows.filter(|(_, is_there)| *is_there).flat_map(|(row, _)| row.to_vec()).collect()
}

fn every_way_gives_the_same_bits(isa: Isa) {
    for kind in [WeightType::F32, WeightType::Int8] {
        every_way_in(isa, kind);
    }
}

fn every_way_in(isa: Isa, kind: WeightType) {
    for name in encoder_cases() {
        let case = Case::open(&name);
        let model = load(&case, isa, kind);
        let sequences = sequences(&model);
        let expected = alone(&model, &Serial, &sequences);
        let reference = match isa.class() {
            Class::Fused => Level::Scalar,
            Class::Unfused => Level::ScalarUnfused,
        };
        let reference = load(&case, Isa::new(reference).expect("scalar levels run anywhere"), kind);
        let ways = [
            ("the scalar level", packed(&reference, &Serial, &sequences)),
            ("a packed batch", packed(&model, &Serial, &sequences)),
            ("a packed batch on 2 threads", packed(&model, &Threads(2), &sequences)),
            ("a packed batch on more threads than tokens", packed(&model, &Threads(70), &sequences)),
            ("each alone on 2 threads", alone(&model, &Threads(2), &sequences)),
        ];
        for (way, actual) in ways {
            assert_same_bits(&format!("{name} in {}, {way}", kind.name()), &actual, &expected);
        }
        for (way, actual) in [
            ("padding", padded(&model, &Serial, &sequences)),
            ("padding, 3 threads", padded(&model, &Threads(3), &sequences)),
        ] {
            assert_same_bits(&format!("{name} in {}, {way}", kind.name()), &actual, &expected[..actual.len()]);
        }
    }
}

isa_tests!(every_way_gives_the_same_bits);
