//! Many queries over keys and values in their natural layout: vector lanes run over queries.
//!
//! A group of queries is transposed once, so that element `d` of all of them is one or a few vectors. Then each score
//! of a key is a chain of broadcast times vector, the softmax needs no sums across lanes, and the output grows
//! transposed as well. Keys and values are read where they are, one broadcast for the whole group.

use core::ops::Range;

use kernform_simd::Simd;

use crate::attend::Problem;
use crate::reference::KEY_BLOCK;
use crate::{AttentionError, Segment};

/// The most lanes that a group of queries has: three vectors of the widest level.
const MAX_WIDTH: usize = 48;

/// Elements of scratch memory for one tile: transposed queries and output, one block of weights.
pub(crate) fn scratch_len(head_dim: usize) -> Result<usize, AttentionError> {
    let rows = head_dim.checked_mul(2).and_then(|rows| rows.checked_add(KEY_BLOCK));
    rows.and_then(|rows| rows.checked_mul(MAX_WIDTH)).ok_or(AttentionError::Overflow)
}

/// Attention of the queries of `tokens`; `out` begins at the first of them.
#[inline(always)]
pub(crate) fn run<S: Simd>(s: S, problem: &Problem<'_>, tokens: Range<usize>, out: &mut [f32], scratch: &mut [f32]) {
    let mut block = Block { keys: [0; KEY_BLOCK], len: 0 };
    for (number, segment) in problem.segments.iter().enumerate() {
        let first = segment.query.start.max(tokens.start);
        let end = segment.query.end.min(tokens.end);
        for head in 0..problem.heads.query_heads {
            let mut start = first;
            while start < end {
                // Twelve sums, three vectors of queries and a broadcast would fill sixteen registers, and one spilled
                // sum halves the speed.
                let vectors = match (end - start).div_ceil(S::LANES) {
                    1 => 1,
                    3 | 5.. if S::REGISTERS >= 32 => 3,
                    _ => 2,
                };
                let count = (end - start).min(vectors * S::LANES);
                let place = (start - tokens.start) * problem.out_stride + head * problem.heads.head_dim;
                let group = Group { problem, number, segment, head, start, count };
                let out = &mut out[place..];
                match vectors {
                    1 => group.attend::<S, 1, 8, 8>(s, &mut block, out, scratch),
                    2 => group.attend::<S, 2, 4, 4>(s, &mut block, out, scratch),
                    _ => group.attend::<S, 3, 4, 4>(s, &mut block, out, scratch),
                }
                start += count;
            }
        }
    }
}

/// Up to [`KEY_BLOCK`] keys that are there, as indices into their segment, ascending.
struct Block {
    keys: [usize; KEY_BLOCK],
    len: usize,
}

impl Block {
    /// Takes the next keys from `cursor` on, and returns where to go on.
    fn fill(
        &mut self,
        problem: &Problem<'_>,
        number: usize,
        segment: &Segment,
        mut cursor: usize,
        end: usize,
    ) -> usize {
        self.len = 0;
        while cursor < end && self.len < KEY_BLOCK {
            if problem.mask.keeps(number, segment, cursor) {
                self.keys[self.len] = cursor;
                self.len += 1;
            }
            cursor += 1;
        }
        cursor
    }

    /// How many of the keys lie below `horizon`.
    fn below(&self, horizon: usize) -> usize {
        self.keys[..self.len].partition_point(|key| *key < horizon)
    }
}

/// Queries of one segment and head whose lanes are computed together.
struct Group<'p, 'a> {
    problem: &'p Problem<'a>,
    number: usize,
    segment: &'p Segment,
    head: usize,
    /// Token of the first query.
    start: usize,
    /// Queries in the group.
    count: usize,
}

