//! The media core of Greenroom.
//!
//! An [`Engine`] runs one thread with one UDP socket and carries many transports: the ICE, DTLS and SCTP
//! connections of LiveKit clients, and the audio and video tracks that pass from one to others. It takes commands,
//! gives events, and knows nothing of rooms.
//!
//! The protocol code is sans-I/O: [`hub::Hub`] owns the [`transport::Transport`]s and is fed datagrams,
//! commands and time; [`engine`] is the thin edge with the socket and the thread.

pub mod config;
pub mod demux;
pub mod driver;
pub mod engine;
pub mod event;
mod fault;
pub mod forward;
pub mod gate;
pub mod hub;
pub mod lanes;
pub mod levels;
pub mod outlet;
pub mod recipe;
pub mod sdp;
mod socket;
pub mod stats;
pub mod timers;
pub mod tracks;
pub mod transport;

pub use config::{EngineConfig, StartError};
pub use engine::Engine;
pub use event::{Answer, Command, Event, Reason};
pub use sdp::{Plan, Plans, Section, inspect_offer};
pub use stats::Stats;

/// The number Python gives a transport.
pub type TransportId = u64;
/// The number Python gives a track.
pub type TrackId = u64;
