//! Work for several threads, in order, never more than a given number of items waiting.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue that can be asked, without waiting, whether anything is there.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Signalled when an item comes, or the end.
    filled: Condvar,
    /// Signalled when half of the items are gone: not at every one, or the two sides would wake each other all the time.
    drained: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    ended: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::with_capacity(capacity), ended: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new(), capacity }
    }

    /// Waits until there is room, then adds an item.
    pub(crate) fn push(&self, item: T) {
        let has_none = |state: &mut State<T>| state.items.len() >= self.capacity;
        let mut state = self.drained.wait_while(self.lock(), has_none).unwrap_or_else(PoisonError::into_inner);
        state.items.push_back(item);
        self.filled.notify_one();
    }

    /// No more items will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_all();
    }

    /// Waits for an item; `None` at the end.
    pub(crate) fn pop(&self) -> Option<T> {
        let is_idle = |state: &mut State<T>| state.items.is_empty() && !state.ended;
        let state = self.filled.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        self.take(state)
    }

    /// An item if one is there now.
    pub(crate) fn pop_now(&self) -> Option<T> {
        self.take(self.lock())
    }

    fn take(&self, mut state: MutexGuard<'_, State<T>>) -> Option<T> {
        let item = state.items.pop_front();
        if item.is_some() && state.items.len() == self.capacity / 2 {
            self.drained.notify_one();
        }
        item
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_once_and_in_order_and_no_more_wait_than_allowed() {
        let queue = Queue::new(2);
        assert_eq!(queue.pop_now(), None);
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..100).for_each(|i| queue.push(i));
                queue.end();
            });
            let mut got = Vec::new();
            while let Some(i) = queue.pop() {
                assert!(queue.lock().items.len() <= 2);
                got.push(i);
            }
            got
        });
        assert!(got.into_iter().eq(0..100));
        assert_eq!(queue.pop(), None);
    }
}
