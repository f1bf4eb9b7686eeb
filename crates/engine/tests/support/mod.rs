//! A hub and its clients in one thread and virtual time: no sockets, no sleeping.

#![allow(dead_code, reason = "every test binary uses its own part")]

mod client;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_engine::config::CONNECT;
use greenroom_engine::hub::Hub;
use greenroom_engine::recipe::Recipe;
use greenroom_engine::stats::Counters;
use greenroom_engine::{Answer, Command, Event, Plan, Plans, TrackId, TransportId};
use str0m::change::SdpApi;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, Transmit};

pub use client::Client;

pub const RELIABLE: &str = "_reliable";
pub const LOSSY: &str = "_lossy";
pub const DATA_TRACK: &str = "_data_track";
pub const SEND_BUFFER: usize = 256 * 1024;

/// What [`World::speak`] says: Opus of 20 ms with a number in it.
pub fn payload(sequence: u64) -> Vec<u8> {
    [&[0xf8], sequence.to_be_bytes().as_slice()].concat()
}

/// The hub, its clients and the wire between them.
pub struct World {
    pub now: Instant,
    pub hub: Hub,
    pub counters: Arc<Counters>,
    pub server: SocketAddr,
    pub clients: HashMap<TransportId, Client>,
    pub events: Vec<Event>,
    /// Python takes messages while set.
    pub attentive: bool,
    /// Of a hundred datagrams, so many are lost.
    pub loss: u64,
    dice: u64,
    answers: HashMap<TransportId, String>,
    taken: HashMap<TransportId, usize>,
    untaken: Vec<Event>,
}

impl World {
    pub fn new() -> Self {
        Self::with_send_buffer(SEND_BUFFER)
    }

    pub fn with_send_buffer(send_buffer: usize) -> Self {
        let server: SocketAddr = "192.0.2.1:7882".parse().unwrap();
        let counters = Arc::new(Counters::default());
        let hub = Hub::new(Recipe::new(vec![server], 64_000), send_buffer, counters.clone());
        Self {
            now: Instant::now(),
            hub,
            counters,
            server,
            clients: HashMap::new(),
            events: Vec::new(),
            attentive: true,
            loss: 0,
            dice: 1,
            answers: HashMap::new(),
            taken: HashMap::new(),
            untaken: Vec::new(),
        }
    }

    pub fn command(&mut self, command: Command) {
        self.hub.command(self.now, command);
    }

    /// Send an offer and return the answer.
    pub fn offer(&mut self, transport: TransportId, sdp: &str) -> Result<Answer, String> {
        self.offer_planned(transport, sdp, Plans::new())
    }

    /// Send an offer with what its sections are for, and return the answer.
    pub fn offer_planned(&mut self, transport: TransportId, sdp: &str, plans: Plans) -> Result<Answer, String> {
        self.command(Command::Offer { request: 1, transport, sdp: sdp.into(), plans });
        let events = std::mem::take(&mut self.hub.effects.events);
        let mut answer = None;
        for event in events {
            match event {
                Event::Answered { answer: found, .. } => answer = Some(found),
                event => self.untaken.push(event),
            }
        }
        let answer = answer.expect("an offer is always answered");
        if let Ok(answer) = &answer {
            self.answers.insert(transport, answer.sdp.clone());
        }
        answer
    }

    /// Negotiate a client without letting it connect.
    pub fn invite(&mut self, transport: TransportId) {
        let address = SocketAddr::new([198, 51, 100, 1].into(), 10_000 + u16::try_from(transport).unwrap());
        let mut client = Client::new(self.now, address);
        self.command(Command::Create { transport, lite: true });
        let (offer, pending) = client.offer(self.now);
        let answer = self.offer(transport, &offer).unwrap();
        client.answer(self.now, pending, &answer.sdp);
        self.clients.insert(transport, client);
    }

    /// Bring a client in, with its three channels open.
    pub fn join(&mut self, transport: TransportId) {
        self.invite(transport);
        self.until(|world| {
            let client = &world.clients[&transport];
            [RELIABLE, LOSSY, DATA_TRACK].iter().all(|label| client.has_open(label)) && world.opened(transport) == 3
        });
    }

    /// Let a client send a section of its own, for a track. Returns the section.
    pub fn publish(&mut self, track: TrackId, transport: TransportId, kind: MediaKind) -> Mid {
        let now = self.now;
        let mut mid = None;
        let add = |api: &mut SdpApi<'_>| mid = Some(api.add_media(kind, Direction::SendOnly, None, None, None));
        let (offer, pending) = self.client(transport).re_offer(now, add);
        let mid = mid.unwrap();
        let plans = Plans::from([(mid.to_string(), Plan::Receive { dtx: true, stereo: false })]);
        let answer = self.offer_planned(transport, &offer, plans).unwrap();
        self.client(transport).answer(now, pending, &answer.sdp);
        self.command(Command::Publish { track, transport, mid: mid.to_string() });
        mid
    }

    /// Negotiate that a client's receiving sections carry these names, in order; the rest carries nothing.
    pub fn plan(&mut self, transport: TransportId, names: &[Option<&str>]) -> Answer {
        let now = self.now;
        let (offer, pending) = self.client(transport).re_offer_ears(now);
        let ears = &self.clients[&transport].ears;
        let named = ears.iter().zip(names).filter_map(|(mid, name)| Some((mid, (*name)?)));
        let plan = |name: &str| Plan::Send { stream: format!("PA_x|{name}"), track: name.into() };
        let plans = named.map(|(mid, name)| (mid.to_string(), plan(name))).collect();
        let answer = self.offer_planned(transport, &offer, plans).unwrap();
        self.client(transport).answer(now, pending, &answer.sdp);
        answer
    }

