//! Keys and values of the tokens so far.

use core::ops::Range;

use kernform_simd::prefetch;

use crate::reference::KEY_TILE;
use crate::{AttentionError, Heads, Operand, Rows};

/// Marks a physical slot that no logical slot has claimed.
const UNCLAIMED: usize = usize::MAX;

/// The keys and values of `slots` independent sequences, over storage that the caller gives (a `Vec` or a `&mut` slice).
///
/// Self-attention appends one token a step to each sequence; cross-attention appends an encoder's output once, and any
/// number of query rows read it. Beams are reordered by renaming slots: only a beam that goes on as two is copied.
///
/// ```
/// use kernform_attention::{Heads, KvCache, Rows};
///
/// let heads = Heads::new(2, 4);
/// let (slots, capacity) = (3, 10);
/// let mut cache = KvCache::new(
///     heads,
///     slots,
///     capacity,
///     vec![0.0; KvCache::storage_len(heads, slots, capacity)?],
///     vec![0; KvCache::bookkeeping_len(slots)],
/// )?;
/// cache.append(0, &[1.0; 8], &[2.0; 8])?;
/// cache.append_rows(1, Rows::new(&[3.0; 16], 8), Rows::new(&[4.0; 16], 8), 0..2)?;
/// cache.reorder(&[1, 1, 0])?; // slots 0 and 1 go on from slot 1, slot 2 from slot 0
/// assert_eq!([cache.len(0), cache.len(1), cache.len(2)], [2, 2, 1]);
/// # Ok::<(), kernform_attention::AttentionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KvCache<S, B> {
    heads: Heads,
    slots: usize,
    capacity: usize,
    /// For each physical slot, tile of tokens and head: the keys, `[head_dim][KEY_TILE]`, then the values,
    /// `[KEY_TILE][head_dim]`. What a step of a short sequence reads stands together.
    storage: S,
    /// Three lists of `slots` entries: physical slot of each logical one, length and claimant of each physical one.
    bookkeeping: B,
}

/// The sizes of [`KvCache`]'s memory; these belong to no particular storage type.
impl KvCache<(), ()> {
    /// Elements of storage that a cache needs. Of `heads`, the query heads do not matter.
    ///
    /// # Errors
    /// [`AttentionError::Overflow`] where the size does not fit the address space.
    pub fn storage_len(heads: Heads, slots: usize, capacity: usize) -> Result<usize, AttentionError> {
        Layout::new(heads, capacity).and_then(|layout| layout.slot.checked_mul(slots)).ok_or(AttentionError::Overflow)
    }

    /// Entries of bookkeeping that a cache needs.
    #[must_use]
    pub const fn bookkeeping_len(slots: usize) -> usize {
        slots.saturating_mul(3)
    }

    /// An empty cache of `slots` sequences with room for `capacity` tokens each; the memory may hold anything.
    ///
    /// # Errors
    /// [`AttentionError`] where the memory is too short or a size overflows.
    pub fn new<S: AsMut<[f32]> + AsRef<[f32]>, B: AsMut<[usize]> + AsRef<[usize]>>(
        heads: Heads,
        slots: usize,
        capacity: usize,
        storage: S,
        bookkeeping: B,
    ) -> Result<KvCache<S, B>, AttentionError> {
        let checks = [
            (Operand::Storage, Self::storage_len(heads, slots, capacity)?, storage.as_ref().len()),
            (Operand::Bookkeeping, Self::bookkeeping_len(slots), bookkeeping.as_ref().len()),
        ];
        for (operand, needed, len) in checks {
            if len < needed {
                return Err(AttentionError::TooShort { operand, needed, len });
            }
        }
        let mut cache = KvCache { heads, slots, capacity, storage, bookkeeping };
        cache.clear();
        Ok(cache)
    }
}

/// Where things are in the storage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    head_dim: usize,
    /// Elements of the keys of one head in one tile; as many hold its values.
    half: usize,
    /// Elements of one tile of one slot, all heads.
    tile: usize,
    /// Elements of one slot.
    slot: usize,
}

impl Layout {
    fn new(heads: Heads, capacity: usize) -> Option<Layout> {
        let half = KEY_TILE.checked_mul(heads.head_dim)?;
        let tile = half.checked_mul(2)?.checked_mul(heads.kv_heads)?;
        let slot = capacity.div_ceil(KEY_TILE).checked_mul(tile)?;
        Some(Layout { head_dim: heads.head_dim, half, tile, slot })
    }

    /// The keys of one head in the tile of token `place`; its values follow.
    fn keys(&self, slot: usize, head: usize, place: usize) -> Range<usize> {
        let start = slot * self.slot + place / KEY_TILE * self.tile + head * 2 * self.half;
        start..start + self.half
    }
}

/// One head of one sequence to read.
#[derive(Clone, Copy)]
pub(crate) struct HeadView<'a> {
    /// From the head's first tile on, to the end of the slot.
    data: &'a [f32],
    layout: Layout,
}

impl<'a> HeadView<'a> {
    pub(crate) const EMPTY: HeadView<'static> =
        HeadView { data: &[], layout: Layout { head_dim: 0, half: 0, tile: 0, slot: 0 } };

