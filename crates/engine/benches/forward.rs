//! What forwarding costs the media thread, beside a program that only calls `sendto` in the same way.
//!
//! `cargo bench -p greenroom-engine --bench forward [-- NAME ...]` prints one line per figure: name, value, unit.
//! Clients are real (str0m over loopback sockets, decrypting and sending reports) on a thread of their own; only the
//! measured thread's own CPU time counts, so other load on the machine disturbs little.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use greenroom_engine::driver::{Driver, Outputs};
use greenroom_engine::timers::Timers;
use greenroom_engine::{Answer, Command, Engine, EngineConfig, Event, Plan, Plans, TransportId};
use mio::{Events, Interest, Poll, Token};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelConfig;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Rtc};

const MEASURE: Duration = Duration::from_secs(4);
/// Bytes of Opus at 32 kbit/s, the rate of speech.
const PAYLOAD: usize = 80;

/// Who talks to whom, and how often.
struct Scenario {
    name: &'static str,
    /// Clients that send one track each.
    publishers: usize,
    /// Clients that receive every publisher's track. 0: publishers receive each other's in pairs.
    receivers: usize,
    /// Packets per second of each publisher.
    rate: u32,
    /// Receiving audio and video sections of each client.
    sections: (usize, usize),
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "1->100 at 30 kpps", publishers: 1, receivers: 100, rate: 300, sections: (1, 0) },
    Scenario {
        name: "1->100 at 30 kpps, LiveKit's sections",
        publishers: 1,
        receivers: 100,
        rate: 300,
        sections: (3, 3),
    },
    Scenario { name: "1->100 at 50 packets/s", publishers: 1, receivers: 100, rate: 50, sections: (3, 3) },
    Scenario { name: "10->100 at 50 packets/s", publishers: 10, receivers: 100, rate: 50, sections: (10, 3) },
    Scenario { name: "200 two-way sessions", publishers: 400, receivers: 0, rate: 50, sections: (3, 3) },
];

/// A client's end of a transport.
struct Peer {
    driver: Driver,
    socket: mio::net::UdpSocket,
    address: SocketAddr,
    out: Outputs,
    ears: Vec<Mid>,
    mic: Option<Mid>,
    sequence: u64,
    connected: bool,
    heard: usize,
}