    /// Send a track on a client's first receiving section.
    pub fn forward(&mut self, track: TrackId, transport: TransportId) {
        let mid = self.clients[&transport].ears[0].to_string();
        self.command(Command::Forward { track, transport, mid });
    }

    /// Let a client send packets 20 ms apart.
    pub fn speak(&mut self, transport: TransportId, mid: Mid, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            let now = self.now;
            self.client(transport).speak(now, mid, sequence, &payload(sequence));
            self.run(Duration::from_millis(20));
        }
    }

    pub fn send(&mut self, transports: &[TransportId], label: &str, payload: impl Into<Bytes>) {
        let (transports, payload) = (transports.to_vec(), payload.into());
        self.command(Command::Send { transports, label: label.into(), payload });
    }

    pub fn client(&mut self, transport: TransportId) -> &mut Client {
        self.clients.get_mut(&transport).unwrap()
    }

    /// The ICE credentials in the last answer for a client.
    pub fn creds(&self, transport: TransportId) -> (String, String) {
        let answer = &self.answers[&transport];
        let value = |prefix: &str| answer.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().to_owned();
        (value("a=ice-ufrag:"), value("a=ice-pwd:"))
    }

    /// Messages that arrived from a client.
    pub fn from(&self, of: TransportId, on: &str) -> Vec<&[u8]> {
        let payload = |event| match event {
            &Event::Data { transport, ref label, ref payload, .. } if transport == of && &**label == on => {
                Some(payload.as_slice())
            }
            _ => None,
        };
        self.events.iter().filter_map(payload).collect()
    }

    /// How many messages of a client Python has taken.
    pub fn counted(&self, of: TransportId) -> usize {
        self.taken.get(&of).copied().unwrap_or_default()
    }

    pub fn opened(&self, of: TransportId) -> usize {
        let opened = |event: &&Event| matches!(event, Event::ChannelOpened { transport, .. } if *transport == of);
        self.events.iter().filter(opened).count()
    }

    /// Why a transport ended.
    pub fn ended(&self, of: TransportId) -> Option<(&'static str, &str)> {
        self.events.iter().find_map(|event| match event {
            Event::Closed { transport, reason, detail } if *transport == of => Some((reason.as_str(), detail.as_str())),
            _ => None,
        })
    }

    /// Exchange datagrams at this instant until there are no more.
    pub fn pump(&mut self) {
        loop {
            let mut busy = false;
            for client in self.clients.values_mut() {
                client.events();
                client.write(self.now);
                client.events();
                for packet in std::mem::take(&mut client.outputs.packets) {
                    let lost = client.silent || is_lost(&mut self.dice, self.loss);
                    if !lost && packet.destination == self.server {
                        self.hub.receive(self.now, packet.source, packet.destination, &packet.contents);
                        self.hub.flush(self.now);
                    }
                    busy = true;
                }
            }
            self.untaken.append(&mut self.hub.effects.events);
            if self.attentive {
                busy |= self.take();
            }
            for packet in std::mem::take(&mut self.hub.effects.packets) {
                self.deliver(&packet);
                busy = true;
            }
            if !busy {
                return;
            }
        }
    }

    fn deliver(&mut self, packet: &Transmit) {
        let Some(client) = self.clients.values_mut().find(|client| client.address == packet.destination) else {
            return;
        };
        if is_lost(&mut self.dice, self.loss) || client.deaf && packet.contents[0] >= 20 {
            return;
        }
        let receive = Receive::new(Protocol::Udp, packet.source, packet.destination, &packet.contents).unwrap();
        let _ = client.driver.receive(self.now, receive, &mut client.outputs);
    }

    /// Do what Python does with events.
    pub fn take(&mut self) -> bool {
        let taken = std::mem::take(&mut self.untaken);
        let any = !taken.is_empty();
        for event in taken {
            if let Event::Data { transport, payload, backlog, .. } = &event {
                *self.taken.entry(*transport).or_default() += 1;
                if backlog.remove(payload.len()) {
                    self.command(Command::Resume(*transport));
                }
            }
            self.events.push(event);
        }
        any
    }

    /// Let time pass, from deadline to deadline.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.pump();
        while let Some(next) = self.next_deadline().filter(|next| *next <= end) {
            // Deadlines may be in the past; time does not stand still.
            self.now = next.max(self.now + Duration::from_micros(1));
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    /// Let time pass until `condition` holds. Panics after more than any handshake takes.
    pub fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let end = self.now + CONNECT * 4;
        self.pump();
        while !condition(self) {
            let next = self.next_deadline().expect("something is due");
            self.now = next.max(self.now + Duration::from_micros(1));
            assert!(self.now < end, "waited in vain; events: {:?}", self.events);
            self.tick();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let clients = self.clients.values().map(|client| client.driver.deadline());
        clients.chain(self.hub.deadline()).min()
    }

    fn tick(&mut self) {
        for client in self.clients.values_mut() {
            if client.driver.deadline() <= self.now {
                let _ = client.driver.advance(self.now, &mut client.outputs);
            }
        }
        self.hub.advance(self.now);
        self.pump();
    }
}

/// Roll the dice, the same in every run.
fn is_lost(dice: &mut u64, percent: u64) -> bool {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % 100 < percent
}