    /// The keys of a tile, element by element.
    #[inline(always)]
    pub(crate) fn keys(&self, tile: usize) -> &'a [f32] {
        &self.data[tile * self.layout.tile..][..self.layout.half]
    }

    /// The values of a tile, key by key.
    #[inline(always)]
    pub(crate) fn values(&self, tile: usize) -> &'a [f32] {
        &self.data[tile * self.layout.tile + self.layout.half..][..self.layout.half]
    }
}

/// A cache to read, whatever it is stored in.
#[derive(Clone, Copy)]
pub(crate) struct CacheView<'a> {
    pub(crate) heads: Heads,
    layout: Layout,
    storage: &'a [f32],
    physical: &'a [usize],
    lengths: &'a [usize],
}

impl<'a> CacheView<'a> {
    pub(crate) fn slots(&self) -> usize {
        self.physical.len()
    }

    pub(crate) fn len(&self, slot: usize) -> usize {
        self.lengths[self.physical[slot]]
    }

    #[inline(always)]
    pub(crate) fn head(&self, slot: usize, head: usize) -> HeadView<'a> {
        let layout = self.layout;
        let start = self.physical[slot] * layout.slot;
        // A cache without capacity has no tile for the head to begin in.
        let slot = &self.storage[start..start + layout.slot];
        HeadView { data: slot.get(head * 2 * layout.half..).unwrap_or_default(), layout }
    }

    /// Fetches the first `keys` keys and values of a slot, at most a tile of them, ahead of their use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize, keys: usize) {
        let layout = self.layout;
        let start = self.physical[slot] * layout.slot;
        let tile = &self.storage[start..start + layout.tile.min(layout.slot)];
        for head in tile.chunks_exact((2 * layout.half).max(1)) {
            prefetch(&head[..layout.half + keys.min(KEY_TILE) * layout.head_dim]);
        }
    }
}

impl<S: AsMut<[f32]> + AsRef<[f32]>, B: AsMut<[usize]> + AsRef<[usize]>> KvCache<S, B> {
    fn layout(&self) -> Layout {
        // The constructor has checked that these sizes do not overflow.
        Layout::new(self.heads, self.capacity).unwrap_or_default()
    }

