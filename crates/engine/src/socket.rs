//! The UDP socket: batches in, batches out, and the addresses it can be reached at.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use str0m::net::Transmit;

use crate::config::{EngineConfig, SOCKET_BUFFER, StartError};
use crate::stats::Counters;

/// Bytes of one receive buffer: a train of datagrams that the kernel has joined (UDP_GRO).
const TRAIN: usize = 64 * 1024;
/// Bytes of datagrams sent in one call (UDP_SEGMENT).
const MAX_GSO: usize = 60 * 1024;

/// A bound socket and what is needed to use it in batches.
#[derive(Debug)]
pub struct MediaSocket {
    /// The socket, for registration with a poller.
    pub io: mio::net::UdpSocket,
    /// Addresses for host candidates.
    pub candidates: Vec<SocketAddr>,
    port: u16,
    /// Addresses to send from by name. Empty unless the socket listens everywhere.
    local: Vec<IpAddr>,
    v6: bool,
    state: UdpSocketState,
    buffers: Vec<u8>,
    metas: Vec<RecvMeta>,
    train: Vec<u8>,
}

impl MediaSocket {
    /// Bind as configured.
    pub fn bind(config: &EngineConfig) -> Result<Self, StartError> {
        let wanted = SocketAddr::new(config.bind, config.port);
        let socket = Socket::new(Domain::for_address(wanted), Type::DGRAM, Some(Protocol::UDP))?;
        if config.bind == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        // The kernel caps what it does not want to give.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&wanted.into()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse(wanted),
            io::ErrorKind::AddrNotAvailable => StartError::AddressUnavailable(wanted),
            _ => StartError::Io(error),
        })?;
        let socket = UdpSocket::from(socket);
        let port = socket.local_addr()?.port();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            io: mio::net::UdpSocket::from_std(socket),
            candidates: candidates(config)?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            port,
            local: if config.bind.is_unspecified() { interface_addresses()? } else { Vec::new() },
            v6: config.bind.is_ipv6(),
            state,
            buffers: vec![0; TRAIN * BATCH_SIZE],
            metas: vec![RecvMeta::default(); BATCH_SIZE],
            train: Vec::with_capacity(MAX_GSO),
        })
    }

    /// The UDP port in use.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Receive one batch and pass on each datagram with its source and the candidate it came to.
    ///
    /// False: nothing was there.
    pub fn receive(&mut self, mut each: impl FnMut(SocketAddr, SocketAddr, &[u8])) -> io::Result<bool> {
        let mut slices: Vec<IoSliceMut<'_>> = self.buffers.chunks_mut(TRAIN).map(IoSliceMut::new).collect();
        let count = match self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut self.metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, train) in self.metas.iter().zip(self.buffers.chunks(TRAIN)).take(count) {
            let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let destination = local_candidate(&self.candidates, meta.dst_ip, source);
            for datagram in train[..meta.len].chunks(meta.stride.max(1)) {
                each(source, destination, datagram);
            }
        }
        Ok(true)
    }

    /// Send everything. What the kernel will not take is lost, as on any network.
    pub fn send(&mut self, packets: &mut Vec<Transmit>, counters: &Counters) {
        let most = self.state.max_gso_segments();
        let mut rest = packets.as_slice();
        while let Some(first) = rest.first() {
            let length = train_length(rest, most);
            let (now, later) = rest.split_at(length);
            rest = later;
            self.train.clear();
            now.iter().for_each(|packet| self.train.extend_from_slice(&packet.contents));
            let transmit = quinn_udp::Transmit {
                destination: self.outward(first.destination),
                ecn: None,
                contents: &self.train,
                segment_size: (length > 1).then_some(first.contents.len()),
                src_ip: Some(first.source.ip()).filter(|ip| self.local.contains(ip)),
            };
            if self.state.try_send(UdpSockRef::from(&self.io), &transmit).is_ok() {
                counters.packets_out.add(length);
                counters.bytes_out.add(self.train.len());
            } else {
                counters.packets_unsent.add(length);
            }
        }
        packets.clear();
    }

    /// A v6 socket reaches v4 clients by their mapped addresses.
    fn outward(&self, destination: SocketAddr) -> SocketAddr {
        match destination.ip() {
            IpAddr::V4(ip) if self.v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), destination.port()),
            _ => destination,
        }
    }
}

