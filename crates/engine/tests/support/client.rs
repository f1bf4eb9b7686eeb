//! A LiveKit client on str0m, in virtual time.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use greenroom_engine::driver::{Driver, Outputs};
use str0m::change::{SdpAnswer, SdpApi, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Rtc};

use super::{DATA_TRACK, LOSSY, RELIABLE};

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
    pub(super) outputs: Outputs,
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
            let packet = packet.ext_vals(extensions).nackable(kind == MediaKind::Video);
            rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(packet);
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

    /// Queue a message; [`super::World::pump`] writes it.
    pub fn send(&mut self, label: &str, payload: Vec<u8>) {
        self.unsent.push_back((label.into(), payload));
    }

    pub fn has_open(&self, label: &str) -> bool {
        self.open.contains_key(label)
    }

    pub fn messages(&self, label: &str) -> &[Vec<u8>] {
        self.received.get(label).map_or(&[], Vec::as_slice)
    }

    pub(super) fn write(&mut self, now: Instant) {
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

    pub(super) fn events(&mut self) {
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
