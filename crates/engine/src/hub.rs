//! All transports of one media thread, without sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use str0m::media::Mid;

use crate::TransportId;
use crate::config::MAX_TRANSPORTS;
use crate::demux::{Demux, Route};
use crate::event::{Command, Event, Reason};
use crate::fault;
use crate::forward::Media;
use crate::gate::Path;
use crate::recipe::Recipe;
use crate::sdp::Plans;
use crate::stats::Counters;
use crate::timers::Timers;
use crate::tracks::{Place, Tracks};
use crate::transport::{Effects, Ended, Proof, Transport};

/// Feeds datagrams, commands and time to transports and collects what they want sent and told.
///
/// A panic in a transport costs that transport: it is caught here, reported as [`Reason::Fault`], and the
/// transport is dropped.
#[derive(Debug)]
pub struct Hub {
    /// What has to be sent and told. The caller empties it.
    pub effects: Effects,
    recipe: Arc<Recipe>,
    send_buffer: usize,
    transports: HashMap<TransportId, Transport>,
    demux: Demux,
    timers: Timers<TransportId>,
    tracks: Tracks,
    /// Transports with RTP that [`Hub::flush`] has to send.
    written: Vec<TransportId>,
    /// Receivers of the packet at hand.
    receivers: Vec<Place>,
    counters: Arc<Counters>,
}

impl Hub {
    /// Create a hub without transports.
    pub fn new(recipe: Recipe, send_buffer: usize, counters: Arc<Counters>) -> Self {
        Self {
            effects: Effects {
                packets: Vec::new(),
                events: Vec::new(),
                media: Vec::new(),
                keyframes: Vec::new(),
                counters: counters.clone(),
            },
            recipe: Arc::new(recipe),
            send_buffer,
            transports: HashMap::new(),
            demux: Demux::new(),
            timers: Timers::new(),
            tracks: Tracks::new(),
            written: Vec::new(),
            receivers: Vec::new(),
            counters,
        }
    }

