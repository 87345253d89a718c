use crate::order;

/// A value and its place in the sequence that it was selected from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// The value.
    pub score: f32,
    /// Its index, counted over all values given to the selection.
    pub index: u32,
}

/// Index of the largest value; the lowest such index when several are equal. `None` for an empty slice.
///
/// A NaN counts as larger than every number, as in PyTorch's `argmax`.
#[must_use]
pub fn argmax(values: &[f32]) -> Option<usize> {
    let mut best = *values.first()?;
    // Whole chunks first: the comparison of a chunk against the best so far has no branch, so it becomes vector code.
    let mut place = 0;
    for (number, chunk) in values.chunks(CHUNK).enumerate() {
        let better = chunk.iter().fold(false, |any, &x| any | beats(x, best));
        if !better {
            continue;
        }
        for (i, &x) in chunk.iter().enumerate() {
            if best.is_nan() {
                return Some(place);
            }
            if x > best || x.is_nan() {
                best = x;
                place = number * CHUNK + i;
            }
        }
    }
    Some(place)
}

/// Values compared at once before any of them is looked at singly.
const CHUNK: usize = 64;

/// How many times more values than wanted make the heap the better method (and PyTorch's choice).
const HEAP_RATIO: usize = 64;

/// The `k` largest of a stream of values whose number is known, in storage of the caller; allocates nothing.
///
/// When `64 * k` is at most the number of values, a heap of `k` candidates is all that is kept, and a value costs one
/// comparison unless it enters; otherwise the (few) values are kept and partitioned. Nothing but the `k` results is sorted.
///
/// Equal values come in the order in which PyTorch's CPU `topk` (2.x, Linux) gives them; that order depends on the values and
/// on `k` only. A NaN counts as larger than every number.
#[derive(Debug)]
pub struct TopK<'a> {
    buffer: &'a mut [Candidate],
    k: usize,
    total: usize,
    seen: usize,
}

impl<'a> TopK<'a> {
    /// The candidates of storage that a selection of `k` from `total` values needs.
    #[must_use]
    pub const fn buffer_len(k: usize, total: usize) -> usize {
        if uses_heap(k, total) { k } else { total }
    }

    /// Starts a selection of `k` from `total` values that are still to come.
    ///
    /// `None` when `k` is 0 or above `total`, `total` does not fit a `u32`, or `buffer` is shorter than
    /// [`TopK::buffer_len`].
    #[must_use]
    pub fn new(buffer: &'a mut [Candidate], k: usize, total: usize) -> Option<Self> {
        let needed = Self::buffer_len(k, total);
        if k == 0 || k > total || u32::try_from(total).is_err() || buffer.len() < needed {
            return None;
        }
        Some(Self { buffer: &mut buffer[..needed], k, total, seen: 0 })
    }

    /// Takes the next values, each with `offset` added to it; values beyond `total` are left out.
    pub fn extend(&mut self, values: &[f32], offset: f32) {
        let values = &values[..values.len().min(self.total - self.seen)];
        let stored = self.buffer.len().saturating_sub(self.seen).min(values.len());
        let (first, rest) = values.split_at(stored);
        for &value in first {
            self.buffer[self.seen] = Candidate { score: value + offset, index: self.seen as u32 };
            self.seen += 1;
            if self.seen == self.k && uses_heap(self.k, self.total) {
                order::build_heap(self.buffer);
            }
        }
        for chunk in rest.chunks(CHUNK) {
            let worst = self.buffer[0].score;
            let enters = chunk.iter().fold(false, |any, &value| any | beats(value + offset, worst));
            if enters {
                self.insert(chunk, offset);
            }
            self.seen += chunk.len();
        }
    }

    fn insert(&mut self, chunk: &[f32], offset: f32) {
        for (i, &value) in chunk.iter().enumerate() {
            let candidate = Candidate { score: value + offset, index: (self.seen + i) as u32 };
            if order::precedes(candidate, self.buffer[0]) {
                order::replace_worst(self.buffer, candidate);
            }
        }
    }

    /// The `k` largest values, largest first; fewer when fewer values came than were announced.
    #[must_use]
    pub fn finish(self) -> &'a mut [Candidate] {
        let Self { buffer, k, total, seen } = self;
        let kept = seen.min(buffer.len());
        let k = k.min(kept);
        if k == 0 {
            return &mut buffer[..0];
        }
        if uses_heap(k, total) && k == buffer.len() {
            order::sort_heap(buffer);
        } else if !order::select_distinct(&mut buffer[..kept], k) {
            order::select_sorted(&mut buffer[..kept], k);
        }
        &mut buffer[..k]
    }
}

/// True unless `value` is at most `worst`; a NaN on either side needs the closer look of the caller.
#[inline]
fn beats(value: f32, worst: f32) -> bool {
    value > worst || value.is_nan() || worst.is_nan()
}

const fn uses_heap(k: usize, total: usize) -> bool {
    k <= total / HEAP_RATIO
}
