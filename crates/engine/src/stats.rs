//! Counters that anyone may read while the engine runs.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters. The media thread writes, others read.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// A copy of the counters.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Every counter with its name.
            pub fn items(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl Counters {
            /// Copy every counter.
            pub fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Transports alive.
    transports,
    /// Remote addresses known.
    addresses,
    /// Datagrams received.
    packets_in,
    /// Datagrams sent.
    packets_out,
    /// Bytes received, without IP and UDP headers.
    bytes_in,
    /// Bytes sent, without IP and UDP headers.
    bytes_out,
    /// Datagrams from nobody known.
    packets_unroutable,
    /// Datagrams from somebody known that were refused.
    packets_refused,
    /// Datagrams the kernel would not send.
    packets_unsent,
    /// Datagrams held back because Python was behind, now.
    packets_held,
    /// Datagrams dropped because too many were held back.
    packets_overheld,
    /// Messages received.
    messages_in,
    /// Messages sent, once per receiver.
    messages_out,
    /// Messages dropped because a lossy channel was congested or no channel was open.
    lossy_dropped,
    /// Messages larger than their receiver takes.
    messages_refused,
    /// RTP packets received, without those that were only padding or came twice.
    rtp_in,
    /// RTP packets forwarded, once per receiver.
    rtp_out,
    /// Transports lost to defects.
    faults,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Count `n` more.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Count `n` less.
    pub fn sub(&self, n: usize) {
        self.0.fetch_sub(n as u64, Ordering::Relaxed);
    }

    /// Replace the value.
    pub fn set(&self, n: usize) {
        self.0.store(n as u64, Ordering::Relaxed);
    }

    /// Read the value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
