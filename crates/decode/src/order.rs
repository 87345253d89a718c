//! Partial ordering of scored candidates, with one defined place for equal scores.
//!
//! PyTorch's CPU `topk` leaves equal values in the order that its two algorithms happen to produce, and beam search shows
//! that order whenever two hypotheses score the same. To give the same ids, the same two algorithms stand here: a bounded
//! heap when few of many are wanted, and quickselect (median of three, Hoare partition; Musser, "Introspective sorting and
//! selection algorithms", 1997) followed by introsort when not.

use crate::select::Candidate;

/// Slices up to this length are left to one final insertion sort.
const SMALL: usize = 16;

/// True when `a` comes strictly before `b`: larger score first, NaN before everything.
#[inline]
pub(crate) fn precedes(a: Candidate, b: Candidate) -> bool {
    (a.score.is_nan() && !b.score.is_nan()) || a.score > b.score
}

/// Puts `value` into the heap of `heap.len()` places whose free place is `hole`; the worst candidate is on top.
fn sift(heap: &mut [Candidate], mut hole: usize, value: Candidate) {
    let top = hole;
    let len = heap.len();
    // Down along the worse children to a leaf first, then up: fewer comparisons than testing `value` on the way down.
    while 2 * hole + 2 < len {
        let right = 2 * hole + 2;
        let child = if precedes(heap[right], heap[right - 1]) { right - 1 } else { right };
        heap[hole] = heap[child];
        hole = child;
    }
    if 2 * hole + 1 < len {
        heap[hole] = heap[2 * hole + 1];
        hole = 2 * hole + 1;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !precedes(heap[parent], value) {
            break;
        }
        heap[hole] = heap[parent];
        hole = parent;
    }
    heap[hole] = value;
}

/// Orders `heap` so that the worst candidate is at 0 and no candidate is worse than its parent.
pub(crate) fn build_heap(heap: &mut [Candidate]) {
    for place in (0..heap.len() / 2).rev() {
        sift(heap, place, heap[place]);
    }
}

/// Replaces the worst candidate, at 0, by `value`. The heap is not empty.
pub(crate) fn replace_worst(heap: &mut [Candidate], value: Candidate) {
    sift(heap, 0, value);
}

/// Turns a heap into a list, best first.
pub(crate) fn sort_heap(heap: &mut [Candidate]) {
    for end in (1..heap.len()).rev() {
        let last = heap[end];
        heap[end] = heap[0];
        sift(&mut heap[..end], 0, last);
    }
}

/// Moves the best `middle` of `all` to the front as a heap.
fn select_by_heap(all: &mut [Candidate], middle: usize) {
    build_heap(&mut all[..middle]);
    for i in middle..all.len() {
        if precedes(all[i], all[0]) {
            let value = all[i];
            all[i] = all[0];
            replace_worst(&mut all[..middle], value);
        }
    }
}

fn insertion_sort(all: &mut [Candidate]) {
    for i in 1..all.len() {
        let value = all[i];
        let mut place = i;
        while place > 0 && precedes(value, all[place - 1]) {
            all[place] = all[place - 1];
            place -= 1;
        }
        all[place] = value;
    }
}

/// Splits `all`, of more than 3 candidates, around the median of its second, middle and last; returns the first of the
/// right part. The left part has no candidate after the pivot, the right part none before it.
fn partition(all: &mut [Candidate]) -> usize {
    let (a, b, c) = (1, all.len() / 2, all.len() - 1);
    let median = if precedes(all[a], all[b]) {
        if precedes(all[b], all[c]) {
            b
        } else if precedes(all[a], all[c]) {
            c
        } else {
            a
        }
    } else if precedes(all[a], all[c]) {
        a
    } else if precedes(all[b], all[c]) {
        c
    } else {
        b
    };
    all.swap(0, median);
    let pivot = all[0];
    let (mut left, mut right) = (1, all.len());
    // No bound is tested: the median leaves a candidate on either side that stops the scan.
    loop {
        while precedes(all[left], pivot) {
            left += 1;
        }
        right -= 1;
        while precedes(pivot, all[right]) {
            right -= 1;
        }
        if left >= right {
            return left;
        }
        all.swap(left, right);
        left += 1;
    }
}

/// Splits allowed before the heap takes over, so that no input needs more than `n log n` steps.
fn split_limit(len: usize) -> u32 {
    2 * len.checked_ilog2().unwrap_or(0)
}

