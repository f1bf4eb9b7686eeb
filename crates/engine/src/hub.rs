//! All transports of one media thread, without sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::TransportId;
use crate::config::MAX_TRANSPORTS;
use crate::demux::{Demux, Route};
use crate::event::{Command, Event, Reason};
use crate::fault;
use crate::gate::Path;
use crate::recipe::Recipe;
use crate::stats::Counters;
use crate::timers::Timers;
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
    counters: Arc<Counters>,
}

impl Hub {
    /// Create a hub without transports.
    pub fn new(recipe: Recipe, send_buffer: usize, counters: Arc<Counters>) -> Self {
        Self {
            effects: Effects { packets: Vec::new(), events: Vec::new(), counters: counters.clone() },
            recipe: Arc::new(recipe),
            send_buffer,
            transports: HashMap::new(),
            demux: Demux::new(),
            timers: Timers::new(),
            counters,
        }
    }

    /// When [`Hub::advance`] must be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Carry out a command.
    pub fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Create { transport, lite } => self.create(now, transport, lite),
            Command::Offer { request, transport, sdp } => self.offer(now, request, transport, &sdp),
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

    /// Let time pass.
    pub fn advance(&mut self, now: Instant) {
        while let Some(transport) = self.timers.pop(now) {
            self.step(now, transport, |transport, fx| transport.advance(now, fx));
        }
    }

    /// Drop every transport without a word to its client. Returns their numbers.
    pub fn forget(&mut self) -> Vec<TransportId> {
        let ids = self.ids();
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

    fn offer(&mut self, now: Instant, request: u64, id: TransportId, sdp: &str) {
        let mut answer = Err("the transport ended while its offer was answered".to_owned());
        if self.transports.contains_key(&id) {
            self.step(now, id, |transport, fx| {
                answer = transport.offer(now, sdp, fx)?;
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
        }
    }

    /// Run one step of a transport, and end it if the step says so or panics.
    fn step(
        &mut self,
        now: Instant,
        id: TransportId,
        step: impl FnOnce(&mut Transport, &mut Effects) -> Result<(), Ended>,
    ) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let fx = &mut self.effects;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            step(transport, fx)?;
            Ok::<_, Ended>(transport.deadline())
        }));
        match outcome {
            Ok(Ok(deadline)) => {
                if let Some(deadline) = deadline {
                    self.timers.schedule(id, deadline);
                }
            }
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
    }

    fn remove(&mut self, id: TransportId) -> Option<Transport> {
        let transport = self.transports.remove(&id)?;
        self.demux.leave(id);
        self.timers.cancel(id);
        self.counters.transports.set(self.transports.len());
        self.counters.addresses.set(self.demux.len());
        Some(transport)
    }

    fn report(&mut self, transport: TransportId, reason: Reason, detail: &str) {
        self.effects.events.push(Event::Closed { transport, reason, detail: detail.to_owned() });
    }
}
