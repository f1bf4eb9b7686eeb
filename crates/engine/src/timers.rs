//! Deadlines of many transports without scanning them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A heap of deadlines, one per key. Rescheduling leaves the old entry behind; it is skipped when it surfaces.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
    armed: HashMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Create an empty heap.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), armed: HashMap::new() }
    }

    /// Let `key` surface at `at`, or earlier if it is already due earlier.
    ///
    /// A deadline that moved into the future is not pushed again: most do with every packet. The owner learns of it when
    /// the old one surfaces, and reschedules.
    pub fn schedule(&mut self, key: K, at: Instant) {
        if self.armed.get(&key).is_none_or(|&armed| at < armed) {
            self.armed.insert(key, at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// Forget `key`.
    pub fn cancel(&mut self, key: K) {
        self.armed.remove(&key);
    }

    /// The next deadline. It may belong to a key that has since moved or gone.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Take one key that is due.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        while let Some(&Reverse((at, key))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.armed.get(&key) == Some(&at) {
                self.armed.remove(&key);
                return Some(key);
            }
        }
        None
    }
}

impl<K: Copy + Ord + Hash> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_surface_in_order_of_their_deadlines() {
        let now = Instant::now();
        let mut timers = Timers::new();
        timers.schedule(1, now + Duration::from_secs(2));
        timers.schedule(2, now + Duration::from_secs(1));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(timers.pop(now), None);
        let later = now + Duration::from_secs(3);
        assert_eq!((timers.pop(later), timers.pop(later), timers.pop(later)), (Some(2), Some(1), None));
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one_and_surfaces_once() {
        let now = Instant::now();
        let mut timers = Timers::new();
        timers.schedule(1, now + Duration::from_secs(5));
        timers.schedule(1, now + Duration::from_secs(1));
        assert_eq!(timers.pop(now + Duration::from_secs(1)), Some(1));
        assert_eq!(timers.pop(now + Duration::from_secs(9)), None);
    }

    #[test]
    fn a_cancelled_key_does_not_surface() {
        let now = Instant::now();
        let mut timers = Timers::new();
        timers.schedule(1, now);
        timers.cancel(1);
        assert_eq!(timers.pop(now), None);
    }
}
