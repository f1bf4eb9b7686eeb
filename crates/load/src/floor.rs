//! The least that sending costs: a program that only calls `sendto`.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::fleet::thread_cpu;

/// What an SFU adds to a payload: the RTP header, its two extensions, the tag of AES-GCM.
const AROUND: usize = 12 + 12 + 16;

/// What sending cost.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "floor")]
pub struct Floor {
    /// Datagrams sent.
    pub packets: u64,
    /// Datagrams a second.
    pub rate: f64,
    /// Processor time of the sending thread for each, the waiting between bursts included.
    pub cpu_us: f64,
}

/// Send bursts of `fan` datagrams, each to another socket, `rate` times a second. Another thread drains them.
pub fn run(fan: usize, rate: f64, size: usize, time: Duration) -> io::Result<Floor> {
    let sockets: Vec<UdpSocket> = (0..fan).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let addresses: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let drained = thread::spawn(move || drain(sockets, &stopped));
    let outcome = send(&addresses, rate, size, time);
    stop.store(true, Relaxed);
    drained.join().map_err(|_| io::Error::other("the receiving thread panicked"))??;
    outcome
}

fn send(addresses: &[SocketAddr], rate: f64, size: usize, time: Duration) -> io::Result<Floor> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let packet = vec![0; size + AROUND];
    let (start, cpu) = (Instant::now(), thread_cpu());
    let mut packets = 0;
    for burst in 0_u32.. {
        let at = start + Duration::from_secs_f64(f64::from(burst) / rate);
        if at > start + time {
            break;
        }
        thread::sleep(at.saturating_duration_since(Instant::now()));
        for address in addresses {
            socket.send_to(&packet, address)?;
            packets += 1;
        }
    }
    let spent = (thread_cpu() - cpu) as f64 / 1000.0;
    Ok(Floor { packets, rate: packets as f64 / start.elapsed().as_secs_f64(), cpu_us: spent / packets as f64 })
}

fn drain(sockets: Vec<UdpSocket>, stop: &AtomicBool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut open = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        open.push(socket);
    }
    let mut events = Events::with_capacity(1024);
    while !stop.load(Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            while open[event.token().0].recv(&mut [0; 2000]).is_ok() {}
        }
    }
    Ok(())
}