impl Peer {
    fn new(now: Instant, sections: (usize, usize), sends: bool) -> (Self, String, SdpPendingOffer) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let (mut ears, mut mic) = (Vec::new(), None);
        let mut driver = Driver::new(rtc, now);
        let mut out = Outputs::default();
        let offer = |rtc: &mut Rtc| {
            let mut api = rtc.sdp_api();
            for (kind, count) in [(MediaKind::Audio, sections.0), (MediaKind::Video, sections.1)] {
                ears.extend((0..count).map(|_| api.add_media(kind, Direction::RecvOnly, None, None, None)));
            }
            if sends {
                mic = Some(api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None));
            }
            for label in ["_lossy", "_reliable", "_data_track"] {
                api.add_channel_with_config(ChannelConfig { label: label.into(), ..Default::default() });
            }
            api.apply().unwrap()
        };
        let (offer, pending) = driver.change(now, &mut out, offer).unwrap();
        let socket = mio::net::UdpSocket::from_std(socket);
        let peer = Self { driver, socket, address, out, ears, mic, sequence: 0, connected: false, heard: 0 };
        (peer, offer.to_sdp_string(), pending)
    }

    fn answer(&mut self, now: Instant, pending: SdpPendingOffer, answer: &Answer) {
        let answer = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
        let accept = |rtc: &mut Rtc| rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.driver.change(now, &mut self.out, accept).unwrap();
        self.settle();
    }

    fn speak(&mut self, now: Instant) {
        let mid = self.mic.unwrap();
        let sequence = self.sequence;
        self.sequence += 1;
        let write = |rtc: &mut Rtc| {
            let pt = rtc.codec_config().params().iter().find(|params| params.spec().codec.is_audio()).unwrap().pt();
            let packet = RtpWrite::new(pt, sequence.into(), (sequence * 960) as u32, now, [0xf8; PAYLOAD]);
            let levels = ExtensionValues { audio_level: Some(-20), voice_activity: Some(true), ..Default::default() };
            rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(packet.ext_vals(levels));
        };
        self.driver.change(now, &mut self.out, write).unwrap();
        self.advance(now);
    }

    fn advance(&mut self, now: Instant) {
        self.driver.advance(now, &mut self.out).unwrap();
        self.settle();
    }

    fn receive(&mut self, now: Instant, buffer: &mut [u8]) {
        loop {
            match self.socket.recv_from(buffer) {
                Ok((length, source)) => {
                    let datagram = Receive::new(Protocol::Udp, source, self.address, &buffer[..length]).unwrap();
                    let _ = self.driver.receive(now, datagram, &mut self.out).unwrap();
                    self.settle();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn settle(&mut self) {
        for packet in self.out.packets.drain(..) {
            // A full buffer loses it, as a network would.
            let _ = self.socket.send_to(&packet.contents, packet.destination);
        }
        for event in self.out.events.drain(..) {
            match event {
                str0m::Event::Connected => self.connected = true,
                str0m::Event::RtpPacket(_) => self.heard += 1,
                _ => {}
            }
        }
    }
}

/// All clients of a scenario, and the engine.
struct Room {
    engine: Engine,
    peers: Vec<Peer>,
    poll: Poll,
    timers: Timers<usize>,
    requests: u64,
}

impl Room {
    fn new() -> Self {
        let bind = [127, 0, 0, 1].into();
        let config = EngineConfig { bind, port: 0, addresses: vec![], max_message: 64_000, send_buffer: 1 << 20 };
        let engine = Engine::start(&config).unwrap();
        Self { engine, peers: Vec::new(), poll: Poll::new().unwrap(), timers: Timers::new(), requests: 0 }
    }

    fn join(&mut self, sections: (usize, usize), sends: bool, hears: usize) {
        let now = Instant::now();
        let (mut peer, offer, pending) = Peer::new(now, sections, sends);
        let transport = self.peers.len() as TransportId;
        let name = |mid: &Mid| Plan::Send { stream: format!("PA_x|TR_{mid}"), track: format!("TR_{mid}") };
        let mut plans: Plans = peer.ears.iter().take(hears).map(|mid| (mid.to_string(), name(mid))).collect();
        plans.extend(peer.mic.map(|mid| (mid.to_string(), Plan::Receive { dtx: true, stereo: false })));
        self.engine.command(Command::Create { transport, lite: true });
        self.requests += 1;
        self.engine.command(Command::Offer { request: self.requests, transport, sdp: offer, plans });
        let answer = self.answer(self.requests);
        peer.answer(now, pending, &answer);
        if let Some(mid) = peer.mic {
            self.engine.command(Command::Publish { track: transport, transport, mid: mid.to_string() });
        }
        let token = Token(self.peers.len());
        self.poll.registry().register(&mut peer.socket, token, Interest::READABLE).unwrap();
        self.timers.schedule(self.peers.len(), now);
        self.peers.push(peer);
        self.run(Duration::from_secs(10), |room| room.peers.last().unwrap().connected, |_, _| None);
        assert!(self.peers.last().unwrap().connected);
    }

    fn answer(&self, wanted: u64) -> Answer {
        loop {
            for event in self.engine.take_events(64) {
                match event {
                    Event::Answered { request, answer } if request == wanted => return answer.unwrap(),
                    Event::Closed { reason, detail, .. } => panic!("{reason:?} {detail}"),
                    _ => {}
                }
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn forward(&self, track: usize, receiver: usize, ear: usize) {
        let mid = self.peers[receiver].ears[ear].to_string();
        let (track, transport) = (track as u64, receiver as TransportId);
        self.engine.command(Command::Forward { track, transport, mid });
    }

    /// Serve the clients for `time` or until `done`. `act` is called in every turn and says when it wants the next.
    fn run(
        &mut self,
        time: Duration,
        done: impl Fn(&Self) -> bool,
        mut act: impl FnMut(&mut Self, Instant) -> Option<Instant>,
    ) {
        let end = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 2000];
        loop {
            let now = Instant::now();
            if now >= end || done(self) {
                return;
            }
            let next = act(self, now);
            while let Some(index) = self.timers.pop(now) {
                if self.peers[index].driver.deadline() <= now {
                    self.peers[index].advance(now);
                }
                self.timers.schedule(index, self.peers[index].driver.deadline());
            }
            let wake = [self.timers.next(), next].into_iter().flatten().min().unwrap_or(end).min(end);
            self.poll.poll(&mut events, Some(wake.saturating_duration_since(Instant::now()))).unwrap();
            let now = Instant::now();
            for event in &events {
                let index = event.token().0;
                self.peers[index].receive(now, &mut buffer);
                self.timers.schedule(index, self.peers[index].driver.deadline());
            }
            self.engine.take_events(1024);
        }
    }

    /// Let every publisher send at its rate, all evenly spread over the period. Returns how many packets were due.
    fn talk(&mut self, scenario: &Scenario, time: Duration) {
        let period = Duration::from_secs(1) / scenario.rate;
        let start = Instant::now();
        let publishers = scenario.publishers as u32;
        let mut due: u32 = 0;
        self.run(
            time,
            |_| false,
            |room, now| loop {
                let at = start + period * (due / publishers) + period / publishers * (due % publishers);
                if at > now {
                    return Some(at);
                }
                room.peers[(due % publishers) as usize].speak(now);
                due += 1;
            },
        );
    }
}

fn measure(scenario: &Scenario, floor: Option<f64>) {
    let mut room = Room::new();
    let pairs = scenario.receivers == 0;
    for _ in 0..scenario.publishers {
        room.join(scenario.sections, true, usize::from(pairs));
    }
    for _ in 0..scenario.receivers {
        room.join(scenario.sections, false, scenario.publishers);
    }
    for track in 0..scenario.publishers {
        if pairs {
            room.forward(track, track ^ 1, 0);
        }
        for receiver in 0..scenario.receivers {
            room.forward(track, scenario.publishers + receiver, track);
        }
    }
    room.talk(scenario, Duration::from_secs(1));
    let (before, cpu) = (room.engine.stats(), cpu_of("greenroom-media"));
    let heard: usize = room.peers.iter().map(|peer| peer.heard).sum();
    room.talk(scenario, MEASURE);
    let (after, spent) = (room.engine.stats(), cpu_of("greenroom-media") - cpu);
    let heard = room.peers.iter().map(|peer| peer.heard).sum::<usize>() - heard;
    let (name, seconds) = (scenario.name, MEASURE.as_secs_f64());
    let (came, left) = (after.rtp_in - before.rtp_in, after.rtp_out - before.rtp_out);
    let per_packet = spent.as_nanos() as f64 / 1000.0 / left as f64;
    figure(name, "CPU per RTP packet out", per_packet, "us");
    if let Some(floor) = floor {
        figure(name, "CPU per RTP packet out, of sendto only", per_packet / floor, "times");
    }
    if pairs {
        let sessions = scenario.publishers as f64 / 2.0;
        figure(name, "sessions one core carries", sessions * seconds / spent.as_secs_f64(), "");
    }
    figure(name, "media thread", spent.as_secs_f64() / seconds * 100.0, "% of a core");
    figure(name, "RTP in", came as f64 / seconds, "packets/s");
    figure(name, "RTP out", left as f64 / seconds, "packets/s");
    figure(name, "RTP received", heard as f64 / left as f64 * 100.0, "%");
    figure(name, "other datagrams in", ((after.packets_in - before.packets_in - came) as f64) / seconds, "packets/s");
    figure(
        name,
        "other datagrams out",
        ((after.packets_out - before.packets_out - left) as f64) / seconds,
        "packets/s",
    );
}

/// A program that only sends: bursts of `fan` datagrams, each to another socket, `rate` times a second.
fn floor(name: &str, fan: usize, rate: u32) -> f64 {
    let sockets: Vec<UdpSocket> = (0..fan).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let drain = {
        let stop = stop.clone();
        thread::spawn(move || {
            let mut poll = Poll::new().unwrap();
            let mut sockets: Vec<_> = sockets
                .into_iter()
                .map(|socket| {
                    socket.set_nonblocking(true).unwrap();
                    mio::net::UdpSocket::from_std(socket)
                })
                .collect();
            for (index, socket) in sockets.iter_mut().enumerate() {
                poll.registry().register(socket, Token(index), Interest::READABLE).unwrap();
            }
            let mut events = Events::with_capacity(1024);
            while !stop.load(Ordering::Relaxed) {
                poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
                for event in &events {
                    while sockets[event.token().0].recv(&mut [0; 2000]).is_ok() {}
                }
            }
        })
    };
    let send = thread::Builder::new().name("floor".into()).spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let cpu = cpu_of("floor");
        let mut sent = 0u32;
        // An RTP header with two extensions and the tag of AES-GCM come on top of the payload.
        let packet = [0; PAYLOAD + 12 + 12 + 16];
        for burst in 0.. {
            let at = start + Duration::from_secs(1) / rate * burst;
            if at > start + MEASURE {
                break;
            }
            thread::sleep(at.saturating_duration_since(Instant::now()));
            for address in &addresses {
                socket.send_to(&packet, address).unwrap();
                sent += 1;
            }
        }
        (cpu_of("floor") - cpu) / sent
    });
    let per_packet = send.unwrap().join().unwrap();
    stop.store(true, Ordering::Relaxed);
    drain.join().unwrap();
    let per_packet = per_packet.as_nanos() as f64 / 1000.0;
    figure(name, "CPU per packet out, sendto only", per_packet, "us");
    per_packet
}

/// CPU time of the newest thread of this name.
fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let path = tasks.filter(named).max_by_key(number).unwrap();
    let stat = std::fs::read_to_string(path.join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn figure(scenario: &str, name: &str, value: f64, unit: &str) {
    println!("{scenario}: {name}\t{value:.2}\t{unit}");
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        // Packets of many publishers leave in bursts of their own, as one publisher's do.
        let bursts = scenario.rate * scenario.publishers as u32;
        let floor = (scenario.receivers > 0).then(|| floor(scenario.name, scenario.receivers, bursts));
        measure(scenario, floor);
    }
}