impl Group<'_, '_> {
    /// `VECTORS` vectors of queries, `KEYS` keys and `DIMS` output elements at a time.
    #[inline(always)]
    fn attend<S: Simd, const VECTORS: usize, const KEYS: usize, const DIMS: usize>(
        &self,
        s: S,
        block: &mut Block,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        let head_dim = self.problem.heads.head_dim;
        let width = VECTORS * S::LANES;
        let (query, scratch) = scratch.split_at_mut(head_dim * width);
        let (result, scratch) = scratch.split_at_mut(head_dim * width);
        let weights = &mut scratch[..KEY_BLOCK * width];
        self.transpose_queries(width, query);

        let mut m = [s.splat(f32::NEG_INFINITY); VECTORS];
        let mut l = [s.splat(0.0); VECTORS];
        let lanes = lane_numbers::<S, VECTORS>(s);

        let first = self.start - self.segment.query.start;
        let mask = &self.problem.mask;
        // The first lane sees the fewest keys, the last one the most.
        let (least, most) = (mask.horizon(self.segment, first), mask.horizon(self.segment, first + self.count - 1));
        let (mut cursor, mut is_first) = (0, true);
        while cursor < most {
            cursor = block.fill(self.problem, self.number, self.segment, cursor, most);
            if block.len == 0 {
                break;
            }
            let seen_by_all = block.below(least);
            self.scores::<S, VECTORS, KEYS>(s, block, query, weights);

            // Whether key `j` is seen by a lane: the lane's number is at least that of the first lane that sees it.
            let seen = |j: usize| s.splat(self.first_lane(block.keys[j]));
            let mut raised = m;
            for (j, weights) in weights.chunks_exact_mut(width).take(block.len).enumerate() {
                for v in 0..VECTORS {
                    let part = &mut weights[v * S::LANES..][..S::LANES];
                    let mut score = s.load(part);
                    if j >= seen_by_all {
                        score = s.select(s.le(seen(j), lanes[v]), score, s.splat(f32::NEG_INFINITY));
                        s.store(score, part);
                    }
                    raised[v] = s.max(raised[v], score);
                }
            }

            let mut correction = m;
            for v in 0..VECTORS {
                let none = s.eq(raised[v], s.splat(f32::NEG_INFINITY));
                let reference = s.select(none, s.splat(0.0), raised[v]);
                let mut sum = s.splat(0.0);
                for weights in weights.chunks_exact_mut(width).take(block.len) {
                    let part = &mut weights[v * S::LANES..][..S::LANES];
                    let weight = kernform_math::vector::exp(s, s.sub(s.load(part), reference));
                    s.store(weight, part);
                    sum = s.add(sum, weight);
                }
                correction[v] = kernform_math::vector::exp(s, s.sub(m[v], reference));
                let joined = if is_first { sum } else { s.mul_add(l[v], correction[v], sum) };
                let sees_any = s.le(seen(0), lanes[v]);
                l[v] = s.select(sees_any, joined, l[v]);
                m[v] = s.select(sees_any, raised[v], m[v]);
            }

            let mut d = 0;
            while d + DIMS <= head_dim {
                self.values::<S, VECTORS, DIMS>(s, block, d, seen_by_all, lanes, weights, correction, is_first, result);
                d += DIMS;
            }
            while d < head_dim {
                self.values::<S, VECTORS, 1>(s, block, d, seen_by_all, lanes, weights, correction, is_first, result);
                d += 1;
            }
            is_first = false;
        }
        self.finish::<S, VECTORS>(s, is_first, l, result, out);
    }

    /// The first lane that sees a key of the segment.
    #[inline(always)]
    fn first_lane(&self, key: usize) -> f32 {
        if !self.problem.mask.causal {
            return 0.0;
        }
        let first = self.start - self.segment.query.start;
        (key + self.segment.query.len()).saturating_sub(first + self.segment.key.len()) as f32
    }

    /// Element `d` of the group's queries side by side; lanes without a query are 0.
    #[inline(always)]
    fn transpose_queries(&self, width: usize, transposed: &mut [f32]) {
        let head_dim = self.problem.heads.head_dim;
        for lane in 0..self.count {
            let query = self.problem.query.part(self.start + lane, self.head * head_dim, head_dim);
            for (column, q) in transposed.chunks_exact_mut(width).zip(query) {
                column[lane] = *q;
            }
        }
        for column in transposed.chunks_exact_mut(width) {
            column[self.count..].fill(0.0);
        }
    }

    /// Scores of the block's keys, one row of `weights` each; rows up to a multiple of `KEYS` are overwritten.
    #[inline(always)]
    fn scores<S: Simd, const VECTORS: usize, const KEYS: usize>(
        &self,
        s: S,
        block: &Block,
        query: &[f32],
        weights: &mut [f32],
    ) {
        let width = VECTORS * S::LANES;
        let problem = self.problem;
        let head_dim = problem.heads.head_dim;
        let column = self.head / problem.heads.group() * head_dim;
        let scale = s.splat(problem.scale);
        for (first, weights) in (0..block.len).step_by(KEYS).zip(weights.chunks_exact_mut(KEYS * width)) {
            let mut keys: [&[f32]; KEYS] = [&[]; KEYS];
            for (i, key) in keys.iter_mut().enumerate() {
                let index = block.keys[(first + i).min(block.len - 1)];
                *key = problem.key.part(self.segment.key.start + index, column, head_dim);
            }
            let mut sums = [[s.splat(0.0); VECTORS]; KEYS];
            for (d, query) in query.chunks_exact(width).take(head_dim).enumerate() {
                let mut q = [s.splat(0.0); VECTORS];
                for v in 0..VECTORS {
                    q[v] = s.load(&query[v * S::LANES..]);
                }
                for i in 0..KEYS {
                    let k = s.splat(keys[i][d]);
                    for v in 0..VECTORS {
                        sums[i][v] = s.mul_add(q[v], k, sums[i][v]);
                    }
                }
            }
            for (sums, weights) in sums.iter().zip(weights.chunks_exact_mut(width)) {
                for (sum, part) in sums.iter().zip(weights.chunks_exact_mut(S::LANES)) {
                    s.store(s.mul(*sum, scale), part);
                }
            }
        }
        if let Some(bias) = problem.mask.bias {
            let first = self.start - self.segment.query.start;
            for (key, weights) in block.keys[..block.len].iter().zip(weights.chunks_exact_mut(width)) {
                for (lane, weight) in weights[..self.count].iter_mut().enumerate() {
                    *weight += bias.at(self.number, self.head, first + lane, *key);
                }
            }
        }
    }

