//! One client's connection, without sockets.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use str0m::change::SdpOffer;
use str0m::channel::ChannelId;
use str0m::format::PayloadParams;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RtpPacket;
use str0m::{IceCreds, Rtc};

use self::candidates::{Candidates, separate};
use crate::TransportId;
use crate::config::{CONNECT, MAX_CHANNELS, SILENCE};
use crate::driver::{Driver, Outputs};
use crate::event::{Answer, Event, Reason};
use crate::gate::{Gate, Path, is_stun};
use crate::lanes::Lanes;
use crate::outlet::{Fate, LARGEST, Outlet};
use crate::recipe::Recipe;
use crate::sdp::{self, Plan, Plans};
use crate::stats::Counters;

mod candidates;
mod media;

/// Where a transport's effects go.
#[derive(Debug)]
pub struct Effects {
    /// Datagrams to send.
    pub packets: Vec<Transmit>,
    /// Events for Python.
    pub events: Vec<Event>,
    /// RTP that the transport has received, to be forwarded.
    pub media: Vec<(Mid, PayloadParams, RtpPacket)>,
    /// Sections whose receiver needs a key frame.
    pub keyframes: Vec<Mid>,
    /// Counters to bump.
    pub counters: Arc<Counters>,
}

/// A transport's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
}

impl Ended {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

type Step = Result<(), Ended>;

/// Why a datagram is believed to be the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is a STUN request that proved itself; `chosen` if the client wants to be reached this way.
    Verified {
        /// Whether it carries USE-CANDIDATE.
        chosen: bool,
    },
    /// Its address was proven before.
    Address,
}

/// The state machine of one transport.
#[derive(Debug)]
pub struct Transport {
    id: TransportId,
    lite: bool,
    creds: IceCreds,
    recipe: Arc<Recipe>,
    driver: Driver,
    outputs: Outputs,
    mids: Vec<String>,
    lanes: Lanes,
    /// RTP has been written that [`Transport::send_media`] has to send.
    written: bool,
    candidates: Candidates,
    outlets: Vec<Outlet>,
    labels: Vec<(ChannelId, Arc<str>)>,
    largest: usize,
    gate: Gate,
    path: Option<Path>,
    answered: Option<Instant>,
    heard: Option<Instant>,
    connected: bool,
}

impl Transport {
    /// Prepare a transport.
    pub fn new(id: TransportId, lite: bool, recipe: Arc<Recipe>, counters: Arc<Counters>, now: Instant) -> Self {
        let creds = recipe.creds();
        let driver = Driver::new(recipe.rtc(lite, &creds, now), now);
        Self {
            id,
            lite,
            creds,
            recipe,
            driver,
            outputs: Outputs::default(),
            mids: Vec::new(),
            lanes: Lanes::default(),
            written: false,
            candidates: Candidates::default(),
            outlets: vec![Outlet::reliable()],
            labels: Vec::new(),
            largest: LARGEST,
            gate: Gate::new(counters),
            path: None,
            answered: None,
            heard: None,
            connected: false,
        }
    }

    /// The credentials the client proves itself with.
    pub fn creds(&self) -> &IceCreds {
        &self.creds
    }

