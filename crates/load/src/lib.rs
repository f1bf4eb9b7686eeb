//! LiveKit clients by the thousand: str0m peers that publish and receive Opus, and tell what reached them and when.
//!
//! A [`peer::Peer`] is the media of one client, without sockets. [`line::Line`] gives it a UDP socket, [`calls::Calls`]
//! runs some of them for a program that does the signalling itself (`greenroom doctor`). With the feature `signal`,
//! [`fleet`] joins thousands to a LiveKit-compatible server and measures; the program `greenroom-load` is its face.

pub mod calls;
pub mod line;
pub mod meter;
pub mod peer;
pub mod stamp;

#[cfg(feature = "signal")]
pub mod client;
#[cfg(feature = "signal")]
pub mod fleet;
#[cfg(feature = "signal")]
pub mod floor;
#[cfg(feature = "signal")]
pub mod order;
#[cfg(feature = "signal")]
pub mod signal;
#[cfg(feature = "signal")]
pub mod socket;