    /// Adds the block's weighted values to elements `d .. d + DIMS` of the transposed result.
    #[inline(always)]
    fn values<S: Simd, const VECTORS: usize, const DIMS: usize>(
        &self,
        s: S,
        block: &Block,
        d: usize,
        seen_by_all: usize,
        lanes: [S::F32; VECTORS],
        weights: &[f32],
        correction: [S::F32; VECTORS],
        is_first: bool,
        result: &mut [f32],
    ) {
        let width = VECTORS * S::LANES;
        let problem = self.problem;
        let column = self.head / problem.heads.group() * problem.heads.head_dim + d;
        let mut sums = [[s.splat(0.0); VECTORS]; DIMS];
        for (j, (key, weights)) in block.keys[..block.len].iter().zip(weights.chunks_exact(width)).enumerate() {
            let value = problem.value.part(self.segment.key.start + key, column, DIMS);
            let mut p = [s.splat(0.0); VECTORS];
            for v in 0..VECTORS {
                p[v] = s.load(&weights[v * S::LANES..]);
            }
            if j < seen_by_all {
                for i in 0..DIMS {
                    let x = s.splat(value[i]);
                    for v in 0..VECTORS {
                        sums[i][v] = s.mul_add(p[v], x, sums[i][v]);
                    }
                }
            } else {
                let seen = s.splat(self.first_lane(*key));
                for i in 0..DIMS {
                    let x = s.splat(value[i]);
                    for v in 0..VECTORS {
                        let sum = s.mul_add(p[v], x, sums[i][v]);
                        sums[i][v] = s.select(s.le(seen, lanes[v]), sum, sums[i][v]);
                    }
                }
            }
        }
        let sees_any = s.splat(self.first_lane(block.keys[0]));
        for (sums, result) in sums.iter().zip(result[d * width..].chunks_exact_mut(width)) {
            for v in 0..VECTORS {
                let part = &mut result[v * S::LANES..][..S::LANES];
                let joined = if is_first {
                    sums[v]
                } else {
                    let before = s.load(part);
                    let joined = s.mul_add(before, correction[v], sums[v]);
                    s.select(s.le(sees_any, lanes[v]), joined, before)
                };
                s.store(joined, part);
            }
        }
    }

    /// Divides by the denominators and writes the rows.
    #[inline(always)]
    fn finish<S: Simd, const VECTORS: usize>(
        &self,
        s: S,
        sees_none: bool,
        l: [S::F32; VECTORS],
        result: &mut [f32],
        out: &mut [f32],
    ) {
        let head_dim = self.problem.heads.head_dim;
        let width = VECTORS * S::LANES;
        if sees_none {
            result.fill(0.0);
        }
        for v in 0..VECTORS {
            let none = s.eq(l[v], s.splat(0.0));
            let reciprocal = s.div(s.splat(1.0), l[v]);
            for result in result.chunks_exact_mut(width) {
                let part = &mut result[v * S::LANES..][..S::LANES];
                s.store(s.select(none, s.splat(0.0), s.mul(s.load(part), reciprocal)), part);
            }
        }
        for lane in 0..self.count {
            let out = &mut out[lane * self.problem.out_stride..][..head_dim];
            for (out, result) in out.iter_mut().zip(result.chunks_exact(width)) {
                *out = result[lane];
            }
        }
    }
}

/// 0, 1, 2, … over the lanes of the group.
#[inline(always)]
fn lane_numbers<S: Simd, const VECTORS: usize>(s: S) -> [S::F32; VECTORS] {
    let mut numbers = [0.0; MAX_WIDTH];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = i as f32;
    }
    let mut lanes = [s.splat(0.0); VECTORS];
    for v in 0..VECTORS {
        lanes[v] = s.load(&numbers[v * S::LANES..]);
    }
    lanes
}
