//! Messages on their way to one data channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m::Rtc;
use str0m::channel::{ChannelId, Reliability};

use crate::config::{LOSSY_BUFFER, SCTP_BUFFER, WINDOW_MAX, WINDOW_MIN};

/// Label of the channel whose messages wait until it opens.
pub const RELIABLE: &str = "_reliable";

/// Messages written before str0m is drained once. Small messages written together share packets.
const BURST: usize = 64;
const BURST_BYTES: usize = 64 * 1024;

/// One data channel of a client, or the place of one that is not open yet.
#[derive(Debug)]
pub struct Outlet {
    /// The label.
    pub label: Arc<str>,
    /// The open channel.
    pub id: Option<ChannelId>,
    reliable: bool,
    queue: VecDeque<Bytes>,
    queued: usize,
    window: Window,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is queued or on its way.
    Accepted,
    /// The channel is lossy and congested, or not open.
    Dropped,
}

impl Outlet {
    /// The place of the reliable channel, before it opens.
    pub fn reliable() -> Self {
        Self {
            label: RELIABLE.into(),
            id: None,
            reliable: true,
            queue: VecDeque::new(),
            queued: 0,
            window: Window::default(),
        }
    }

    /// A channel the client has opened.
    pub fn opened(label: Arc<str>) -> Self {
        Self { label, id: None, reliable: true, queue: VecDeque::new(), queued: 0, window: Window::default() }
    }

    /// Bind the outlet to an open channel.
    pub fn open(&mut self, id: ChannelId, rtc: &mut Rtc) {
        self.id = Some(id);
        self.window = Window::default();
        let reliability = rtc.channel(id).and_then(|channel| channel.config().map(|config| config.reliability));
        self.reliable = reliability.is_none_or(|reliability| reliability == Reliability::Reliable);
    }

    /// The channel has closed. What waited for LiveKit's reliable one waits for its successor.
    pub fn close(&mut self) {
        self.id = None;
        if &*self.label != RELIABLE {
            self.queue.clear();
            self.queued = 0;
        }
    }

    /// Bytes waiting here.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Tell whether something waits that could be written.
    pub fn is_ready(&self) -> bool {
        self.id.is_some() && !self.queue.is_empty()
    }

    /// Queue a message if it may wait. [`Outlet::flush`] must follow.
    pub fn push(&mut self, payload: Bytes) -> Fate {
        // A lossy channel's queue only bridges push and flush.
        if self.id.is_none() && !(self.reliable && &*self.label == RELIABLE) {
            return Fate::Dropped;
        }
        self.queued += payload.len();
        self.queue.push_back(payload);
        Fate::Accepted
    }

    /// Write a burst. Returns how many messages were written and dropped; call again while something is written.
    pub fn flush(&mut self, now: Instant, rtc: &mut Rtc) -> (usize, usize) {
        let Some(mut channel) = self.id.and_then(|id| rtc.channel(id)) else { return (0, 0) };
        let (mut written, mut bytes) = (0, 0);
        while let Some(message) = self.queue.front() {
            if written == BURST || bytes >= BURST_BYTES {
                return (written, 0);
            }
            let buffered = channel.buffered_amount();
            let limit = if self.reliable { self.window.limit(now, buffered) } else { LOSSY_BUFFER };
            // A message larger than the limit goes alone.
            let room = buffered == 0 || buffered + message.len() <= limit;
            // An error means that the channel or the association is closing; an event will say so.
            if !(room && channel.write(true, message).unwrap_or(false)) {
                break;
            }
            self.window.written += message.len();
            written += 1;
            bytes += message.len();
            self.queued -= message.len();
            self.queue.pop_front();
        }
        if self.reliable {
            return (written, 0);
        }
        let dropped = self.queue.len();
        self.queue.clear();
        self.queued = 0;
        (written, dropped)
    }
}

/// How much of a reliable channel's data SCTP is given at a time.
#[derive(Debug)]
struct Window {
    limit: usize,
    written: usize,
    round: Option<Round>,
}

/// The time it takes until a window's worth of bytes is acknowledged.
#[derive(Debug)]
struct Round {
    start: Instant,
    end: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { limit: WINDOW_MIN, written: 0, round: None }
    }
}

impl Window {
    const LONG: Duration = Duration::from_millis(20);
    const SHORT: Duration = Duration::from_millis(5);

    /// The limit now, given the bytes not yet acknowledged. It doubles after a long round and halves after a
    /// short one.
    fn limit(&mut self, now: Instant, buffered: usize) -> usize {
        let acknowledged = self.written.saturating_sub(buffered);
        if buffered == 0 {
            self.round = None;
        } else if let Some(round) = self.round.take_if(|round| round.end <= acknowledged) {
            let took = now.saturating_duration_since(round.start);
            if took > Self::LONG {
                self.limit = (self.limit * 2).min(WINDOW_MAX);
            } else if took < Self::SHORT {
                self.limit = (self.limit / 2).max(WINDOW_MIN);
            }
        }
        if self.round.is_none() {
            self.round = Some(Round { start: now, end: acknowledged + self.limit });
        }
        self.limit
    }
}

/// The largest message that fits the SCTP buffer, whatever the receiver would take.
pub const LARGEST: usize = SCTP_BUFFER;
