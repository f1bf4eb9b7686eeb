//! The media of one client, without sockets and clock: a peer connection as LiveKit's clients make it.
//!
//! One connection for both directions, offered by the client: sections that only receive, three data channels, and
//! later a section for the microphone (docs/protocol.md, Negotiation).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use greenroom_engine::driver::{Driver, Outputs};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Rtc, RtcError};

use crate::meter::Meter;
use crate::stamp::{Stamp, clock};

/// Ticks of RTP time in a second of Opus (RFC 7587 section 4.1).
const OPUS_RATE: u64 = 48_000;

/// What every peer of a program has in common.
#[derive(Debug, Clone)]
pub struct Kit {
    certificate: DtlsCert,
}

impl Kit {
    /// Make the certificate that all peers share; one each would cost more than the rest of a connection.
    ///
    /// # Panics
    ///
    /// When the crypto library cannot make a certificate.
    pub fn new() -> Self {
        let provider = str0m::crypto::from_feature_flags().dtls_provider;
        Self { certificate: provider.generate_certificate().expect("aws-lc-rs makes certificates") }
    }
}

impl Default for Kit {
    fn default() -> Self {
        Self::new()
    }
}

/// Receiving sections to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections {
    /// For audio.
    pub audio: usize,
    /// For video.
    pub video: usize,
}

/// What a peer tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// ICE and DTLS are complete.
    Connected,
    /// ICE found a way; DTLS is next.
    Reachable,
    /// ICE lost its way, or never found one, or the other side closed DTLS.
    Closed,
    /// A data channel can be written to.
    Opened(String),
    /// A message came on a data channel.
    Message(String, Vec<u8>),
}

/// One client's peer connection.
#[derive(Debug)]
pub struct Peer {
    /// What was received.
    pub meter: Meter,
    /// Packets of audio sent.
    pub spoken: u64,
    /// The number that stands in the stamps of this peer.
    pub publisher: u32,
    driver: Driver,
    out: Outputs,
    news: Vec<News>,
    address: SocketAddr,
    ears: Vec<Mid>,
    mic: Option<Mid>,
    opus: Option<Pt>,
    pending: Option<SdpPendingOffer>,
    channels: Vec<(ChannelId, String)>,
    reachable: bool,
}

impl Peer {
    /// Make a peer that sends from `address` and put its first offer beside it.
    pub fn new(kit: &Kit, publisher: u32, address: SocketAddr, sections: Sections, now: Instant) -> (Self, String) {
        let builder = Rtc::builder().set_rtp_mode(true).set_dtls_cert(kit.certificate.clone());
        let mut rtc = builder.build(now);
        if let Ok(candidate) = Candidate::host(address, "udp") {
            rtc.add_local_candidate(candidate);
        }
        let mut peer = Self {
            meter: Meter::default(),
            spoken: 0,
            publisher,
            driver: Driver::new(rtc, now),
            out: Outputs::default(),
            news: Vec::new(),
            address,
            ears: Vec::new(),
            mic: None,
            opus: None,
            pending: None,
            channels: Vec::new(),
            reachable: false,
        };
        let ears = &mut peer.ears;
        let first = |rtc: &mut Rtc| {
            let mut api = rtc.sdp_api();
            ears.extend((0..sections.audio).map(|_| receiving(&mut api, MediaKind::Audio)));
            (0..sections.video).for_each(|_| {
                receiving(&mut api, MediaKind::Video);
            });
            for label in ["_lossy", "_reliable", "_data_track"] {
                api.add_channel_with_config(channel(label));
            }
            api.apply()
        };
        let made = peer.driver.change(now, &mut peer.out, first);
        let (offer, pending) = made.ok().flatten().expect("three channels need an offer");
        peer.pending = Some(pending);
        (peer, offer.to_sdp_string())
    }

    /// Offer again, with `audio` more sections that receive and, if it is given, one for the microphone whose track is
    /// called `mic`. `None`: an offer is on its way already; ask again after its answer.
    pub fn offer(&mut self, now: Instant, audio: usize, mic: Option<&str>) -> Result<Option<String>, RtcError> {
        if self.pending.is_some() {
            return Ok(None);
        }
        let (ears, own) = (&mut self.ears, &mut self.mic);
        let change = |rtc: &mut Rtc| {
            let idle = |mid: &Mid| rtc.media(*mid).is_none_or(|media| media.direction() == Direction::Inactive);
            let waiting: Vec<Mid> = ears.iter().filter(|mid| idle(mid)).copied().collect();
            let mut api = rtc.sdp_api();
            // Answered `inactive`, a section is offered again as it was.
            waiting.iter().for_each(|mid| api.set_direction(*mid, Direction::RecvOnly));
            ears.extend((0..audio).map(|_| receiving(&mut api, MediaKind::Audio)));
            if let (Some(track), None) = (mic, &own) {
                let (stream, track) = (Some("microphone".to_owned()), Some(track.to_owned()));
                *own = Some(api.add_media(MediaKind::Audio, Direction::SendOnly, stream, track, None));
            }
            if !api.has_changes() {
                // The server asks for an offer although nothing changed.
                ears.push(receiving(&mut api, MediaKind::Audio));
            }
            api.apply()
        };
        let Some((offer, pending)) = self.driver.change(now, &mut self.out, change)? else { return Ok(None) };
        self.pending = Some(pending);
        Ok(Some(offer.to_sdp_string()))
    }

