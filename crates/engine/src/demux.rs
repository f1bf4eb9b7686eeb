//! Which transport a datagram belongs to.
//!
//! An address is believed only after a STUN request from it named a transport's username and proved that it
//! knows the transport's password (RFC 8445 section 7.3). Everything else is looked up by that address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use str0m::IceCreds;
use str0m::config::CryptoProvider;
use str0m::ice::StunMessage;

use crate::TransportId;
use crate::config::{MAX_ADDRESSES, SILENCE};
use crate::gate::is_stun;

/// An address heard this recently does not move to another transport: whoever forges its source must not be
/// able to cut its owner off.
const OWNED: Duration = Duration::from_secs(5);

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A STUN request that proved to come from the transport's client. `chosen`: on the path that the client
    /// wants to be reached by (USE-CANDIDATE).
    Verified {
        /// Whose client.
        transport: TransportId,
        /// Whether the client wants to be reached this way.
        chosen: bool,
    },
    /// Anything else from an address that was proven before.
    Known(TransportId),
    /// Nobody's.
    Nowhere,
}

#[derive(Debug)]
struct Address {
    owner: TransportId,
    heard: Instant,
}

#[derive(Debug)]
struct Member {
    creds: IceCreds,
    addresses: Vec<SocketAddr>,
}

/// Maps of usernames and addresses to transports.
#[derive(Debug, Default)]
pub struct Demux {
    usernames: HashMap<String, TransportId>,
    addresses: HashMap<SocketAddr, Address>,
    members: HashMap<TransportId, Member>,
}

impl Demux {
    /// Create empty maps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Make a transport reachable by `creds`, or give it new ones after an ICE restart.
    pub fn enter(&mut self, transport: TransportId, creds: IceCreds) {
        self.usernames.insert(creds.ufrag.clone(), transport);
        match self.members.get_mut(&transport) {
            Some(member) if member.creds == creds => {}
            Some(member) => {
                self.usernames.remove(&member.creds.ufrag);
                member.creds = creds;
            }
            None => {
                self.members.insert(transport, Member { creds, addresses: Vec::new() });
            }
        }
    }

    /// Forget a transport and its addresses.
    pub fn leave(&mut self, transport: TransportId) {
        let Some(member) = self.members.remove(&transport) else { return };
        self.usernames.remove(&member.creds.ufrag);
        for address in member.addresses {
            if self.addresses.get(&address).is_some_and(|entry| entry.owner == transport) {
                self.addresses.remove(&address);
            }
        }
    }

    /// Number of addresses known.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Tell whether no address is known.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Decide where a datagram goes, and learn its address when it proves itself.
    pub fn route(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) -> Route {
        if is_stun(datagram)
            && let Some((transport, chosen)) = self.verify(datagram)
        {
            return match self.learn(now, source, transport) {
                Lesson::Learnt => Route::Verified { transport, chosen },
                Lesson::Taken => Route::Verified { transport, chosen: false },
                Lesson::Full => Route::Nowhere,
            };
        }
        match self.addresses.get(&source) {
            Some(entry) => Route::Known(entry.owner),
            None => Route::Nowhere,
        }
    }

    fn verify(&self, datagram: &[u8]) -> Option<(TransportId, bool)> {
        let message = StunMessage::parse(datagram).ok().filter(StunMessage::is_binding_request)?;
        let (local, _) = message.split_username()?;
        let transport = *self.usernames.get(local)?;
        let creds = &self.members.get(&transport)?.creds;
        let hmac = crypto().sha1_hmac_provider;
        let proven = message.verify(creds.pass.as_bytes(), |key, parts| hmac.sha1_hmac(key, parts));
        proven.then(|| (transport, message.use_candidate()))
    }

    fn learn(&mut self, now: Instant, source: SocketAddr, transport: TransportId) -> Lesson {
        if let Some(entry) = self.addresses.get_mut(&source) {
            if entry.owner == transport {
                entry.heard = now;
                return Lesson::Learnt;
            }
            if now.saturating_duration_since(entry.heard) < OWNED {
                return Lesson::Taken;
            }
            if let Some(previous) = self.members.get_mut(&entry.owner) {
                previous.addresses.retain(|address| *address != source);
            }
        }
        let Some(member) = self.members.get_mut(&transport) else { return Lesson::Full };
        if member.addresses.len() >= MAX_ADDRESSES {
            // A client in use is heard often. str0m remembers every address it is given, so a client that comes
            // from ever new ones is not heard out.
            let heard = |address: &SocketAddr| self.addresses.get(address).map(|entry| entry.heard);
            let silent = |address: &SocketAddr| heard(address).is_none_or(|heard| heard + SILENCE <= now);
            let Some(index) = member.addresses.iter().position(silent) else { return Lesson::Full };
            self.addresses.remove(&member.addresses.swap_remove(index));
        }
        member.addresses.push(source);
        self.addresses.insert(source, Address { owner: transport, heard: now });
        Lesson::Learnt
    }
}

/// What became of an address that proved itself.
enum Lesson {
    /// It is known.
    Learnt,
    /// It belongs to another transport.
    Taken,
    /// The transport has too many.
    Full,
}

/// The crypto library behind STUN, DTLS and SRTP.
pub(crate) fn crypto() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(str0m::crypto::from_feature_flags)
}
