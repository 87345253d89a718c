//! The contract at the level of models: the same bits for every level of a class, batch, padding, thread count, slot and
//! way of feeding the decoder.

mod common;

use common::Case;
use kernform_model::{EncoderDecoder, ForwardInputs, Limits, Plan, Row, Session, Source};
use kernform_simd::{Class, Isa, Level};
use kernform_tensor::parallel::Threads;
use kernform_tensor::{Parallel, Serial};
use kernform_testkit::{assert_same_bits, isa_tests};

const FAMILIES: [&str; 3] = ["marian", "bart", "m2m_100"];

const LIMITS: Limits = Limits { rows: 5, sources: 4, source_len: 12, target_len: 8, encode_tokens: 36 };

/// Tokens enough for two threads that have rows of their own.
fn sources() -> Vec<Vec<u32>> {
    vec![
        vec![7, 5, 90, 11, 23, 8, 2],
        vec![31, 2],
        vec![64, 12, 12, 77, 9, 6, 41, 40, 39, 38, 37, 2],
        vec![64, 12, 80, 5, 9, 6, 41, 14, 15, 38, 37, 2],
    ]
}

/// Begins with no padding token, which M2M-100 would number otherwise when it is fed alone (transformers does the same).
const TARGET: [u32; 6] = [2, 17, 60, 5, 44, 9];

fn load(name: &str, isa: Isa) -> EncoderDecoder {
    let case = Case::open(name);
    EncoderDecoder::load(&case.folder, case.folder.config(), isa).expect("the case loads")
}

/// The logits of every target token for each source, all sources in one padded batch.
fn padded(model: &EncoderDecoder, parallel: &impl Parallel) -> Vec<Vec<f32>> {
    let sources = sources();
    let longest = sources.iter().map(Vec::len).max().unwrap_or(0) + 3;
    let longest = longest.min(model.config().max_positions);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for source in &sources {
        ids.extend(source.iter().copied().chain(core::iter::repeat(1)).take(longest));
        mask.extend((0..longest).map(|i| i < source.len()));
    }
    let targets = TARGET.repeat(sources.len());
    let inputs = ForwardInputs {
        batch: sources.len(),
        input_ids: &ids,
        attention_mask: Some(&mask),
        decoder_input_ids: &targets,
    };
    let logits = model.forward(parallel, &inputs).expect("the batch runs").logits;
    logits.chunks_exact(logits.len() / sources.len()).map(<[f32]>::to_vec).collect()
}

/// The same, each source alone and without padding.
fn alone(model: &EncoderDecoder) -> Vec<Vec<f32>> {
    let run = |source: &Vec<u32>| {
        let inputs = ForwardInputs { batch: 1, input_ids: source, attention_mask: None, decoder_input_ids: &TARGET };
        model.forward(&Serial, &inputs).expect("one sequence runs").logits
    };
    sources().iter().map(run).collect()
}

/// The same, token by token over the caches, in slots that are not the first ones; twice in one session, which keeps the first
/// layers' projections of `kept` tokens. The logits are those of the second time.
fn stepwise(model: &EncoderDecoder, parallel: &impl Parallel, kept: usize) -> Vec<Vec<f32>> {
    let sources = sources();
    let plan = Plan::new(model, LIMITS, parallel).and_then(|plan| plan.with_projection_cache(model, kept));
    let plan = plan.expect("the limits are sound");
    let mut buffer = vec![f32::NAN; plan.scratch_len()];
    let mut session = Session::new(model, &plan, &mut buffer).expect("the buffer is long enough");
    let mut ids = Vec::new();
    let mut places = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        let start = ids.len();
        ids.extend_from_slice(source);
        places.push(Source { slot: 3 - i, tokens: start..ids.len() });
    }
    let vocab = session.vocab_size();
    let mut all = vec![Vec::new(); sources.len()];
    for i in 0..2 * TARGET.len() {
        let token = TARGET[i % TARGET.len()];
        if i % TARGET.len() == 0 {
            session.encode(parallel, &ids, &places).expect("the sources are encoded");
            all.iter_mut().for_each(Vec::clear);
            for slot in 0..LIMITS.rows {
                session.clear_row(slot).expect("the slot exists");
            }
        }
        let rows: Vec<Row> = (0..sources.len()).map(|i| Row { slot: (2 * i + 1) % 5, source: 3 - i, token }).collect();
        let mut logits = vec![f32::NAN; rows.len() * vocab];
        session.step(parallel, &rows, &mut logits).expect("the step runs");
        for (all, logits) in all.iter_mut().zip(logits.chunks_exact(vocab)) {
            all.extend_from_slice(logits);
        }
    }
    all
}

fn every_way_gives_the_same_bits(isa: Isa) {
    for name in FAMILIES {
        let model = load(name, isa);
        let expected = alone(&model);
        let reference = match isa.class() {
            Class::Fused => Level::Scalar,
            Class::Unfused => Level::ScalarUnfused,
        };
        let reference = alone(&load(name, Isa::new(reference).expect("scalar levels run anywhere")));
        let ways = [
            ("the scalar level", reference),
            ("a padded batch", padded(&model, &Serial)),
            ("a padded batch on 2 threads", padded(&model, &Threads(2))),
            ("steps over the caches", stepwise(&model, &Serial, 0)),
            ("steps over the caches on 3 threads", stepwise(&model, &Threads(3), 0)),
            ("steps over the caches on 2 threads", stepwise(&model, &Threads(2), 0)),
            ("steps with all projections kept", stepwise(&model, &Serial, usize::MAX)),
            ("steps with too little room for projections", stepwise(&model, &Threads(2), 7)),
        ];
        for (way, actual) in ways {
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_same_bits(&format!("{name}, {way}"), actual, expected);
            }
        }
    }
}

isa_tests!(every_way_gives_the_same_bits);
