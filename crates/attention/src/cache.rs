//! Keys and values of the tokens so far.

use core::ops::Range;

use kernform_simd::prefetch;

use crate::pages::Pages;
use crate::reference::KEY_TILE;
use crate::stored::{CacheKind, store};
use crate::{AttentionError, Heads, Operand, Rows};

/// The keys and values of `slots` independent sequences, over storage that the caller gives (a `Vec` or a `&mut` slice).
///
/// Self-attention appends one token a step to each sequence; cross-attention appends an encoder's output once, and any
/// number of query rows read it. Sequences are lists of pages of [`KEY_TILE`] tokens, which several of them may share: to
/// reorder beams, or to copy a sequence, is to copy a list, and a page is copied when one of its owners writes to it.
/// A sequence whose first tokens are forgotten ([`KvCache::forget`]) gives their pages back, so one that keeps to a window
/// can go on for ever.
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
///     vec![0; KvCache::bookkeeping_len(slots, capacity)],
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
    kind: CacheKind,
    slots: usize,
    capacity: usize,
    /// For each page and head: the keys, `[head_dim][KEY_TILE]`, then the values, `[KEY_TILE][head_dim]`. What a step of
    /// a short sequence reads stands together.
    storage: S,
    /// Which pages are whose: see [`Pages`].
    bookkeeping: B,
}

/// The sizes of [`KvCache`]'s memory; these belong to no particular storage type.
impl KvCache<(), ()> {
    /// Elements of storage that a cache in `f32` needs. Of `heads`, the query heads do not matter.
    ///
    /// # Errors
    /// [`AttentionError::Overflow`] where the size does not fit the address space.
    pub fn storage_len(heads: Heads, slots: usize, capacity: usize) -> Result<usize, AttentionError> {
        Self::storage_len_of(CacheKind::F32, heads, slots, capacity)
    }

    /// Elements of storage, of four bytes each, that a cache of any kind needs.
    ///
    /// # Errors
    /// [`AttentionError::Overflow`] where the size does not fit the address space.
    pub fn storage_len_of(
        kind: CacheKind,
        heads: Heads,
        slots: usize,
        capacity: usize,
    ) -> Result<usize, AttentionError> {
        let pages = slots.checked_mul(capacity.div_ceil(KEY_TILE));
        let len = Layout::new(kind, heads).and_then(|layout| layout.page.checked_mul(pages?));
        len.ok_or(AttentionError::Overflow)
    }

    /// Entries of bookkeeping that a cache needs.
    #[must_use]
    pub const fn bookkeeping_len(slots: usize, capacity: usize) -> usize {
        Pages::<&[usize]>::bookkeeping_len(slots, capacity.div_ceil(KEY_TILE))
    }

    /// An empty cache in `f32` of `slots` sequences with room for `capacity` tokens each; the memory may hold anything.
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
        Self::new_of(CacheKind::F32, heads, slots, capacity, storage, bookkeeping)
    }

    /// As [`KvCache::new`], with elements of any kind.
    ///
    /// # Errors
    /// [`AttentionError`] where the memory is too short or a size overflows.
    pub fn new_of<S: AsMut<[f32]> + AsRef<[f32]>, B: AsMut<[usize]> + AsRef<[usize]>>(
        kind: CacheKind,
        heads: Heads,
        slots: usize,
        capacity: usize,
        storage: S,
        bookkeeping: B,
    ) -> Result<KvCache<S, B>, AttentionError> {
        let checks = [
            (Operand::Storage, Self::storage_len_of(kind, heads, slots, capacity)?, storage.as_ref().len()),
            (Operand::Bookkeeping, Self::bookkeeping_len(slots, capacity), bookkeeping.as_ref().len()),
        ];
        for (operand, needed, len) in checks {
            if len < needed {
                return Err(AttentionError::TooShort { operand, needed, len });
            }
        }
        let mut cache = KvCache { heads, kind, slots, capacity, storage, bookkeeping };
        cache.clear();
        Ok(cache)
    }
}

/// Where things are in a page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) kind: CacheKind,
    pub(crate) head_dim: usize,
    /// Elements of storage for the keys of one head; as many hold its values.
    pub(crate) half: usize,
    /// Elements of one page, all heads.
    pub(crate) page: usize,
}

impl Layout {
    fn new(kind: CacheKind, heads: Heads) -> Option<Layout> {
        let half = kind.half_len(heads.head_dim)?;
        let page = half.checked_mul(2)?.checked_mul(heads.kv_heads)?;
        Some(Layout { kind, head_dim: heads.head_dim, half, page })
    }

    /// Copies the first `tokens` tokens of page `from` to page `to`.
    fn copy_page(self, storage: &mut [f32], from: usize, to: usize, tokens: usize) {
        let before_values = if self.kind == CacheKind::Int8 { KEY_TILE } else { 0 };
        let values = before_values + ((self.half - before_values) * tokens).div_ceil(KEY_TILE);
        for head in (0..self.page).step_by((2 * self.half).max(1)) {
            // Keys stand element by element, so all of their tile is copied; values stand token by token.
            let from = from * self.page + head;
            storage.copy_within(from..from + self.half + values, to * self.page + head);
        }
    }
}

