//! Memory for weights and activations: begins with a cache line, and lies in large pages where there is much of it.

use alloc::vec::Vec;
use core::fmt;

use crate::{ALIGNMENT, Element};

/// Bytes of a large page.
#[cfg(all(feature = "std", target_os = "linux"))]
const LARGE: usize = 2 << 20;

/// Owned bytes, 0 in the beginning, whose first one is at a multiple of [`ALIGNMENT`].
///
/// From one and a half megabytes on, Linux is asked for pages of 2 MiB: weights that come from memory for each token, one after the
/// other, come 1.2 to 1.5 times as fast from these as from pages of 4 KiB that lie scattered. Where it has none to give,
/// and elsewhere, the memory is of any kind. Which it is changes no result.
#[derive(Default)]
pub struct Memory {
    heap: Vec<u8>,
    /// In the place of the heap.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pages: Option<memmap2::MmapMut>,
    first: usize,
    len: usize,
}

impl Memory {
    /// `len` bytes; none where the system does not have them.
    #[must_use]
    pub fn zeroed(len: usize) -> Option<Self> {
        #[cfg(all(feature = "std", target_os = "linux"))]
        if len >= LARGE / 4 * 3
            && let Some(memory) = Self::of_pages(len)
        {
            return Some(memory);
        }
        let mut bytes: Vec<u8> = Vec::new();
        bytes.try_reserve_exact(len.checked_add(ALIGNMENT - 1)?).ok()?;
        let first = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        bytes.resize(first + len, 0);
        Some(Self {
            heap: bytes,
            #[cfg(all(feature = "std", target_os = "linux"))]
            pages: None,
            first,
            len,
        })
    }

    /// `len` bytes that may hold anything: these where they are enough, or others; none where the system does not have them.
    #[must_use]
    pub fn resized(mut self, len: usize) -> Option<Self> {
        let room = self.heap.len();
        #[cfg(all(feature = "std", target_os = "linux"))]
        let room = self.pages.as_ref().map_or(room, |pages| pages.len());
        if room.saturating_sub(self.first) < len {
            return Self::zeroed(len);
        }
        self.len = len;
        Some(self)
    }

    #[cfg(all(feature = "std", target_os = "linux"))]
    fn of_pages(len: usize) -> Option<Self> {
        // What is not written to takes no memory.
        let map = memmap2::MmapMut::map_anon(len.checked_add(LARGE)?).ok()?;
        let first = map.as_ptr().align_offset(LARGE).min(LARGE);
        // A large page is whole, so the last one must be worth it.
        let large = (len + LARGE / 4) / LARGE * LARGE;
        // Refused, for example where the system has no such pages, the memory is as good as any.
        let _ = map.advise_range(memmap2::Advice::HugePage, first, large.min(map.len() - first));
        Some(Self { heap: Vec::new(), pages: Some(map), first, len })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        #[cfg(all(feature = "std", target_os = "linux"))]
        if let Some(pages) = &self.pages {
            return &pages[self.first..][..self.len];
        }
        &self.heap[self.first..][..self.len]
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        #[cfg(all(feature = "std", target_os = "linux"))]
        if let Some(pages) = &mut self.pages {
            return &mut pages[self.first..][..self.len];
        }
        &mut self.heap[self.first..][..self.len]
    }

    /// As many whole elements as there are.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> &[T] {
        match self.len - self.len % size_of::<T>() {
            // Without bytes there is no place, and none at a line.
            0 => &[],
            whole => bytemuck::cast_slice(&self.as_bytes()[..whole]),
        }
    }

    /// As many whole elements as there are, to be written.
    #[must_use]
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        match self.len - self.len % size_of::<T>() {
            0 => &mut [],
            whole => bytemuck::cast_slice_mut(&mut self.as_bytes_mut()[..whole]),
        }
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        let Some(mut copy) = Self::zeroed(self.len) else {
            alloc::alloc::handle_alloc_error(core::alloc::Layout::for_value(self.as_bytes()))
        };
        copy.as_bytes_mut().copy_from_slice(self.as_bytes());
        copy
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_size_is_zero_and_begins_with_a_line() {
        for len in [0, 1, 63, 64, 65, 4097, 1 << 20, 3 << 19, (3 << 19) + 5, 2 << 20, 5 << 20, (6 << 20) - 1] {
            let mut memory = Memory::zeroed(len).expect("a few megabytes");
            assert_eq!(memory.as_bytes().len(), len);
            assert!(memory.as_bytes().iter().all(|byte| *byte == 0), "{len}");
            assert_eq!(memory.as_bytes().as_ptr().align_offset(64), 0, "{len}");
            assert_eq!(memory.as_slice::<f32>().len(), len / 4);
            memory.as_mut_slice::<f32>().fill(1.5);
            memory.as_bytes_mut().iter_mut().rev().take(1).for_each(|byte| *byte = 7);
            let copy = memory.clone();
            assert_eq!(copy.as_bytes(), memory.as_bytes());
            assert!(copy.as_slice::<f32>().iter().rev().skip(1).all(|x| *x == 1.5));
        }
    }

    #[test]
    fn memory_is_used_again_where_it_is_large_enough() {
        for most in [100, 3 << 19] {
            let mut memory = Memory::zeroed(most).expect("a few megabytes");
            memory.as_bytes_mut().fill(9);
            let place = memory.as_bytes().as_ptr();
            let memory = memory.resized(most / 2).expect("it is there");
            assert_eq!(memory.as_bytes().len(), most / 2);
            let memory = memory.resized(most).expect("it is there");
            assert_eq!((memory.as_bytes().len(), memory.as_bytes().as_ptr()), (most, place));
            let memory = memory.resized(8 * most).expect("a few megabytes");
            assert_eq!(memory.as_bytes().len(), 8 * most);
            assert_eq!(memory.as_bytes().as_ptr().align_offset(64), 0);
            assert!(memory.resized(usize::MAX / 2).is_none());
        }
        assert_eq!(Memory::default().resized(0).expect("nothing").as_bytes(), []);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Memory::zeroed(usize::MAX).is_none());
        assert!(Memory::zeroed(usize::MAX / 2).is_none());
        assert_eq!(Memory::default().as_bytes(), []);
        assert_eq!(Memory::default().as_slice::<f32>(), []);
    }
}