    /// When [`Transport::advance`] must be called next.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = self.patience()?;
        Some(self.driver.deadline().min(patience))
    }

    /// When the client's silence ends the transport.
    fn patience(&self) -> Option<Instant> {
        let answered = self.answered?;
        if !self.connected {
            return Some(answered + CONNECT);
        }
        Some(self.heard.unwrap_or(answered).max(answered) + SILENCE)
    }

    /// Move time forward.
    pub fn advance(&mut self, now: Instant, fx: &mut Effects) -> Step {
        if self.patience().is_some_and(|end| end <= now) {
            return Err(match (self.connected, self.heard) {
                (true, _) => Ended::new(Reason::IceTimeout, "no connectivity check from the client"),
                (false, None) => Ended::new(Reason::IceTimeout, "the client never came"),
                (false, Some(_)) => Ended::new(Reason::Dtls, "the handshake did not finish"),
            });
        }
        if self.answered.is_some() && self.driver.deadline() <= now {
            let result = self.driver.advance(now, &mut self.outputs);
            return self.settle(now, fx, result);
        }
        Ok(())
    }

    /// Answer an offer. The inner error leaves the transport as it was.
    pub fn offer(
        &mut self,
        now: Instant,
        sdp: &str,
        plans: &Plans,
        fx: &mut Effects,
    ) -> Result<Result<Answer, String>, Ended> {
        let inspected =
            sdp::inspect(sdp, &self.mids).and_then(|sections| sdp::check_plans(&sections, plans).map(|()| sections));
        let sections = match inspected {
            Ok(sections) => sections,
            Err(reason) => return Ok(Err(reason)),
        };
        let (edited, candidates) = separate(sdp);
        let offer = match SdpOffer::from_sdp_string(&sdp::edit_offer(&edited)) {
            Ok(offer) => offer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let lanes = &mut self.lanes;
        let mids = sections.iter().filter(|section| section.kind != "application");
        let mids = mids.map(|section| Mid::from(section.mid.as_str()));
        let accepted = self.driver.change(now, &mut self.outputs, |rtc| {
            let removed = lanes.vacate(plans, rtc);
            let answer = match rtc.sdp_api().accept_offer(offer) {
                Ok(answer) => answer.to_sdp_string(),
                Err(error) => {
                    lanes.restore(removed, rtc);
                    return Err(error);
                }
            };
            lanes.settle(mids, plans, rtc, random);
            Ok::<_, str0m::RtcError>((answer, rtc.direct_api().local_ice_credentials()))
        });
        let (answer, creds) = match accepted.and_then(|accepted| accepted) {
            Ok(accepted) => accepted,
            Err(error) => return self.refused(now, &error.to_string()),
        };
        self.renew_creds(now, creds)?;
        self.mids = sections.iter().map(|section| section.mid.clone()).collect();
        self.largest = sdp::max_message(sdp).min(LARGEST);
        if self.answered.is_none() || !self.connected {
            self.answered = Some(now);
        }
        let edited = sdp::edit_answer(&answer, (&self.creds.ufrag, &self.creds.pass), |mid| {
            plans.get(mid).cloned().unwrap_or(Plan::Inactive)
        });
        self.offered_candidates(now, &candidates)?;
        self.settle(now, fx, Ok(()))?;
        Ok(Ok(Answer { sdp: edited, sections }))
    }

    /// str0m refused an offer that looked fine. It may have changed half of its state.
    fn refused(&mut self, now: Instant, reason: &str) -> Result<Result<Answer, String>, Ended> {
        if self.answered.is_none() {
            self.outputs = Outputs::default();
            self.driver = Driver::new(self.recipe.rtc(self.lite, &self.creds, now), now);
        } else if !self.driver.is_alive() {
            return Err(Ended::new(Reason::Dtls, reason));
        }
        Ok(Err(reason.to_owned()))
    }

    /// After an ICE restart str0m has made credentials from a generator that is not meant for secrets.
    fn renew_creds(&mut self, now: Instant, creds: IceCreds) -> Step {
        if creds == self.creds {
            return Ok(());
        }
        self.candidates.restart();
        self.creds = self.recipe.creds();
        let creds = self.creds.clone();
        let change = |rtc: &mut Rtc| rtc.direct_api().set_local_ice_credentials(creds);
        self.driver.change(now, &mut self.outputs, change).map_err(poll_failed)
    }

    /// Take a datagram that is this transport's.
    pub fn receive(&mut self, now: Instant, path: Path, datagram: &[u8], proof: Proof, fx: &mut Effects) -> Step {
        if self.answered.is_none() {
            return Ok(());
        }
        if let Proof::Verified { chosen } = proof {
            self.heard = Some(now);
            if chosen && self.lite {
                self.path = Some(path);
            }
        }
        if self.gate.admits(path, datagram) { self.take(now, path, datagram, fx) } else { Ok(()) }
    }

    fn take(&mut self, now: Instant, path: Path, datagram: &[u8], fx: &mut Effects) -> Step {
        let Ok(receive) = Receive::new(Protocol::Udp, path.remote, path.local, datagram) else {
            fx.counters.packets_refused.add(1);
            return Ok(());
        };
        let result = self.driver.receive(now, receive, &mut self.outputs).map(|handled| {
            if handled.is_err() {
                fx.counters.packets_refused.add(1);
            }
        });
        self.settle(now, fx, result)
    }

    /// Python has caught up: take what was held back.
    pub fn resume(&mut self, now: Instant, fx: &mut Effects) -> Step {
        while let Some((path, datagram)) = self.gate.release() {
            self.take(now, path, &datagram, fx)?;
        }
        Ok(())
    }

    /// Queue a message and send what can be sent.
    pub fn send(&mut self, now: Instant, label: &str, payload: Bytes, limit: usize, fx: &mut Effects) -> Step {
        if payload.len() > self.largest {
            fx.counters.messages_refused.add(1);
            return Ok(());
        }
        let outlet = self.outlets.iter_mut().find(|outlet| &*outlet.label == label);
        match outlet.map_or(Fate::Dropped, |outlet| outlet.push(payload)) {
            Fate::Dropped => fx.counters.lossy_dropped.add(1),
            Fate::Accepted => self.settle(now, fx, Ok(()))?,
        }
        let waiting: usize = self.outlets.iter().map(Outlet::queued).sum();
        if waiting > limit {
            return Err(Ended::new(Reason::Overflow, format!("{waiting} bytes wait for the client")));
        }
        Ok(())
    }

    /// Flush what can be flushed at once and say goodbye to the client.
    pub fn close(&mut self, now: Instant, fx: &mut Effects) {
        // Whatever fails now has no one left to tell.
        if self.answered.is_some() && self.driver.is_alive() {
            let _ = self.settle(now, fx, Ok(()));
            let _ = self.driver.change(now, &mut self.outputs, |rtc| rtc.close());
            self.post(fx);
        }
    }

    /// Bring events out, write what waits, and find out whether the transport lives on.
    fn settle(&mut self, now: Instant, fx: &mut Effects, result: Result<(), str0m::RtcError>) -> Step {
        let mut ended = result.map_err(poll_failed);
        loop {
            for event in std::mem::take(&mut self.outputs.events) {
                let handled = self.handle(now, event, fx);
                ended = ended.and(handled);
            }
            if ended.is_err() || !self.flush(now, fx).inspect_err(|error| ended = Err(error.clone())).unwrap_or(false) {
                break;
            }
        }
        self.post(fx);
        if ended.is_ok() && !self.driver.is_alive() {
            return Err(Ended::new(Reason::Dtls, "the connection ended"));
        }
        ended
    }

    /// Hand datagrams over. Everything but STUN goes where the client last asked for it: str0m stays with a
    /// nominated pair of the same priority until it has been dead for long (RFC 8445 section 8.3 leaves it open).
    fn post(&mut self, fx: &mut Effects) {
        if let Some(path) = self.path {
            for packet in self.outputs.packets.iter_mut().filter(|packet| !is_stun(&packet.contents)) {
                packet.destination = path.remote;
                packet.source = path.local;
            }
        }
        fx.packets.append(&mut self.outputs.packets);
    }

    /// Write one burst to every channel that can take it. True: something was written.
    fn flush(&mut self, now: Instant, fx: &mut Effects) -> Result<bool, Ended> {
        let mut any = false;
        for outlet in self.outlets.iter_mut().filter(|outlet| outlet.is_ready()) {
            let flush = |rtc: &mut Rtc| outlet.flush(now, rtc);
            let (written, dropped) = self.driver.change(now, &mut self.outputs, flush).map_err(poll_failed)?;
            fx.counters.messages_out.add(written);
            fx.counters.lossy_dropped.add(dropped);
            any |= written > 0;
        }
        Ok(any || !self.outputs.events.is_empty())
    }

    fn handle(&mut self, now: Instant, event: str0m::Event, fx: &mut Effects) -> Step {
        let transport = self.id;
        match event {
            str0m::Event::Connected if !self.connected => {
                self.connected = true;
                fx.events.push(Event::Connected(transport));
            }
            str0m::Event::RtpPacket(packet) => return self.media_in(now, packet, fx),
            str0m::Event::KeyframeRequest(request) => fx.keyframes.push(request.mid),
            str0m::Event::ChannelOpen(id, label) => return self.channel_open(now, id, &label, fx),
            str0m::Event::ChannelClose(id) => {
                self.labels.retain(|(open, _)| *open != id);
                if let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.id == Some(id)) {
                    outlet.close();
                    fx.events.push(Event::ChannelClosed { transport, label: outlet.label.clone() });
                }
            }
            str0m::Event::ChannelData(data) => {
                if let Some((_, label)) = self.labels.iter().find(|(open, _)| *open == data.id) {
                    self.gate.backlog.add(data.data.len());
                    fx.counters.messages_in.add(1);
                    let (label, backlog) = (label.clone(), self.gate.backlog.clone());
                    fx.events.push(Event::Data { transport, label, payload: data.data, backlog });
                }
            }
            str0m::Event::Closed => return Err(Ended::new(Reason::Dtls, "the client closed the connection")),
            _ => {}
        }
        Ok(())
    }

    /// A second channel of the same label takes over what is sent; both are heard.
    fn channel_open(&mut self, now: Instant, id: ChannelId, label: &str, fx: &mut Effects) -> Step {
        if self.labels.len() >= MAX_CHANNELS || self.outlets.len() > MAX_CHANNELS {
            return Err(Ended::new(Reason::Dtls, "the client opened too many data channels"));
        }
        let found = self.outlets.iter().position(|outlet| &*outlet.label == label);
        let index = found.unwrap_or_else(|| {
            self.outlets.push(Outlet::opened(label.into()));
            self.outlets.len() - 1
        });
        let outlet = &mut self.outlets[index];
        let open = |rtc: &mut Rtc| outlet.open(id, rtc);
        self.driver.change(now, &mut self.outputs, open).map_err(poll_failed)?;
        let label = outlet.label.clone();
        self.labels.push((id, label.clone()));
        fx.events.push(Event::ChannelOpened { transport: self.id, label });
        Ok(())
    }
}

/// Where a stream's numbers begin need not be secret, only different each time.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

fn poll_failed(error: str0m::RtcError) -> Ended {
    Ended::new(Reason::Dtls, error.to_string())
}