/// One head of one sequence to read.
#[derive(Clone, Copy)]
pub(crate) struct HeadView<'a> {
    storage: &'a [f32],
    /// The pages of the sequence, a ring.
    pages: &'a [usize],
    /// Where the head begins in a page.
    offset: usize,
    pub(crate) layout: Layout,
}

impl<'a> HeadView<'a> {
    pub(crate) const EMPTY: HeadView<'static> = HeadView {
        storage: &[],
        pages: &[],
        offset: 0,
        layout: Layout { kind: CacheKind::F32, head_dim: 0, half: 0, page: 0 },
    };

    /// The stored keys of a tile.
    #[inline(always)]
    pub(crate) fn keys(&self, tile: usize) -> &'a [f32] {
        &self.storage[self.place(tile)..][..self.layout.half]
    }

    /// The stored values of a tile.
    #[inline(always)]
    pub(crate) fn values(&self, tile: usize) -> &'a [f32] {
        &self.storage[self.place(tile) + self.layout.half..][..self.layout.half]
    }

    #[inline(always)]
    fn place(&self, tile: usize) -> usize {
        // Most sequences never come round, and a division costs as much as a small tile.
        let index = if tile < self.pages.len() { tile } else { tile % self.pages.len().max(1) };
        self.pages[index] * self.layout.page + self.offset
    }
}

/// A cache to read, whatever it is stored in.
#[derive(Clone, Copy)]
pub(crate) struct CacheView<'a> {
    pub(crate) heads: Heads,
    layout: Layout,
    storage: &'a [f32],
    pages: Pages<&'a [usize]>,
}

impl<'a> CacheView<'a> {
    pub(crate) fn kind(&self) -> CacheKind {
        self.layout.kind
    }

    pub(crate) fn slots(&self) -> usize {
        self.pages.slots
    }

    /// The places of the tokens that a slot holds.
    #[inline(always)]
    pub(crate) fn tokens(&self, slot: usize) -> Range<usize> {
        self.pages.tokens(slot)
    }

    #[inline(always)]
    pub(crate) fn head(&self, slot: usize, head: usize) -> HeadView<'a> {
        let layout = self.layout;
        HeadView { storage: self.storage, pages: self.pages.table(slot), offset: head * 2 * layout.half, layout }
    }

    /// Fetches the first `keys` keys and values of a slot, at most a page of them, ahead of their use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize, keys: usize) {
        let layout = self.layout;
        let Some(page) = self.pages.table(slot).first().filter(|_| keys > 0) else { return };
        let page = &self.storage[page * layout.page..][..layout.page];
        for head in page.chunks_exact((2 * layout.half).max(1)) {
            let values = layout.half / KEY_TILE * keys.min(KEY_TILE);
            prefetch(&head[..layout.half + values]);
        }
    }
}

impl<S: AsMut<[f32]> + AsRef<[f32]>, B: AsMut<[usize]> + AsRef<[usize]>> KvCache<S, B> {
    fn layout(&self) -> Layout {
        // The constructor has checked that these sizes do not overflow.
        Layout::new(self.kind, self.heads).unwrap_or_default()
    }

    fn ring(&self) -> usize {
        self.capacity.div_ceil(KEY_TILE)
    }

    fn pages(&self) -> Pages<&[usize]> {
        Pages::new(self.slots, self.ring(), self.bookkeeping.as_ref())
    }

    fn pages_mut(&mut self) -> Pages<&mut [usize]> {
        Pages::new(self.slots, self.ring(), self.bookkeeping.as_mut())
    }