    /// When [`Hub::advance`] must be called next.
    pub fn deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.tracks.deadline()].into_iter().flatten().min()
    }

    /// Carry out a command.
    pub fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Create { transport, lite } => self.create(now, transport, lite),
            Command::Offer { request, transport, sdp, plans } => self.offer(now, request, transport, &sdp, &plans),
            Command::Candidate { transport, candidate } => {
                self.step(now, transport, |transport, fx| transport.candidate(now, &candidate, fx));
            }
            Command::Send { transports, label, payload } => {
                let limit = self.send_buffer;
                for id in transports {
                    let payload = payload.clone();
                    self.step(now, id, |transport, fx| transport.send(now, &label, payload, limit, fx));
                }
            }
            Command::Close(transport) => self.close(now, transport),
            Command::Resume(transport) => {
                self.step(now, transport, |transport, fx| transport.resume(now, fx));
            }
            Command::Publish { track, transport, mid } => {
                if self.transports.contains_key(&transport) {
                    self.tracks.publish(track, (transport, Mid::from(mid.as_str())));
                }
            }
            Command::Unpublish(track) => self.tracks.unpublish(track),
            Command::Forward { track, transport, mid } => {
                let place = (transport, Mid::from(mid.as_str()));
                if self.transports.contains_key(&transport) && self.tracks.forward(track, place) {
                    self.interrupt(now, &[place]);
                }
            }
            Command::Unforward { transport, mid } => self.tracks.unforward((transport, Mid::from(mid.as_str()))),
            Command::Pause { transport, mid, paused } => {
                let place = (transport, Mid::from(mid.as_str()));
                if self.tracks.pause(place, paused) {
                    self.interrupt(now, &[place]);
                }
            }
            Command::Mute { track, muted } => {
                let places = self.tracks.mute(track, muted).to_vec();
                self.interrupt(now, &places);
            }
            Command::Stop => {
                for transport in self.ids() {
                    self.close(now, transport);
                }
            }
            #[cfg(any(test, feature = "faults"))]
            Command::Break(transport) => self.step(now, transport, |_, _| panic!("broken on purpose")),
        }
    }

    /// Take a datagram that came from `source` to the candidate `destination`.
    pub fn receive(&mut self, now: Instant, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        self.counters.packets_in.add(1);
        self.counters.bytes_in.add(datagram.len());
        let route = catch_unwind(AssertUnwindSafe(|| self.demux.route(now, source, datagram)));
        let (transport, proof) = match route {
            Ok(Route::Verified { transport, chosen }) => (transport, Proof::Verified { chosen }),
            Ok(Route::Known(transport)) => (transport, Proof::Address),
            Ok(Route::Nowhere) | Err(_) => return self.counters.packets_unroutable.add(1),
        };
        self.counters.addresses.set(self.demux.len());
        let path = Path { remote: source, local: destination };
        self.step(now, transport, |transport, fx| transport.receive(now, path, datagram, proof, fx));
    }

    /// Send the RTP that [`Hub::receive`] has forwarded. Must follow it, after one datagram or a batch.
    pub fn flush(&mut self, now: Instant) {
        let mut written = std::mem::take(&mut self.written);
        for transport in written.drain(..) {
            self.step(now, transport, |transport, fx| transport.send_media(now, fx));
        }
        self.written = written;
    }

    /// Let time pass.
    pub fn advance(&mut self, now: Instant) {
        self.tracks.advance(now, &mut self.effects.events);
        while let Some(transport) = self.timers.pop(now) {
            self.step(now, transport, |transport, fx| transport.advance(now, fx));
        }
    }

    /// Drop every transport without a word to its client. Returns their numbers.
    pub fn forget(&mut self) -> Vec<TransportId> {
        let ids = self.ids();
        self.effects.media.clear();
        self.effects.keyframes.clear();
        for &id in &ids {
            let transport = self.remove(id);
            let _ = catch_unwind(AssertUnwindSafe(move || drop(transport)));
        }
        ids
    }

    fn ids(&self) -> Vec<TransportId> {
        self.transports.keys().copied().collect()
    }

    fn create(&mut self, now: Instant, id: TransportId, lite: bool) {
        self.close(now, id);
        if self.transports.len() >= MAX_TRANSPORTS {
            return self.report(id, Reason::Overflow, "too many transports");
        }
        let (recipe, counters) = (self.recipe.clone(), self.counters.clone());
        match catch_unwind(AssertUnwindSafe(|| Transport::new(id, lite, recipe, counters, now))) {
            Ok(transport) => {
                self.demux.enter(id, transport.creds().clone());
                self.transports.insert(id, transport);
                self.counters.transports.set(self.transports.len());
            }
            Err(panic) => {
                self.counters.faults.add(1);
                self.report(id, Reason::Fault, &fault::describe(&*panic));
            }
        }
    }

    fn offer(&mut self, now: Instant, request: u64, id: TransportId, sdp: &str, plans: &Plans) {
        let mut answer = Err("the transport ended while its offer was answered".to_owned());
        if self.transports.contains_key(&id) {
            self.step(now, id, |transport, fx| {
                answer = transport.offer(now, sdp, plans, fx)?;
                Ok(())
            });
        } else {
            answer = Err(format!("there is no transport {id}"));
        }
        if let Some(transport) = self.transports.get(&id) {
            self.demux.enter(id, transport.creds().clone());
        }
        self.effects.events.push(Event::Answered { request, answer });
    }

    fn close(&mut self, now: Instant, id: TransportId) {
        if let Some(mut transport) = self.remove(id) {
            let fx = &mut self.effects;
            let closed = catch_unwind(AssertUnwindSafe(move || transport.close(now, fx)));
            self.counters.faults.add(usize::from(closed.is_err()));
            // What it still received has no track any more.
            self.effects.media.clear();
            self.effects.keyframes.clear();
        }
    }

    /// Pass on the RTP and the wishes for key frames that a step of `from` has brought out.
    fn relay(&mut self, now: Instant, from: TransportId) {
        let mut arrived = std::mem::take(&mut self.effects.media);
        for (mid, params, packet) in arrived.drain(..) {
            let events = &mut self.effects.events;
            let Some((track, receivers)) = self.tracks.arrive(now, (from, mid), &packet, &params, events) else {
                continue;
            };
            let mut receivers_now = std::mem::take(&mut self.receivers);
            receivers_now.extend_from_slice(receivers);
            let media = Media::new(track, packet, params);
            for (id, mid) in receivers_now.drain(..) {
                let write = |to: &mut Transport, fx: &mut Effects| Ok(to.forward(now, mid, &media, fx));
                if self.guarded(now, id, write) == Some(true) {
                    self.written.push(id);
                }
            }
            self.receivers = receivers_now;
        }
        self.effects.media = arrived;
        for mid in std::mem::take(&mut self.effects.keyframes) {
            self.ask_keyframe(now, (from, mid));
        }
    }

    fn ask_keyframe(&mut self, now: Instant, place: Place) {
        if let Some(wish) = self.tracks.keyframe(now, place) {
            self.step(now, wish.transport, |transport, fx| transport.request_keyframe(now, wish.ssrc, fx));
        }
    }

    /// What these sections send next does not join on to what they sent before.
    fn interrupt(&mut self, now: Instant, places: &[Place]) {
        for &(id, mid) in places {
            if let Some(transport) = self.transports.get_mut(&id) {
                transport.interrupt(mid);
                self.ask_keyframe(now, (id, mid));
            }
        }
    }

    /// Run one step of a transport and what follows from it for others.
    fn step(
        &mut self,
        now: Instant,
        id: TransportId,
        step: impl FnOnce(&mut Transport, &mut Effects) -> Result<(), Ended>,
    ) {
        let stepped = |transport: &mut Transport, fx: &mut Effects| {
            step(transport, fx)?;
            Ok(transport.deadline())
        };
        if let Some(Some(deadline)) = self.guarded(now, id, stepped) {
            self.timers.schedule(id, deadline);
        }
        if !(self.effects.media.is_empty() && self.effects.keyframes.is_empty()) {
            self.relay(now, id);
        }
    }

    /// Do something with a transport, and end it if the outcome says so or on a panic.
    fn guarded<R>(
        &mut self,
        now: Instant,
        id: TransportId,
        act: impl FnOnce(&mut Transport, &mut Effects) -> Result<R, Ended>,
    ) -> Option<R> {
        let transport = self.transports.get_mut(&id)?;
        let fx = &mut self.effects;
        match catch_unwind(AssertUnwindSafe(|| act(transport, fx))) {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(ended)) => {
                self.close(now, id);
                self.report(id, ended.reason, &ended.detail);
            }
            Err(panic) => {
                self.counters.faults.add(1);
                let transport = self.remove(id);
                // What a panic left behind may panic again when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(move || drop(transport)));
                self.report(id, Reason::Fault, &fault::describe(&*panic));
            }
        }
        None
    }

    fn remove(&mut self, id: TransportId) -> Option<Transport> {
        let transport = self.transports.remove(&id)?;
        self.demux.leave(id);
        self.timers.cancel(id);
        self.tracks.close(id);
        self.counters.transports.set(self.transports.len());
        self.counters.addresses.set(self.demux.len());
        Some(transport)
    }

    fn report(&mut self, transport: TransportId, reason: Reason, detail: &str) {
        self.effects.events.push(Event::Closed { transport, reason, detail: detail.to_owned() });
    }
}