    pub(crate) fn view(&self) -> CacheView<'_> {
        let (physical, rest) = self.bookkeeping.as_ref().split_at(self.slots);
        CacheView {
            heads: self.heads,
            layout: self.layout(),
            storage: self.storage.as_ref(),
            physical,
            lengths: &rest[..self.slots],
        }
    }

    /// The lists of the bookkeeping: physical slots, lengths, claimants.
    fn lists(&mut self) -> (&mut [usize], &mut [usize], &mut [usize]) {
        let (physical, rest) = self.bookkeeping.as_mut().split_at_mut(self.slots);
        let (lengths, rest) = rest.split_at_mut(self.slots);
        (physical, lengths, &mut rest[..self.slots])
    }

    fn check_slot(&self, slot: usize) -> Result<usize, AttentionError> {
        let physical = self.bookkeeping.as_ref()[..self.slots].get(slot).copied();
        physical.ok_or(AttentionError::Slot { slot, slots: self.slots })
    }

    /// The heads that the cache was made for.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// Sequences that it holds.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Tokens that a sequence can have.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens of a sequence; 0 for a slot that does not exist.
    #[must_use]
    pub fn len(&self, slot: usize) -> usize {
        self.check_slot(slot).map_or(0, |physical| self.bookkeeping.as_ref()[self.slots + physical])
    }

    /// Whether a sequence has no tokens.
    #[must_use]
    pub fn is_empty(&self, slot: usize) -> bool {
        self.len(slot) == 0
    }

    /// Appends one token to a sequence: all key-value heads of its key and of its value.
    ///
    /// # Errors
    /// [`AttentionError`] for a slot that does not exist or is full, or rows that are too short.
    pub fn append(&mut self, slot: usize, key: &[f32], value: &[f32]) -> Result<(), AttentionError> {
        self.append_rows(slot, Rows::new(key, 0), Rows::new(value, 0), 0..1)
    }

    /// Appends the tokens of a range of rows to a sequence.
    ///
    /// # Errors
    /// [`AttentionError`] for a slot that does not exist or has too little room, or rows that are not there.
    pub fn append_rows(
        &mut self,
        slot: usize,
        key: Rows<'_>,
        value: Rows<'_>,
        tokens: Range<usize>,
    ) -> Result<(), AttentionError> {
        let physical = self.check_slot(slot)?;
        let (heads, layout) = (self.heads, self.layout());
        key.check(Operand::Key, tokens.end, heads.kv_width())?;
        value.check(Operand::Value, tokens.end, heads.kv_width())?;
        let (len, added) = (self.len(slot), tokens.len());
        if added > self.capacity - len {
            return Err(AttentionError::CacheFull { slot, len, added, capacity: self.capacity });
        }
        let storage = self.storage.as_mut();
        for (token, place) in tokens.zip(len..) {
            for head in 0..heads.kv_heads {
                let column = head * layout.head_dim;
                let keys = layout.keys(physical, head, place);
                let values = keys.end + place % KEY_TILE * layout.head_dim;
                let key = key.part(token, column, layout.head_dim);
                for (elements, key) in storage[keys].as_chunks_mut::<KEY_TILE>().0.iter_mut().zip(key) {
                    elements[place % KEY_TILE] = *key;
                }
                let value = value.part(token, column, layout.head_dim);
                storage[values..][..layout.head_dim].copy_from_slice(value);
            }
        }
        self.lists().1[physical] = len + added;
        Ok(())
    }

    /// Appends one token to each of several sequences: row `i` to slot `slots[i]`.
    ///
    /// # Errors
    /// As [`KvCache::append_rows`]; the rows before the one that fails have been appended then.
    pub fn append_step(&mut self, slots: &[usize], key: Rows<'_>, value: Rows<'_>) -> Result<(), AttentionError> {
        for (row, &slot) in slots.iter().enumerate() {
            if let Some(&next) = slots.get(row + 1) {
                self.prefetch_place(next);
            }
            self.append_rows(slot, key, value, row..row + 1)?;
        }
        Ok(())
    }

    /// Fetches the memory of the next token of a sequence.
    fn prefetch_place(&self, slot: usize) {
        let (layout, place) = (self.layout(), self.len(slot));
        let Ok(physical) = self.check_slot(slot) else { return };
        let storage = self.storage.as_ref();
        for head in 0..self.heads.kv_heads {
            let keys = layout.keys(physical, head, place);
            let value = keys.end + place % KEY_TILE * layout.head_dim;
            prefetch(storage.get(keys).unwrap_or_default());
            prefetch(storage.get(value..value + layout.head_dim).unwrap_or_default());
        }
    }

    /// Forgets the tokens of a sequence from `len` on.
    ///
    /// # Errors
    /// [`AttentionError`] for a slot that does not exist or has fewer tokens.
    pub fn truncate(&mut self, slot: usize, len: usize) -> Result<(), AttentionError> {
        let physical = self.check_slot(slot)?;
        if len > self.len(slot) {
            return Err(AttentionError::Truncate { slot, len: self.len(slot), to: len });
        }
        self.lists().1[physical] = len;
        Ok(())
    }

    /// Forgets all tokens of all sequences.
    pub fn clear(&mut self) {
        let (physical, lengths, _) = self.lists();
        for (slot, physical) in physical.iter_mut().enumerate() {
            *physical = slot;
        }
        lengths.fill(0);
    }

    /// Makes sequence `to` a copy of sequence `from`.
    ///
    /// # Errors
    /// [`AttentionError::Slot`] for a slot that does not exist.
    pub fn copy_slot(&mut self, from: usize, to: usize) -> Result<(), AttentionError> {
        let (from, to) = (self.check_slot(from)?, self.check_slot(to)?);
        self.copy_physical(from, to);
        Ok(())
    }

    /// Sequence `i` goes on from what sequence `parents[i]` was, for all `i` at once; sequences beyond the list stay.
    ///
    /// A permutation moves nothing but names; each further use of the same parent copies that sequence's tokens.
    ///
    /// # Errors
    /// [`AttentionError`] for more parents than slots or a parent that does not exist; nothing has changed then.
    pub fn reorder(&mut self, parents: &[usize]) -> Result<(), AttentionError> {
        let slots = self.slots;
        if parents.len() > slots {
            return Err(AttentionError::ListLength { needed: slots, len: parents.len() });
        }
        if let Some(slot) = parents.iter().copied().find(|parent| *parent >= slots) {
            return Err(AttentionError::Slot { slot, slots });
        }
        let renamed = parents.len();
        let (physical, _, claimant) = self.lists();
        claimant.fill(UNCLAIMED);
        for (child, &parent) in parents.iter().enumerate() {
            // A parent beyond the list keeps its own memory, so its children are copies.
            if parent < renamed && claimant[physical[parent]] == UNCLAIMED {
                claimant[physical[parent]] = child;
            }
        }
        // There is one unclaimed physical slot for each child that has claimed none.
        let mut free = 0;
        for (child, &parent) in parents.iter().enumerate() {
            let (physical, _, claimant) = self.lists();
            let from = physical[parent];
            if claimant[from] == child {
                continue;
            }
            while free < renamed && claimant[physical[free]] != UNCLAIMED {
                free += 1;
            }
            let Some(&to) = physical[..renamed].get(free) else { break };
            claimant[to] = child;
            self.copy_physical(from, to);
        }
        let (physical, _, claimant) = self.lists();
        for (memory, &child) in claimant.iter().enumerate() {
            if child != UNCLAIMED {
                physical[child] = memory;
            }
        }
        Ok(())
    }

    /// Copies the tokens of one physical slot to another.
    fn copy_physical(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let layout = self.layout();
        let (_, lengths, _) = self.lists();
        let len = lengths[from];
        lengths[to] = len;
        let start = from * layout.slot;
        let used = len.div_ceil(KEY_TILE) * layout.tile;
        self.storage.as_mut().copy_within(start..start + used, to * layout.slot);
    }
}
