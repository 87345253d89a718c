//! A search allocates when it is made and never again, with every rule switched on.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use kernform_decode::{EarlyStopping, GenerationConfig, Search, Status};

struct Counting;

thread_local! {
    // Of this thread only: the test harness allocates on its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // The harness allocates while a thread ends, when its counter is gone.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every method hands its arguments to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of_a_run(config: &GenerationConfig, vocab: usize) -> (usize, usize) {
    let mut search = Search::new(config, &[3, 5], vocab).unwrap();
    let mut logits = vec![0.0_f32; config.num_beams * vocab];
    let mut state = 1_u32;
    let mut steps = 0;
    let before = ALLOCATIONS.get();
    loop {
        let rows = search.inputs().1.len();
        for x in &mut logits[..rows * vocab] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *x = (state >> 8) as f32 / (1 << 20) as f32;
        }
        steps += 1;
        if search.advance(&logits[..rows * vocab]).unwrap() == Status::Done {
            break;
        }
    }
    let score: f32 = search.hypotheses().filter_map(|h| h.score).sum();
    assert!(score.is_finite());
    (ALLOCATIONS.get() - before, steps)
}

#[test]
fn advancing_allocates_nothing() {
    for num_beams in [1, 4] {
        // The small vocabulary selects by partition, the large one by heap.
        for vocab in [40, 3000] {
            let config = GenerationConfig {
                num_beams,
                num_return_sequences: num_beams,
                early_stopping: EarlyStopping::Never,
                max_new_tokens: Some(24),
                min_new_tokens: Some(20),
                no_repeat_ngram_size: 2,
                repetition_penalty: 1.2,
                bad_words_ids: vec![vec![7], vec![8, 9], vec![1, 2, 3]],
                suppress_tokens: vec![11],
                begin_suppress_tokens: vec![12],
                forced_bos_token_id: Some(6),
                forced_eos_token_ids: vec![0],
                eos_token_ids: vec![0, 1],
                renormalize_logits: true,
                output_scores: true,
                ..GenerationConfig::default()
            };
            let (allocations, steps) = allocations_of_a_run(&config, vocab);
            assert_eq!(allocations, 0, "{num_beams} beams, {vocab} tokens");
            assert!(steps >= 20);
        }
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(core::hint::black_box(vec![1_u8; 100]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
