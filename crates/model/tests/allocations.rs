//! Encoding and decoding allocate nothing once the session exists.

mod common;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use common::Case;
use kernform_model::{
    EncoderDecoder, EncoderLimits, EncoderModel, EncoderPlan, EncoderSession, Limits, PackedInputs, Plan, Pooling, Row,
    Session, Source, WeightType,
};
use kernform_simd::Isa;
use kernform_tensor::{Parallel, Serial};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn encoding_and_decoding_allocate_nothing() {
    for name in ["marian", "bart", "m2m_100"] {
        let case = Case::open(name);
        let model = EncoderDecoder::load(&case.folder, case.folder.config(), Isa::best()).expect("the case loads");
        let limits = Limits { rows: 4, sources: 3, source_len: 9, target_len: 12, encode_tokens: 20 };
        let plan = Plan::new(&model, limits, &Serial).and_then(|plan| plan.with_projection_cache(&model, 50));
        let plan = plan.expect("the limits are sound");
        let mut buffer = vec![0.0; plan.scratch_len()];
        let mut session = Session::new(&model, &plan, &mut buffer).expect("the buffer is long enough");
        let ids = [7, 5, 90, 11, 23, 8, 2, 31, 2];
        let sources = [Source { slot: 2, tokens: 0..7 }, Source { slot: 0, tokens: 7..9 }];
        let mut logits = vec![0.0; 4 * session.vocab_size()];

        let before = COUNT.get();
        for _ in 0..2 {
            session.encode(&Serial, &ids, &sources).expect("the sources are encoded");
            for slot in 0..4 {
                session.clear_row(slot).expect("the slot exists");
            }
            for token in [2, 17, 60, 5] {
                let rows = [0, 1, 2, 3].map(|slot| Row { slot, source: if slot < 2 { 2 } else { 0 }, token });
                session.step(&Serial, &rows, &mut logits).expect("the step runs");
            }
            session.copy_row(0, 3).expect("the slots exist");
        }
        assert_eq!(COUNT.get() - before, 0, "{name} allocates");
        assert!(logits.iter().all(|logit| logit.is_finite()));
    }
}

/// Two threads, one of which does all: the other's allocations would not be counted.
struct Two;

impl Parallel for Two {
    fn threads(&self) -> usize {
        2
    }

    fn for_each<T: Send, F: Fn(usize, &mut T) + Sync>(&self, items: &mut [T], f: F) {
        Serial.for_each(items, f);
    }
}

/// Alone, and with tokens enough for threads that have rows of their own.
#[test]
fn encoders_allocate_nothing() {
    for name in ["bert", "bert_classifier", "bert_mlm", "distilbert", "roberta", "albert", "modernbert", "esm"] {
        for kind in WeightType::ALL {
            let case = Case::open(name);
            let model = EncoderModel::load_as(&case.folder, case.folder.config(), Isa::best(), kind).expect("it loads");
            let limits = EncoderLimits { sequences: 9, tokens: 40 };
            let plan = EncoderPlan::new(&model, limits, &Two).expect("the limits are sound");
            let mut buffer = vec![0.0; plan.scratch_len()];
            let mut session = EncoderSession::new(&model, &plan, &mut buffer).expect("the buffer is long enough");
            let ids = [7, 5, 90, 11, 23, 8, 2, 31, 2].repeat(4);
            let types = [0, 1, 0, 1, 1, 0, 0, 0, 1].repeat(4);
            let types = (model.config().token_types > 1).then_some(types.as_slice());
            let lengths = [4, 5].repeat(4);
            let inputs = PackedInputs { input_ids: &ids, token_type_ids: types, lengths: &lengths };
            let mut pooled = vec![0.0; 8 * model.config().width];
            let mut out = vec![0.0; 36 * model.config().vocab_size];

            let before = COUNT.get();
            pass(&mut session, &Serial, &inputs, &mut out);
            pass(&mut session, &Two, &inputs, &mut out);
            session.pool(Pooling::Mean, true, &mut pooled).expect("it ran");
            assert_eq!(COUNT.get() - before, 0, "{name} in {} allocates", kind.name());
            assert!(pooled.iter().all(|x| x.is_finite()));
        }
    }
}

fn pass(session: &mut EncoderSession<'_>, parallel: &impl Parallel, inputs: &PackedInputs<'_>, out: &mut [f32]) {
    session.run(parallel, inputs).expect("the batch runs");
    if let Some((rows, outputs)) = session.head_shape() {
        session.head(parallel, &mut out[..rows * outputs]).expect("the model has a head");
    }
}
