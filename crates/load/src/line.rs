//! A peer and its UDP socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use mio::{Interest, Registry, Token};
use str0m::RtcError;

use crate::peer::{Kit, Peer, Sections};

/// The largest datagram a peer takes.
const DATAGRAM: usize = 2000;

/// A peer that sends and receives. It has a socket of its own, as every client on a network has an address of its own.
#[derive(Debug)]
pub struct Line {
    /// The peer.
    pub peer: Peer,
    socket: mio::net::UdpSocket,
}

impl Line {
    /// Open a socket for talking to `host`, register it, and put the peer's first offer beside it.
    pub fn open(
        kit: &Kit,
        publisher: u32,
        host: IpAddr,
        sections: Sections,
        (registry, token): (&Registry, Token),
        now: Instant,
    ) -> io::Result<(Self, String)> {
        let everywhere: IpAddr = match host {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // Bound to no address: what the server names may be reached by another way than its signalling.
        let socket = UdpSocket::bind((everywhere, 0))?;
        socket.set_nonblocking(true)?;
        let address = SocketAddr::new(address_towards(host)?, socket.local_addr()?.port());
        let mut socket = mio::net::UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        let (peer, offer) = Peer::new(kit, publisher, address, sections, now);
        Ok((Self { peer, socket }, offer))
    }

    /// Receive everything that is there.
    pub fn receive(&mut self, now: Instant) -> Result<(), RtcError> {
        let mut buffer = [0; DATAGRAM];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, source)) => self.peer.receive(now, source, &buffer[..length])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A port nobody listens on is told here (ICMP); ICE finds out by itself.
                Err(_) => {}
            }
        }
        self.flush();
        Ok(())
    }

    /// Send what the peer has to send. What the kernel will not take is lost, as on any network.
    pub fn flush(&mut self) {
        let socket = &self.socket;
        self.peer.drain(|destination, datagram| {
            let _lost = socket.send_to(datagram, destination);
        });
    }

    /// Let go of the socket.
    pub fn close(&mut self, registry: &Registry) {
        // It is gone either way.
        let _ = registry.deregister(&mut self.socket);
    }
}

/// The address this machine sends from towards `host`.
pub fn address_towards(host: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if host.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Nothing is sent by this; the kernel only chooses the way.
    socket.connect((host, 9))?;
    Ok(socket.local_addr()?.ip())
}
