//! A hub and its clients in one thread and virtual time: no sockets, no sleeping.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_engine::config::CONNECT;
use greenroom_engine::driver::{Driver, Outputs};
use greenroom_engine::hub::Hub;
use greenroom_engine::recipe::Recipe;
use greenroom_engine::stats::Counters;
use greenroom_engine::{Answer, Command, Event, Plan, Plans, TrackId, TransportId};
use str0m::change::{SdpAnswer, SdpApi, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Rtc};

pub const RELIABLE: &str = "_reliable";
pub const LOSSY: &str = "_lossy";
pub const DATA_TRACK: &str = "_data_track";
pub const SEND_BUFFER: usize = 256 * 1024;

/// A LiveKit client: a single peer connection with six receiving sections and three data channels.
pub struct Client {
    pub address: SocketAddr,
    pub driver: Driver,
    pub received: HashMap<String, Vec<Vec<u8>>>,
    /// RTP as it came.
    pub heard: Vec<RtpPacket>,
    /// Sections that receive, in order.
    pub ears: Vec<Mid>,
    /// Key frames that were asked of this client.
    pub keyframes: usize,
    pub closed: bool,
    /// Datagrams this client sends are lost while set.
    pub silent: bool,
    /// Data for this client is lost while set, so it acknowledges none.
    pub deaf: bool,
    outputs: Outputs,
    labels: HashMap<ChannelId, String>,
    open: HashMap<String, ChannelId>,
    unsent: VecDeque<(String, Vec<u8>)>,
}

impl Client {
    pub fn new(now: Instant, address: SocketAddr) -> Self {
        let mut rtc = Rtc::builder().set_rtp_mode(true).set_sctp_max_buffered_amount(128 << 10).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Self {
            address,
            driver: Driver::new(rtc, now),
            received: HashMap::new(),
            heard: Vec::new(),
            ears: Vec::new(),
            keyframes: 0,
            closed: false,
            silent: false,
            deaf: false,
            outputs: Outputs::default(),
            labels: HashMap::new(),
            open: HashMap::new(),
            unsent: VecDeque::new(),
        }
    }

    pub fn offer(&mut self, now: Instant) -> (String, SdpPendingOffer) {
        let ears = &mut self.ears;
        let change = |rtc: &mut Rtc| {
            let mut api = rtc.sdp_api();
            for kind in [MediaKind::Audio, MediaKind::Video] {
                for _ in 0..3 {
                    ears.push(api.add_media(kind, Direction::RecvOnly, None, None, None));
                }
            }
            for label in [LOSSY, RELIABLE, DATA_TRACK] {
                let ordered = label == RELIABLE;
                let reliability =
                    if ordered { Reliability::Reliable } else { Reliability::MaxRetransmits { retransmits: 0 } };
                api.add_channel_with_config(ChannelConfig {
                    label: label.into(),
                    ordered,
                    reliability,
                    ..Default::default()
                });
            }
            api.apply().unwrap()
        };
        let (offer, pending) = self.driver.change(now, &mut self.outputs, change).unwrap();
        (offer.to_sdp_string(), pending)
    }

    /// Offer again after `change`.
    pub fn re_offer(&mut self, now: Instant, change: impl FnOnce(&mut SdpApi<'_>)) -> (String, SdpPendingOffer) {
        let change = |rtc: &mut Rtc| {
            let mut api = rtc.sdp_api();
            change(&mut api);
            if !api.has_changes() {
                // str0m makes no offer without a change; a direction that stays the same is one.
                let mid = self.ears[0];
                api.set_direction(mid, Direction::RecvOnly);
            }
            api.apply().unwrap()
        };
        let (offer, pending) = self.driver.change(now, &mut self.outputs, change).unwrap();
        (offer.to_sdp_string(), pending)
    }

    /// Offer again to receive on every section, as clients do that were answered `inactive`.
    pub fn re_offer_ears(&mut self, now: Instant) -> (String, SdpPendingOffer) {
        let ears = self.ears.clone();
        self.re_offer(now, |api| ears.iter().for_each(|mid| api.set_direction(*mid, Direction::RecvOnly)))
    }

    /// Send one packet on a section; its timestamp follows from its number.
    pub fn speak(&mut self, now: Instant, mid: Mid, sequence: u64, payload: &[u8]) {
        let write = |rtc: &mut Rtc| {
            let params = rtc.codec_config().params();
            let kind = rtc.media(mid).unwrap().kind();
            let params = params.iter().find(|params| params.spec().codec.is_audio() == (kind == MediaKind::Audio));
            let pt = params.unwrap().pt();
            let extensions =
                ExtensionValues { audio_level: Some(-20), voice_activity: Some(true), ..Default::default() };
            let packet = RtpWrite::new(pt, sequence.into(), (sequence * 960) as u32, now, payload);
            rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(packet.ext_vals(extensions));
        };
        self.driver.change(now, &mut self.outputs, write).unwrap();
        self.driver.advance(now, &mut self.outputs).unwrap();
    }

    /// Go on under another SSRC.
    pub fn renew_stream(&mut self, now: Instant, mid: Mid) {
        let renew = |rtc: &mut Rtc| {
            let mut api = rtc.direct_api();
            let ssrc = api.new_ssrc();
            api.reset_stream_tx(mid, None, ssrc, None).unwrap();
        };
        self.driver.change(now, &mut self.outputs, renew).unwrap();
    }

    /// Ask for a key frame of what comes in on a section.
    pub fn ask_keyframe(&mut self, now: Instant, mid: Mid) {
        let ask = |rtc: &mut Rtc| {
            rtc.direct_api().stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        };
        self.driver.change(now, &mut self.outputs, ask).unwrap();
        self.driver.advance(now, &mut self.outputs).unwrap();
    }

    /// The payloads that were heard.
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.heard.iter().map(|packet| &*packet.payload).collect()
    }