    /// Take the answer to the offer on its way.
    pub fn answer(&mut self, now: Instant, sdp: &str) -> Result<(), String> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| error.to_string())?;
        let accept = |rtc: &mut Rtc| rtc.sdp_api().accept_answer(pending, answer);
        let accepted = self.driver.change(now, &mut self.out, accept).and_then(|accepted| accepted);
        accepted.map_err(|error| error.to_string())?;
        self.settle();
        Ok(())
    }

    /// Take a candidate of the server, as it stands behind `candidate` in a trickle.
    pub fn candidate(&mut self, now: Instant, line: &str) -> Result<(), String> {
        let candidate = Candidate::from_sdp_string(line).map_err(|error| error.to_string())?;
        let add = |rtc: &mut Rtc| rtc.add_remote_candidate(candidate);
        self.driver.change(now, &mut self.out, add).map_err(|error| error.to_string())
    }

    /// Whether the server took the microphone's section.
    pub fn may_speak(&self) -> bool {
        let media = self.mic.and_then(|mid| self.driver.rtc().media(mid));
        media.is_some_and(|media| media.direction().is_sending()) && self.driver.rtc().is_connected()
    }

    /// Send the next packet of audio: `size` bytes of payload that stand for a `period` of sound.
    pub fn speak(&mut self, now: Instant, size: usize, period: Duration) -> Result<(), RtcError> {
        let Some(mid) = self.mic else { return Ok(()) };
        let opus = *self.opus.get_or_insert_with(|| opus(self.driver.rtc()));
        let (publisher, sequence) = (self.publisher, self.spoken);
        let time = sequence as u128 * period.as_nanos() * u128::from(OPUS_RATE) / 1_000_000_000;
        let write = |rtc: &mut Rtc| {
            let mut api = rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(mid, None) else { return false };
            let payload = Stamp { publisher, sequence, sent: clock() }.payload(size);
            let packet = RtpWrite::new(opus, sequence.into(), time as u32, now, payload);
            let voice = ExtensionValues { audio_level: Some(-20), voice_activity: Some(true), ..Default::default() };
            stream.write_rtp(packet.ext_vals(voice));
            true
        };
        if self.driver.change(now, &mut self.out, write)? {
            self.spoken += 1;
        }
        self.advance(now)
    }

    /// Send a message on the data channel with this label. False: it is not open, or full.
    pub fn send(&mut self, now: Instant, label: &str, payload: &[u8]) -> Result<bool, RtcError> {
        let known = self.channels.iter().find(|(_, name)| name == label);
        let Some(&(id, _)) = known else { return Ok(false) };
        let write = |rtc: &mut Rtc| rtc.channel(id).map_or(Ok(false), |mut channel| channel.write(true, payload));
        let written = self.driver.change(now, &mut self.out, write)??;
        self.advance(now)?;
        Ok(written)
    }

    /// When [`Peer::advance`] must be called next.
    pub fn deadline(&self) -> Instant {
        self.driver.deadline()
    }

    /// Whether the connection still works.
    pub fn is_alive(&self) -> bool {
        self.driver.is_alive()
    }

    /// Move time forward.
    pub fn advance(&mut self, now: Instant) -> Result<(), RtcError> {
        self.driver.advance(now, &mut self.out)?;
        self.settle();
        Ok(())
    }

    /// Feed a datagram. One that is not understood is dropped.
    pub fn receive(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) -> Result<(), RtcError> {
        let Ok(datagram) = Receive::new(Protocol::Udp, source, self.address, datagram) else { return Ok(()) };
        let _refused = self.driver.receive(now, datagram, &mut self.out)?;
        self.settle();
        Ok(())
    }

    /// Close the connection as SDKs do: tell the other side.
    pub fn close(&mut self, now: Instant) {
        // What fails here is closed all the same.
        let _ = self.driver.change(now, &mut self.out, |rtc| rtc.close());
        self.settle();
    }

    /// Take what has to be sent.
    pub fn drain(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) {
        self.out.packets.drain(..).for_each(|packet| each(packet.destination, &packet.contents));
    }

    /// Take what happened.
    pub fn news(&mut self) -> std::vec::Drain<'_, News> {
        self.news.drain(..)
    }

    fn settle(&mut self) {
        for event in self.out.events.drain(..) {
            match event {
                Event::RtpPacket(packet) => self.meter.hear(&packet.payload, clock()),
                Event::Connected => self.news.push(News::Connected),
                Event::Closed => self.news.push(News::Closed),
                Event::IceConnectionStateChange(state) => match state {
                    IceConnectionState::Connected | IceConnectionState::Completed if !self.reachable => {
                        self.reachable = true;
                        self.news.push(News::Reachable);
                    }
                    IceConnectionState::Disconnected => self.news.push(News::Closed),
                    _ => {}
                },
                Event::ChannelOpen(id, label) => {
                    self.channels.push((id, label.clone()));
                    self.news.push(News::Opened(label));
                }
                Event::ChannelData(data) => {
                    let label = self.channels.iter().find(|(id, _)| *id == data.id);
                    let label = label.map(|(_, label)| label.clone()).unwrap_or_default();
                    self.news.push(News::Message(label, data.data));
                }
                Event::ChannelClose(id) => self.channels.retain(|(known, _)| *known != id),
                _ => {}
            }
        }
    }
}

fn receiving(api: &mut str0m::change::SdpApi<'_>, kind: MediaKind) -> Mid {
    api.add_media(kind, Direction::RecvOnly, None, None, None)
}

/// How LiveKit's clients open their channels (docs/protocol.md, Data packets).
fn channel(label: &str) -> ChannelConfig {
    let ordered = label == "_reliable";
    let reliability = if ordered { Reliability::Reliable } else { Reliability::MaxRetransmits { retransmits: 0 } };
    ChannelConfig { label: label.into(), ordered, reliability, ..Default::default() }
}

fn opus(rtc: &Rtc) -> Pt {
    let mut known = rtc.codec_config().params().iter();
    known.find(|params| params.spec().codec.is_audio()).expect("Opus is configured").pt()
}

#[cfg(test)]
mod tests;