    pub(crate) fn view(&self) -> CacheView<'_> {
        CacheView { heads: self.heads, layout: self.layout(), storage: self.storage.as_ref(), pages: self.pages() }
    }

    fn check_slot(&self, slot: usize) -> Result<(), AttentionError> {
        if slot < self.slots { Ok(()) } else { Err(AttentionError::Slot { slot, slots: self.slots }) }
    }

    /// The heads that the cache was made for.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// How elements are stored.
    #[must_use]
    pub fn kind(&self) -> CacheKind {
        self.kind
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

    /// Tokens that a sequence has had, forgotten ones included: the place of the next one; 0 for a slot that does not
    /// exist.
    #[must_use]
    pub fn len(&self, slot: usize) -> usize {
        if slot < self.slots { self.pages().tokens(slot).end } else { 0 }
    }

    /// The place of the first token that has not been forgotten; 0 for a slot that does not exist.
    #[must_use]
    pub fn first(&self, slot: usize) -> usize {
        if slot < self.slots { self.pages().tokens(slot).start } else { 0 }
    }

    /// Whether a sequence has no tokens.
    #[must_use]
    pub fn is_empty(&self, slot: usize) -> bool {
        self.len(slot) == self.first(slot)
    }

    /// The keys `[head_dim, KEY_TILE]` and values `[KEY_TILE, head_dim]` of tile `tile` of a sequence, of one key-value head:
    /// those of the places from `tile * KEY_TILE` on. What stands for tokens that the sequence has not is any number.
    ///
    /// `None` where the sequence has no token there, for a head that does not exist, and where elements are not in `f32`.
    #[must_use]
    pub fn tile(&self, slot: usize, head: usize, tile: usize) -> Option<(&[f32], &[f32])> {
        let first = tile.checked_mul(KEY_TILE)?;
        let is_there = first < self.len(slot) && first + KEY_TILE > self.first(slot) && head < self.heads.kv_heads;
        (is_there && self.kind == CacheKind::F32).then(|| {
            let view = self.view().head(slot, head);
            (view.keys(tile), view.values(tile))
        })
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
        self.check_slot(slot)?;
        let (heads, layout) = (self.heads, self.layout());
        key.check(Operand::Key, tokens.end, heads.kv_width())?;
        value.check(Operand::Value, tokens.end, heads.kv_width())?;
        let (held, added) = (self.pages().tokens(slot), tokens.len());
        // Pages go back as a whole, so what is left of the first one counts.
        let used = held.end - held.start / KEY_TILE * KEY_TILE;
        if added > self.capacity - used.min(self.capacity) {
            return Err(AttentionError::CacheFull { slot, len: used, added, capacity: self.capacity });
        }
        for (token, place) in tokens.zip(held.end..) {
            let (page, copied) = self.pages_mut().page_to_write(slot, place / KEY_TILE, place.is_multiple_of(KEY_TILE));
            let storage = self.storage.as_mut();
            if let Some(from) = copied {
                layout.copy_page(storage, from, page, place % KEY_TILE);
            }
            let page = &mut storage[page * layout.page..][..layout.page];
            for (head, part) in page.chunks_exact_mut((2 * layout.half).max(1)).enumerate() {
                let column = head * layout.head_dim;
                let (keys, values) = part.split_at_mut(layout.half);
                let key = key.part(token, column, layout.head_dim);
                store(layout.kind, key, place % KEY_TILE, true, keys);
                let value = value.part(token, column, layout.head_dim);
                store(layout.kind, value, place % KEY_TILE, false, values);
            }
            self.pages_mut().set_end(slot, place + 1);
        }
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

    /// Fetches the memory of the next token of a sequence, where its page is there already.
    fn prefetch_place(&self, slot: usize) {
        let (layout, place) = (self.layout(), self.len(slot));
        if slot >= self.slots || place.is_multiple_of(KEY_TILE) {
            return;
        }
        let table = self.pages().table(slot);
        let Some(page) = table.get(place / KEY_TILE % table.len().max(1)) else { return };
        let page = &self.storage.as_ref()[page * layout.page..][..layout.page];
        let value = layout.half / KEY_TILE;
        for part in page.chunks_exact((2 * layout.half).max(1)) {
            let (keys, values) = part.split_at(layout.half);
            prefetch(keys);
            prefetch(&values[place % KEY_TILE * value..][..value]);
        }
    }

    /// Forgets the tokens of a sequence from place `len` on.
    ///
    /// # Errors
    /// [`AttentionError`] for a slot that does not exist or has fewer tokens, or whose tokens there are forgotten already.
    pub fn truncate(&mut self, slot: usize, len: usize) -> Result<(), AttentionError> {
        self.check_slot(slot)?;
        let held = self.pages().tokens(slot);
        if len > held.end || len < held.start {
            return Err(AttentionError::Truncate { slot, len: held.end, to: len });
        }
        self.pages_mut().truncate(slot, len);
        Ok(())
    }

    /// Forgets the tokens of a sequence before place `first`: attention no longer sees them, and pages that hold nothing
    /// else are free. The others keep their places.
    ///
    /// # Errors
    /// [`AttentionError`] for a slot that does not exist or has fewer tokens.
    pub fn forget(&mut self, slot: usize, first: usize) -> Result<(), AttentionError> {
        self.check_slot(slot)?;
        let held = self.pages().tokens(slot);
        if first > held.end {
            return Err(AttentionError::Truncate { slot, len: held.end, to: first });
        }
        if first > held.start {
            self.pages_mut().forget(slot, first);
        }
        Ok(())
    }

    /// Forgets all tokens of all sequences.
    pub fn clear(&mut self) {
        self.pages_mut().clear();
    }

    /// Makes sequence `to` a copy of sequence `from`; no token is moved.
    ///
    /// # Errors
    /// [`AttentionError::Slot`] for a slot that does not exist.
    pub fn copy_slot(&mut self, from: usize, to: usize) -> Result<(), AttentionError> {
        self.check_slot(from)?;
        self.check_slot(to)?;
        self.pages_mut().copy(from, to);
        Ok(())
    }

    /// Sequence `i` goes on from what sequence `parents[i]` was, for all `i` at once; sequences beyond the list stay.
    ///
    /// Only lists of pages are copied. A page that several sequences share is copied by those that append to it.
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
        self.pages_mut().reorder(parents);
        Ok(())
    }
}
