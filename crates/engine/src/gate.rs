//! Holds a client's data back while Python is behind.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::HELD;
use crate::event::Backlog;
use crate::stats::Counters;

/// The two ends of a datagram's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The client's address.
    pub remote: SocketAddr,
    /// Our candidate.
    pub local: SocketAddr,
}

/// Lets datagrams pass, or holds them until Python has caught up.
///
/// Nothing is acknowledged while it is held, so SCTP's sender stops when its window is full, and nothing that
/// was acknowledged is ever dropped.
#[derive(Debug)]
pub struct Gate {
    /// Bytes of messages that wait for Python.
    pub backlog: Arc<Backlog>,
    held: VecDeque<(Path, Vec<u8>)>,
    bytes: usize,
    counters: Arc<Counters>,
}

impl Gate {
    /// An open gate.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { backlog: Arc::default(), held: VecDeque::new(), bytes: 0, counters }
    }

    /// Tell whether a datagram may pass. One that may not is held, or dropped when too many are.
    pub fn admits(&mut self, path: Path, datagram: &[u8]) -> bool {
        // All that can add to the backlog comes in DTLS.
        if !is_dtls(datagram) || (self.held.is_empty() && !self.backlog.is_full()) {
            return true;
        }
        if self.bytes + datagram.len() > HELD {
            self.counters.packets_overheld.add(1);
        } else {
            self.counters.packets_held.add(1);
            self.bytes += datagram.len();
            self.held.push_back((path, datagram.to_vec()));
        }
        false
    }

    /// Take a held datagram that may pass now.
    pub fn release(&mut self) -> Option<(Path, Vec<u8>)> {
        if self.held.is_empty() || self.backlog.is_full() {
            return None;
        }
        let (path, datagram) = self.held.pop_front()?;
        self.bytes -= datagram.len();
        self.counters.packets_held.sub(1);
        Some((path, datagram))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.counters.packets_held.sub(self.held.len());
    }
}

/// RFC 7983 section 7: STUN starts with 0 to 3.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first < 4)
}

/// RFC 7983 section 7: DTLS starts with 20 to 63.
fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..64).contains(first))
}
