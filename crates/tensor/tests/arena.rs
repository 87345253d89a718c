//! Scratch: plans and takers agree, pieces do not overlap, scopes give back.
#![cfg(feature = "alloc")]

use kernform_tensor::{ALIGNMENT, Arena, ArenaError, ScratchPlan, ShapeError, rounded};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Scope(Vec<Step>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let take = (0_usize..70).prop_map(Step::Take);
    let step = take.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![(0_usize..70).prop_map(Step::Take), vec(inner, 0..4).prop_map(Step::Scope),]
    });
    vec(step, 0..8)
}

fn plan(steps: &[Step]) -> ScratchPlan {
    steps.iter().fold(ScratchPlan::new(), |sum, step| match step {
        Step::Take(len) => sum.take(*len),
        Step::Scope(inner) => sum.scope(plan(inner)),
    })
}

/// Takes what the plan counted, marks each piece and checks at the end that no other piece wrote to it.
fn run(arena: &mut Arena<'_>, steps: &[Step], mark: f32, aligned: bool) {
    let mut pieces = Vec::new();
    for step in steps {
        match step {
            Step::Take(len) => {
                let piece = arena.take(*len).expect("the plan has room for it");
                assert!(!aligned || piece.is_empty() || piece.as_ptr().addr().is_multiple_of(ALIGNMENT));
                piece.fill(mark);
                pieces.push(piece);
            }
            Step::Scope(inner) => {
                let before = arena.left();
                run(&mut arena.scope(), inner, mark + 1.0, aligned);
                assert_eq!(arena.left(), before);
            }
        }
    }
    assert!(pieces.iter().all(|piece| piece.iter().all(|&value| value == mark)));
}

proptest! {
    #[test]
    fn a_plan_is_enough_and_no_more_than_needed(steps in steps(), skew in 0_usize..16) {
        let len = plan(&steps).finish().unwrap();
        let mut buffer = vec![0.0; len];
        run(&mut Arena::new(&mut buffer), &steps, 1.0, false);

        let len = plan(&steps).finish_aligned().unwrap();
        let mut buffer = vec![0.0; len + skew];
        run(&mut Arena::aligned(&mut buffer[skew..]), &steps, 1.0, true);
    }
}

#[test]
fn a_short_buffer_says_what_is_missing() {
    let mut buffer = [1.0; 40];
    let mut arena = Arena::new(&mut buffer);
    assert_eq!(arena.take_zeroed(3).unwrap(), [0.0; 3]);
    assert_eq!(arena.left(), 24);
    assert_eq!(arena.take(25).unwrap_err(), ArenaError { asked: 25, left: 24 });
    assert_eq!(arena.rest().len(), 24);
    // The last piece need not be rounded.
    assert_eq!(arena.take(24).unwrap().len(), 24);
    assert_eq!(arena.take(0).unwrap().len(), 0);
    assert_eq!(arena.take(1).unwrap_err(), ArenaError { asked: 1, left: 0 });
    assert_eq!(Arena::aligned(&mut []).left(), 0);
}

#[test]
fn overflow_is_kept_to_the_end() {
    const PLAN: ScratchPlan = ScratchPlan::new().take(1).lend(17);
    const LEN: Result<usize, ShapeError> = PLAN.finish();
    assert_eq!(LEN, Ok(48));
    let overflow = Err(ShapeError::Overflow);
    assert_eq!(ScratchPlan::new().take(usize::MAX).take(1).finish(), overflow);
    assert_eq!(ScratchPlan::new().take(usize::MAX / 2 + 1).take(usize::MAX / 2 + 1).take(1).finish(), overflow);
    assert_eq!(ScratchPlan::new().take_matrix(usize::MAX, usize::MAX).take(1).finish(), overflow);
    assert_eq!(ScratchPlan::new().scope(ScratchPlan::new().take(usize::MAX)).take(1).finish(), overflow);
    assert_eq!(ScratchPlan::new().take(usize::MAX - 15).finish_aligned(), Ok(usize::MAX));
    assert_eq!(ScratchPlan::new().take(16).scope(ScratchPlan::new().take(usize::MAX - 15)).finish(), overflow);
    assert_eq!((rounded(0), rounded(1), rounded(16), rounded(17)), (0, 16, 16, 32));
    assert_eq!(rounded(usize::MAX), usize::MAX - 15);
}
