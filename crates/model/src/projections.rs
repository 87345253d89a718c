//! What a first layer projects, kept by token and place.
//!
//! Queries, keys and values of the first layer depend on a token and its position alone, and so on nothing that a batch
//! changes. With a small vocabulary the same pairs come again and again; a copy then takes a tenth of the product's time.

use alloc::vec::Vec;
use core::ops::Range;

use crate::error::ModelError;

/// A token and the place that its embedding has in the table of positions.
type Key = (u32, usize);

/// Rows of a first layer's projections, each in the one slot that its key may have: a later one takes the place of an
/// earlier one.
pub(crate) struct ProjectionCache<'a> {
    /// The key of the row in each slot.
    keys: Vec<Option<Key>>,
    /// `[slots, width]`.
    rows: &'a mut [f32],
    /// Places follow one another at this distance, so that no two keys share a slot while there are slots.
    vocab_size: usize,
    width: usize,
}

impl<'a> ProjectionCache<'a> {
    /// An empty cache of `rows.len() / width` slots. What `rows` holds does not matter.
    pub(crate) fn new(rows: &'a mut [f32], vocab_size: usize, width: usize) -> Self {
        Self { keys: alloc::vec![None; rows.len() / width.max(1)], rows, vocab_size, width }
    }

    /// Fills `out`, `[keys, width]`: from what is kept, or by `project`, which gets the runs of rows that are not.
    pub(crate) fn fill(
        &mut self,
        keys: KeyList<'_>,
        out: &mut [f32],
        mut project: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let width = self.width;
        let count = keys.len();
        let mut first = 0;
        while first < count {
            let mut end = first;
            while end < count {
                let Some(row) = self.find(keys.get(end)) else { break };
                out[end * width..][..width].copy_from_slice(row);
                end += 1;
            }
            first = end;
            while end < count && self.find(keys.get(end)).is_none() {
                end += 1;
            }
            if first < end {
                project(first..end, &mut out[first * width..end * width])?;
                for i in first..end {
                    self.keep(keys.get(i), &out[i * width..][..width]);
                }
            }
            first = end;
        }
        Ok(())
    }

    fn slot(&self, (token, place): Key) -> Option<usize> {
        place.wrapping_mul(self.vocab_size).wrapping_add(token as usize).checked_rem(self.keys.len())
    }

    fn find(&self, key: Key) -> Option<&[f32]> {
        let slot = self.slot(key)?;
        (self.keys[slot] == Some(key)).then(|| &self.rows[slot * self.width..][..self.width])
    }

    fn keep(&mut self, key: Key, row: &[f32]) {
        if let Some(slot) = self.slot(key) {
            self.keys[slot] = Some(key);
            self.rows[slot * self.width..][..self.width].copy_from_slice(row);
        }
    }
}

/// The keys of some rows, side by side.
#[derive(Clone, Copy)]
pub(crate) struct KeyList<'k> {
    pub(crate) tokens: &'k [u32],
    pub(crate) places: &'k [usize],
}

impl KeyList<'_> {
    fn len(self) -> usize {
        self.tokens.len()
    }

    fn get(self, i: usize) -> Key {
        (self.tokens[i], self.places[i])
    }
}

/// The first layer's rows of a pass, and where its projections are kept.
pub(crate) struct FirstLayer<'k, 'a> {
    pub(crate) cache: &'k mut ProjectionCache<'a>,
    pub(crate) keys: KeyList<'k>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 3;

    /// What a row is to hold.
    fn row((token, place): Key) -> [f32; WIDTH] {
        [token as f32, place as f32, 0.5]
    }

    /// Fills as many rows as there are keys and gives the runs that were projected.
    fn fill(cache: &mut ProjectionCache<'_>, keys: &[Key]) -> Vec<(usize, usize)> {
        let (tokens, places): (Vec<u32>, Vec<usize>) = keys.iter().copied().unzip();
        let mut out = alloc::vec![f32::NAN; keys.len() * WIDTH];
        let mut runs = Vec::new();
        let list = KeyList { tokens: &tokens, places: &places };
        let filled = cache.fill(list, &mut out, |run, out| {
            for (key, out) in keys[run.clone()].iter().zip(out.chunks_exact_mut(WIDTH)) {
                out.copy_from_slice(&row(*key));
            }
            runs.push((run.start, run.end));
            Ok(())
        });
        assert!(filled.is_ok());
        let expected: Vec<f32> = keys.iter().flat_map(|key| row(*key)).collect();
        assert_eq!(out, expected);
        runs
    }

    #[test]
    fn only_what_is_not_kept_is_projected() {
        let mut rows = [f32::NAN; 20 * WIDTH];
        let mut cache = ProjectionCache::new(&mut rows, 5, WIDTH);
        assert_eq!(fill(&mut cache, &[(1, 0), (2, 1), (1, 0)]), [(0, 3)]);
        assert_eq!(fill(&mut cache, &[(3, 1), (2, 1), (4, 0), (1, 2), (1, 0)]), [(0, 1), (2, 4)]);
        assert!(fill(&mut cache, &[(1, 2), (4, 0), (3, 1), (2, 1), (1, 0)]).is_empty());
    }

    #[test]
    fn keys_that_share_a_slot_take_turns() {
        // Ten slots: places 0 and 2 of five tokens share them.
        let mut rows = [f32::NAN; 10 * WIDTH + 2];
        let mut cache = ProjectionCache::new(&mut rows, 5, WIDTH);
        assert_eq!(fill(&mut cache, &[(1, 0), (1, 2), (1, 0)]), [(0, 3)]);
        assert_eq!(fill(&mut cache, &[(1, 2)]), [(0, 1)]);
        assert_eq!(fill(&mut cache, &[(1, 2), (1, 0), (1, 2)]), [(1, 2), (2, 3)]);
    }

    #[test]
    fn without_slots_all_rows_are_projected() {
        let mut cache = ProjectionCache::new(&mut [], 5, WIDTH);
        for _ in 0..2 {
            assert_eq!(fill(&mut cache, &[(1, 0), (2, usize::MAX), (u32::MAX, 0)]), [(0, 3)]);
        }
        assert!(fill(&mut cache, &[]).is_empty());
    }

    #[test]
    fn a_run_that_fails_is_not_kept() {
        let mut rows = [0.0; 10 * WIDTH];
        let mut cache = ProjectionCache::new(&mut rows, 5, WIDTH);
        let list = KeyList { tokens: &[1], places: &[0] };
        let failed = cache.fill(list, &mut [0.0; WIDTH], |_, _| Err(ModelError::EmptySequence));
        assert!(matches!(failed, Err(ModelError::EmptySequence)));
        assert_eq!(fill(&mut cache, &[(1, 0)]), [(0, 1)]);
    }
}