    /// Close a channel.
    pub fn close_channel(&mut self, now: Instant, label: &str) {
        let id = self.open[label];
        self.driver.change(now, &mut self.outputs, |rtc| rtc.direct_api().close_data_channel(id)).unwrap();
    }

    /// Open one more channel.
    pub fn open_channel(&mut self, now: Instant, label: &str) {
        let config = ChannelConfig { label: label.into(), ..Default::default() };
        let change = |rtc: &mut Rtc| rtc.direct_api().create_data_channel(config);
        self.driver.change(now, &mut self.outputs, change).unwrap();
    }

    /// The username fragment of this client.
    pub fn ufrag(&mut self, now: Instant) -> String {
        let creds = |rtc: &mut Rtc| rtc.direct_api().local_ice_credentials();
        self.driver.change(now, &mut self.outputs, creds).unwrap().ufrag
    }

    /// Say goodbye.
    pub fn close(&mut self, now: Instant) {
        self.driver.change(now, &mut self.outputs, |rtc| rtc.close().unwrap()).unwrap();
    }

    /// Lose the address and get another one.
    pub fn move_to(&mut self, now: Instant, address: SocketAddr) {
        let before = Candidate::host(self.address, "udp").unwrap();
        let after = Candidate::host(address, "udp").unwrap();
        let change = |rtc: &mut Rtc| {
            rtc.direct_api().invalidate_candidate(&before);
            rtc.add_local_candidate(after);
        };
        self.driver.change(now, &mut self.outputs, change).unwrap();
        self.address = address;
    }

    pub fn answer(&mut self, now: Instant, pending: SdpPendingOffer, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let change = |rtc: &mut Rtc| rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.driver.change(now, &mut self.outputs, change).unwrap();
    }

    /// Queue a message; [`World::pump`] writes it.
    pub fn send(&mut self, label: &str, payload: Vec<u8>) {
        self.unsent.push_back((label.into(), payload));
    }

    pub fn has_open(&self, label: &str) -> bool {
        self.open.contains_key(label)
    }

    pub fn messages(&self, label: &str) -> &[Vec<u8>] {
        self.received.get(label).map_or(&[], Vec::as_slice)
    }

    fn write(&mut self, now: Instant) {
        while let Some((label, payload)) = self.unsent.front() {
            let Some(&id) = self.open.get(label) else { return };
            let change =
                |rtc: &mut Rtc| rtc.channel(id).is_some_and(|mut channel| channel.write(true, payload).unwrap());
            if !self.driver.change(now, &mut self.outputs, change).unwrap() {
                return;
            }
            self.unsent.pop_front();
        }
    }

    fn events(&mut self) {
        for event in std::mem::take(&mut self.outputs.events) {
            match event {
                str0m::Event::ChannelOpen(id, label) => {
                    self.labels.insert(id, label.clone());
                    self.open.insert(label, id);
                }
                str0m::Event::ChannelData(data) => {
                    self.received.entry(self.labels[&data.id].clone()).or_default().push(data.data);
                }
                str0m::Event::RtpPacket(packet) => self.heard.push(packet),
                str0m::Event::KeyframeRequest(_) => self.keyframes += 1,
                str0m::Event::Closed => self.closed = true,
                _ => {}
            }
        }
    }
}

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
