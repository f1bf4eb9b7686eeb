//! What an engine is told at start, and the bounds it keeps.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where the engine listens and how much it holds for its clients.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Address of the UDP socket; an unspecified address listens everywhere.
    pub bind: IpAddr,
    /// UDP port, 0 for any free one.
    pub port: u16,
    /// Addresses put into candidates. Empty: the bind address or, for a wildcard, those of every interface.
    pub addresses: Vec<IpAddr>,
    /// Largest data-channel message in bytes, written into answers.
    pub max_message: u32,
    /// Bytes that may wait for one reliable receiver before it is given up.
    pub send_buffer: usize,
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address is not one of this machine's.
    AddressUnavailable(SocketAddr),
    /// Another socket holds the port.
    PortInUse(SocketAddr),
    /// The operating system refused something else.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressUnavailable(addr) => write!(f, "{} is not an address of this machine", addr.ip()),
            Self::PortInUse(addr) => write!(f, "UDP port {} on {} is already in use", addr.port(), addr.ip()),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Transports one engine carries; further ones end at once.
pub const MAX_TRANSPORTS: usize = 20_000;
/// Remote addresses of one transport. Only one that has gone silent makes room for another.
pub const MAX_ADDRESSES: usize = 16;
/// Data channels one client may have open.
pub const MAX_CHANNELS: usize = 64;
/// Media sections one offer may have. They never go away, and each costs time in every poll.
pub const MAX_SECTIONS: usize = 512;
/// Bytes of one offer.
pub const MAX_OFFER: usize = 1024 * 1024;
/// Remote candidates that wait for an offer.
pub const MAX_CANDIDATES: usize = 64;

/// Streams (SSRCs) a client may send. str0m remembers each for as long as the transport lives.
pub const MAX_STREAMS: usize = 1024;

/// Silence after which a client counts as gone: ten seconds to be suspicious, five to be sure. A client
/// checks its connection every 2.5 s.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Time a client has from its first offer to a finished DTLS handshake.
pub const CONNECT: Duration = Duration::from_secs(30);

/// Bytes that SCTP holds for one transport at most, sent and not acknowledged or not sent yet. A single message
/// can be this large; otherwise [`WINDOW_MAX`] and [`LOSSY_BUFFER`] keep it far lower.
pub const SCTP_BUFFER: usize = 512 * 1024;
/// Bytes of reliable messages handed to SCTP while acknowledgements come quickly. sctp-proto 0.10.8 looks at
/// everything in flight several times per datagram, so what waits is better kept outside.
pub const WINDOW_MIN: usize = 64 * 1024;
/// The same when acknowledgements take long, which is the throughput per round trip.
pub const WINDOW_MAX: usize = 256 * 1024;
/// Bytes of messages on one lossy channel handed to SCTP; more are dropped.
pub const LOSSY_BUFFER: usize = 64 * 1024;
/// Bytes of received messages that may wait for Python before the transport's datagrams are held back.
pub const BACKLOG_HIGH: usize = 4 * 1024 * 1024;
/// Bytes below which they are let through again.
pub const BACKLOG_LOW: usize = 1024 * 1024;
/// Bytes of datagrams held back for one transport. More than the SCTP receive window a client may fill
/// (1 MiB), so that holding costs no retransmission.
pub const HELD: usize = 2 * 1024 * 1024;
/// Asked of the kernel for the socket's buffers; it may give less.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