/// Puts the candidate of rank `nth` at `nth`, better ones before it, others after it.
fn select_nth(all: &mut [Candidate], nth: usize) {
    let (mut first, mut last) = (0, all.len());
    let mut splits = split_limit(all.len());
    while last - first > 3 {
        if splits == 0 {
            select_by_heap(&mut all[first..last], nth + 1 - first);
            all.swap(first, nth);
            return;
        }
        splits -= 1;
        let cut = first + partition(&mut all[first..last]);
        if cut <= nth {
            first = cut;
        } else {
            last = cut;
        }
    }
    insertion_sort(&mut all[first..last]);
}

fn sort(all: &mut [Candidate]) {
    if all.len() <= SMALL {
        return insertion_sort(all);
    }
    // Right parts wait here: each split halves the allowance, so the list is bounded by the largest `split_limit`.
    let mut waiting = [(0, 0, 0); 2 * usize::BITS as usize];
    let mut depth = 1;
    waiting[0] = (0, all.len(), split_limit(all.len()));
    while depth > 0 {
        depth -= 1;
        let (first, mut last, mut splits) = waiting[depth];
        while last - first > SMALL {
            if splits == 0 {
                let part = &mut all[first..last];
                build_heap(part);
                sort_heap(part);
                break;
            }
            splits -= 1;
            let cut = first + partition(&mut all[first..last]);
            waiting[depth] = (cut, last, splits);
            depth += 1;
            last = cut;
        }
    }
    insertion_sort(all);
}

/// The most that [`select_distinct`] selects.
const FEW: usize = 16;

/// As [`select_sorted`], for up to [`FEW`] candidates of different scores, which have one order whatever the algorithm; false
/// where more are wanted or two scores are equal, and nothing has changed then.
pub(crate) fn select_distinct(all: &mut [Candidate], k: usize) -> bool {
    // One more than wanted: the first that is left out must be worse, too.
    let wanted = (k + 1).min(all.len());
    let mut best = [Candidate { score: f32::NEG_INFINITY, index: 0 }; FEW + 1];
    let Some(best) = best.get_mut(..wanted) else { return false };
    for (i, candidate) in all.iter().enumerate() {
        let mut place = i.min(wanted - 1);
        if i >= wanted && candidate.score <= best[place].score {
            continue;
        }
        // A NaN gets here always, since it is not at most anything.
        if candidate.score.is_nan() {
            return false;
        }
        while place > 0 && candidate.score > best[place - 1].score {
            best[place] = best[place - 1];
            place -= 1;
        }
        best[place] = *candidate;
    }
    if !best.is_sorted_by(|a, b| a.score > b.score) {
        return false;
    }
    all[..k].copy_from_slice(&best[..k]);
    true
}

/// Moves the best `k` of `all` to the front, best first. `k` is at least 1 and at most `all.len()`.
pub(crate) fn select_sorted(all: &mut [Candidate], k: usize) {
    select_nth(all, k - 1);
    sort(&mut all[..k - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_long_one_gives(
            scores in prop::collection::vec(
                prop_oneof![
                    40 => any::<i32>().prop_map(|x| x as f32 / 1e7),
                    1 => (0_i8..3).prop_map(f32::from),
                    1 => Just(f32::NEG_INFINITY),
                    1 => Just(f32::INFINITY),
                ],
                1..500,
            ),
            nan in prop::option::weighted(0.1, 0_usize..500),
            k in 1_usize..=FEW + 1,
        ) {
            let candidate = |(i, &score): (usize, &f32)| Candidate { score, index: i as u32 };
            let mut all: Vec<Candidate> = scores.iter().enumerate().map(candidate).collect();
            if let Some(nan) = nan.and_then(|i| all.get_mut(i)) {
                nan.score = f32::NAN;
            }
            let k = k.min(all.len());
            let (mut short, before) = (all.clone(), all.clone());
            let bits = |all: &[Candidate]| all.iter().map(|c| (c.score.to_bits(), c.index)).collect::<Vec<_>>();
            let found = select_distinct(&mut short, k);
            select_sorted(&mut all, k);
            if found {
                prop_assert_eq!(bits(&short[..k]), bits(&all[..k]));
            } else {
                prop_assert_eq!(bits(&short), bits(&before));
                let mut sorted: Vec<f32> = before.iter().map(|c| c.score).collect();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let few = &sorted[..sorted.len().min(k + 1)];
                let is_plain = sorted.iter().all(|x| !x.is_nan()) && few.windows(2).all(|w| w[0] > w[1]);
                prop_assert!(k > FEW || few.len() > FEW + 1 || !is_plain, "different scores have one order");
            }
        }
    }
}