/// How many datagrams at the head of `packets` can leave in one call: the same way, all as long as the first,
/// only the last one shorter.
fn train_length(packets: &[Transmit], most: usize) -> usize {
    let first = &packets[0];
    let size = first.contents.len();
    let mut total = size;
    let mut length = 1;
    for packet in packets[1..].iter().take(most.saturating_sub(1)) {
        let same_way = packet.destination == first.destination && packet.source == first.source;
        let bytes = packet.contents.len();
        if !same_way || bytes > size || total + bytes > MAX_GSO {
            break;
        }
        total += bytes;
        length += 1;
        if bytes < size {
            break;
        }
    }
    length
}

/// The candidate a datagram came to. Behind a translation its destination is none of them; then it is the one of
/// the source's family.
fn local_candidate(candidates: &[SocketAddr], destination: Option<IpAddr>, source: SocketAddr) -> SocketAddr {
    let destination = destination.map(|ip| ip.to_canonical());
    let exact = candidates.iter().find(|candidate| Some(candidate.ip()) == destination);
    let family = || candidates.iter().find(|candidate| candidate.is_ipv4() == source.is_ipv4());
    *exact.or_else(family).unwrap_or(&candidates[0])
}

/// The addresses that go into candidates.
fn candidates(config: &EngineConfig) -> io::Result<Vec<IpAddr>> {
    if !config.addresses.is_empty() {
        return Ok(config.addresses.clone());
    }
    if !config.bind.is_unspecified() {
        return Ok(vec![config.bind]);
    }
    let (loopback, mut outside): (Vec<_>, Vec<_>) = interface_addresses()?
        .into_iter()
        .filter(|ip| ip.is_ipv4() || config.bind.is_ipv6())
        .partition(IpAddr::is_loopback);
    if outside.is_empty() {
        outside = loopback;
    }
    if outside.is_empty() {
        outside.push(Ipv4Addr::LOCALHOST.into());
    }
    Ok(outside)
}

fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.is_oper_up() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(destination: &str, bytes: usize) -> Transmit {
        Transmit {
            proto: str0m::net::Protocol::Udp,
            source: "192.0.2.1:7882".parse().unwrap(),
            destination: destination.parse().unwrap(),
            contents: vec![0; bytes].into(),
        }
    }

    #[test]
    fn datagrams_of_one_size_and_way_leave_together_and_a_shorter_one_ends_the_train() {
        let (here, there) = ("198.51.100.1:1", "198.51.100.2:1");
        let lengths = |packets: &[(&str, usize)]| {
            let packets: Vec<_> = packets.iter().map(|(way, bytes)| packet(way, *bytes)).collect();
            train_length(&packets, 4)
        };
        assert_eq!(lengths(&[(here, 100)]), 1);
        assert_eq!(lengths(&[(here, 100), (here, 100), (there, 100)]), 2);
        assert_eq!(lengths(&[(here, 100), (here, 60), (here, 100)]), 2);
        assert_eq!(lengths(&[(here, 60), (here, 100)]), 1);
        assert_eq!(lengths(&[(here, 100); 9]), 4);
        assert_eq!(lengths(&[(here, 30_000); 3]), 2);
    }

    #[test]
    fn a_datagram_belongs_to_the_candidate_it_was_sent_to_or_to_one_of_its_family() {
        let candidates: Vec<SocketAddr> =
            ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"].iter().map(|text| text.parse().unwrap()).collect();
        let (v4, v6) = ("198.51.100.1:9".parse().unwrap(), "[2001:db8::9]:9".parse().unwrap());
        let to = |ip: &str| Some(ip.parse().unwrap());
        assert_eq!(local_candidate(&candidates, to("192.0.2.2"), v4), candidates[2]);
        assert_eq!(local_candidate(&candidates, to("::ffff:192.0.2.2"), v4), candidates[2]);
        // Behind a translation.
        assert_eq!(local_candidate(&candidates, to("10.0.0.1"), v4), candidates[1]);
        assert_eq!(local_candidate(&candidates, None, v6), candidates[0]);
        assert_eq!(local_candidate(&candidates[1..], None, v6), candidates[1]);
    }
}
