//! What the engine tells Python, and what Python tells the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use crate::config::{BACKLOG_HIGH, BACKLOG_LOW};
use crate::sdp::{Plans, Section};
use crate::{TrackId, TransportId};

/// Why a transport ended without having been closed by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client went silent.
    IceTimeout,
    /// The DTLS handshake failed, or the client closed DTLS or SCTP.
    Dtls,
    /// A reliable receiver fell behind its send buffer.
    Overflow,
    /// A defect in the engine that cost this transport only.
    Fault,
}

impl Reason {
    /// The name Python knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IceTimeout => "ice_timeout",
            Self::Dtls => "dtls",
            Self::Overflow => "overflow",
            Self::Fault => "fault",
        }
    }
}

/// The reply to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The edited answer.
    pub sdp: String,
    /// Sections of the offer, in its order.
    pub sections: Vec<Section>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// An offer was answered or refused.
    Answered {
        /// The number given with the offer.
        request: u64,
        /// The answer, or why there is none.
        answer: Result<Answer, String>,
    },
    /// ICE and DTLS are up.
    Connected(TransportId),
    /// The transport is gone without having been closed by command.
    Closed {
        /// Which one.
        transport: TransportId,
        /// Why.
        reason: Reason,
        /// Why, in words.
        detail: String,
    },
    /// The client opened a data channel.
    ChannelOpened {
        /// On which transport.
        transport: TransportId,
        /// Its label.
        label: Arc<str>,
    },
    /// A data channel ended while its transport lives on.
    ChannelClosed {
        /// On which transport.
        transport: TransportId,
        /// Its label.
        label: Arc<str>,
    },
    /// The first packet of a track is there.
    TrackStarted(TrackId),
    /// How loud the audio tracks were that sent anything in the last window: the mean level in dBov of what was
    /// active, and the share of the window that was.
    AudioLevels(Vec<(TrackId, f32, f32)>),
    /// The thread has closed every transport and is about to end.
    Stopped,
    /// A whole message arrived.
    Data {
        /// On which transport.
        transport: TransportId,
        /// On which channel.
        label: Arc<str>,
        /// The message.
        payload: Vec<u8>,
        /// Where its bytes are counted until Python has taken it.
        backlog: Arc<Backlog>,
    },
}

/// Something the engine is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Prepare a transport.
    Create {
        /// Its number.
        transport: TransportId,
        /// ICE-lite, or full ICE.
        lite: bool,
    },
    /// Answer an offer with [`Event::Answered`].
    Offer {
        /// Number repeated in the event.
        request: u64,
        /// For which transport.
        transport: TransportId,
        /// The offer.
        sdp: String,
        /// What media sections are for. Those that are not in it are answered `inactive`.
        plans: Plans,
    },
    /// Use a remote candidate.
    Candidate {
        /// For which transport.
        transport: TransportId,
        /// The `candidate:…` line.
        candidate: String,
    },
    /// Send one message to many transports.
    Send {
        /// To whom.
        transports: Vec<TransportId>,
        /// On which channel.
        label: Arc<str>,
        /// The message, shared by all.
        payload: Bytes,
    },
    /// Take what arrives on a section for a track.
    Publish {
        /// The track.
        track: TrackId,
        /// On which transport.
        transport: TransportId,
        /// On which section.
        mid: String,
    },
    /// End a track and its forwards.
    Unpublish(TrackId),
    /// Send a track on a section.
    Forward {
        /// The track.
        track: TrackId,
        /// On which transport.
        transport: TransportId,
        /// On which section.
        mid: String,
    },
    /// Send nothing more on a section.
    Unforward {
        /// On which transport.
        transport: TransportId,
        /// On which section.
        mid: String,
    },
    /// Hold a section back, or let packets flow again.
    Pause {
        /// On which transport.
        transport: TransportId,
        /// On which section.
        mid: String,
        /// Whether to hold back.
        paused: bool,
    },
    /// Hold a track back from everybody, or let it flow again.
    Mute {
        /// The track.
        track: TrackId,
        /// Whether to hold back.
        muted: bool,
    },
    /// Flush what can be flushed, close and forget.
    Close(TransportId),
    /// Python has taken enough messages of this transport.
    Resume(TransportId),
    /// Close everything and end the thread.
    Stop,
    /// Break the transport, to show what a defect costs.
    #[cfg(any(test, feature = "faults"))]
    Break(TransportId),
}

/// Bytes of one transport's messages that wait for Python.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    full: AtomicBool,
}

impl Backlog {
    /// Count a message in.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Count a message out. True: the transport was held back and must be resumed.
    pub fn remove(&self, bytes: usize) -> bool {
        let left = self.bytes.fetch_sub(bytes, Ordering::SeqCst).saturating_sub(bytes);
        left <= BACKLOG_LOW && self.full.swap(false, Ordering::SeqCst)
    }

    /// Tell whether the transport must be held back. Once true, [`Backlog::remove`] will tell when to resume.
    pub fn is_full(&self) -> bool {
        if self.bytes.load(Ordering::SeqCst) < BACKLOG_HIGH {
            return false;
        }
        self.full.store(true, Ordering::SeqCst);
        // Python may have taken everything between the two lines above; then nobody would resume.
        if self.bytes.load(Ordering::SeqCst) <= BACKLOG_LOW {
            self.full.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }
}
