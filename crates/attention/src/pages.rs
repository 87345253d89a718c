//! Which pages of a cache hold which sequence: rings of page numbers, with counts of owners.

use core::ops::Range;

use crate::reference::KEY_TILE;

/// The bookkeeping of a cache whose sequences have at most `ring` pages each.
///
/// There are as many pages as all rings together, so a sequence that needs another one always finds it: a ring holds at
/// most `ring` pages, and those that are shared are fewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages<L> {
    pub(crate) slots: usize,
    ring: usize,
    /// The rings of all slots; as many for reordering; owners of each page; free pages; the number of free pages; first
    /// and end place of each slot; as many for reordering.
    lists: L,
}

impl<L> Pages<L> {
    pub(crate) const fn bookkeeping_len(slots: usize, ring: usize) -> usize {
        slots.saturating_mul(ring).saturating_mul(4).saturating_add(slots.saturating_mul(4)).saturating_add(1)
    }

    pub(crate) fn new(slots: usize, ring: usize, lists: L) -> Self {
        Self { slots, ring, lists }
    }
}

impl<'a> Pages<&'a [usize]> {
    /// The ring of a slot: tile `t` of the sequence is page `table[t % ring]`.
    #[inline(always)]
    pub(crate) fn table(&self, slot: usize) -> &'a [usize] {
        &self.lists[slot * self.ring..][..self.ring]
    }

    /// The places of the tokens that a slot holds.
    #[inline(always)]
    pub(crate) fn tokens(&self, slot: usize) -> Range<usize> {
        let at = self.slots * self.ring * 4 + 1 + 2 * slot;
        self.lists[at]..self.lists[at + 1]
    }
}

/// The lists, cut up.
struct Lists<'a> {
    table: &'a mut [usize],
    other_table: &'a mut [usize],
    owners: &'a mut [usize],
    free: &'a mut [usize],
    free_count: &'a mut usize,
    places: &'a mut [usize],
    other_places: &'a mut [usize],
}

impl Pages<&mut [usize]> {
    fn lists(&mut self) -> Option<Lists<'_>> {
        let all = self.slots * self.ring;
        let (table, rest) = self.lists.split_at_mut(all);
        let (other_table, rest) = rest.split_at_mut(all);
        let (owners, rest) = rest.split_at_mut(all);
        let (free, rest) = rest.split_at_mut(all);
        let (free_count, rest) = rest.split_first_mut()?;
        let (places, rest) = rest.split_at_mut(2 * self.slots);
        let other_places = &mut rest[..2 * self.slots];
        Some(Lists { table, other_table, owners, free, free_count, places, other_places })
    }

    /// No tokens, and all pages free.
    pub(crate) fn clear(&mut self) {
        let Some(lists) = self.lists() else { return };
        lists.table.fill(0);
        lists.owners.fill(0);
        lists.places.fill(0);
        // The last one is taken first: pages of one sequence stand in order where nothing else happens.
        let count = lists.free.len();
        for (i, page) in lists.free.iter_mut().enumerate() {
            *page = count - 1 - i;
        }
        *lists.free_count = count;
    }

    /// The page of a tile, for its owner alone; the page that it must be copied from, where it was shared.
    ///
    /// `is_new` says that the sequence has no token in the tile yet.
    pub(crate) fn page_to_write(&mut self, slot: usize, tile: usize, is_new: bool) -> (usize, Option<usize>) {
        let at = slot * self.ring + tile % self.ring.max(1);
        let Some(lists) = self.lists() else { return (0, None) };
        let shared = lists.table[at];
        if !is_new && lists.owners[shared] == 1 {
            return (shared, None);
        }
        // There is a free page: each sequence owns at most a ring of them, and this one lacks one or shares it.
        *lists.free_count = lists.free_count.saturating_sub(1);
        let page = lists.free[*lists.free_count];
        lists.owners[page] = 1;
        lists.table[at] = page;
        if is_new {
            return (page, None);
        }
        lists.owners[shared] -= 1;
        (page, Some(shared))
    }

    pub(crate) fn set_end(&mut self, slot: usize, end: usize) {
        if let Some(lists) = self.lists() {
            lists.places[2 * slot + 1] = end;
        }
    }

    /// Gives up the pages of a range of tiles.
    fn release(&mut self, slot: usize, tiles: Range<usize>) {
        let ring = self.ring;
        let Some(lists) = self.lists() else { return };
        for tile in tiles {
            let page = lists.table[slot * ring + tile % ring.max(1)];
            lists.owners[page] -= 1;
            if lists.owners[page] == 0 {
                lists.free[*lists.free_count] = page;
                *lists.free_count += 1;
            }
        }
    }

    /// The tiles in which a slot has pages.
    fn tiles(&mut self, slot: usize) -> Range<usize> {
        let Some(lists) = self.lists() else { return 0..0 };
        let (start, end) = (lists.places[2 * slot], lists.places[2 * slot + 1]);
        if start == end && start.is_multiple_of(KEY_TILE) {
            return 0..0;
        }
        start / KEY_TILE..end.div_ceil(KEY_TILE)
    }

    pub(crate) fn truncate(&mut self, slot: usize, end: usize) {
        let tiles = self.tiles(slot);
        self.release(slot, end.div_ceil(KEY_TILE).max(tiles.start)..tiles.end);
        self.set_end(slot, end);
    }

    pub(crate) fn forget(&mut self, slot: usize, first: usize) {
        let tiles = self.tiles(slot);
        self.release(slot, tiles.start..(first / KEY_TILE).min(tiles.end));
        if let Some(lists) = self.lists() {
            lists.places[2 * slot] = first;
        }
    }

    pub(crate) fn copy(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let old = self.tiles(to);
        self.release(to, old);
        let (tiles, ring) = (self.tiles(from), self.ring);
        let Some(lists) = self.lists() else { return };
        for tile in tiles {
            let place = tile % ring.max(1);
            let page = lists.table[from * ring + place];
            lists.owners[page] += 1;
            lists.table[to * ring + place] = page;
        }
        lists.places.copy_within(2 * from..2 * from + 2, 2 * to);
    }

    /// `parents` are slots, at most as many as there are.
    pub(crate) fn reorder(&mut self, parents: &[usize]) {
        let (slots, ring) = (self.slots, self.ring);
        let Some(lists) = self.lists() else { return };
        lists.other_table.copy_from_slice(lists.table);
        lists.other_places.copy_from_slice(lists.places);
        for (child, parent) in parents.iter().enumerate() {
            lists.table[child * ring..][..ring].copy_from_slice(&lists.other_table[parent * ring..][..ring]);
            lists.places[2 * child..][..2].copy_from_slice(&lists.other_places[2 * parent..][..2]);
        }
        // Owners are counted anew, and what has none is free.
        lists.owners.fill(0);
        for slot in 0..slots {
            for tile in self.tiles(slot) {
                let at = slot * ring + tile % ring.max(1);
                if let Some(lists) = self.lists() {
                    lists.owners[lists.table[at]] += 1;
                }
            }
        }
        let Some(lists) = self.lists() else { return };
        *lists.free_count = 0;
        for page in (0..lists.owners.len()).rev().filter(|page| lists.owners[*page] == 0) {
            lists.free[*lists.free_count] = page;
            *lists.free_count += 1;
        }
    }
}
