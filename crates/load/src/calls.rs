//! A few peers on one loop, for a program that does the signalling itself.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use greenroom_engine::timers::Timers;
use mio::{Events, Poll, Token};

use crate::line::Line;
use crate::peer::{Kit, News, Sections};

/// The number of a call.
pub type CallId = u32;

/// How a call's audio is sent.
#[derive(Debug, Clone, Copy)]
struct Voice {
    size: usize,
    period: Duration,
    next: Instant,
}

/// A call's audio in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Packets it sent.
    pub sent: u64,
    /// Packets of other calls of the same program that came.
    pub received: u64,
    /// Those that did not, between others that did.
    pub lost: u64,
    /// Packets of anybody else that came.
    pub strange: u64,
    /// The median of the time they took.
    pub latency: Option<Duration>,
}

#[derive(Debug)]
struct Call {
    line: Line,
    voice: Option<Voice>,
}

/// Peers and the loop that serves them. Nothing moves but inside [`Calls::run`].
#[derive(Debug)]
pub struct Calls {
    kit: Kit,
    poll: Poll,
    events: Events,
    calls: BTreeMap<CallId, Call>,
    timers: Timers<CallId>,
    news: Vec<(CallId, News)>,
    last: CallId,
}

impl Calls {
    /// Make a loop without calls.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            kit: Kit::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(64),
            calls: BTreeMap::new(),
            timers: Timers::new(),
            news: Vec::new(),
            last: 0,
        })
    }

    /// Begin a call to a server at `host`. Returns its number, which stands in its stamps too, and its first offer.
    pub fn open(&mut self, host: IpAddr, sections: Sections) -> io::Result<(CallId, String)> {
        let now = Instant::now();
        let id = self.last + 1;
        let place = (self.poll.registry(), Token(id as usize));
        let (line, offer) = Line::open(&self.kit, id, host, sections, place, now)?;
        self.last = id;
        self.calls.insert(id, Call { line, voice: None });
        Ok((id, offer))
    }

    /// Offer again: see [`crate::peer::Peer::offer`].
    pub fn offer(&mut self, id: CallId, audio: usize, mic: Option<&str>) -> Result<Option<String>, String> {
        let call = self.call(id)?;
        call.line.peer.offer(Instant::now(), audio, mic).map_err(|error| error.to_string())
    }

    /// Take the server's answer.
    pub fn answer(&mut self, id: CallId, sdp: &str) -> Result<(), String> {
        self.act(id, |call, now| call.line.peer.answer(now, sdp))
    }

    /// Take a candidate of the server.
    pub fn candidate(&mut self, id: CallId, line: &str) -> Result<(), String> {
        self.act(id, |call, now| call.line.peer.candidate(now, line))
    }

    /// Speak `size` bytes every `period` from now on, as soon as the server lets it.
    pub fn speak(&mut self, id: CallId, size: usize, period: Duration) -> Result<(), String> {
        self.act(id, |call, now| {
            call.voice = Some(Voice { size, period, next: now });
            Ok(())
        })
    }

    /// Send a message: see [`crate::peer::Peer::send`].
    pub fn send(&mut self, id: CallId, label: &str, payload: &[u8]) -> Result<bool, String> {
        self.act(id, |call, now| call.line.peer.send(now, label, payload).map_err(|error| error.to_string()))
    }

    /// What a call has sent and received so far.
    pub fn heard(&self, id: CallId) -> Option<Heard> {
        let peer = &self.calls.get(&id)?.line.peer;
        Some(Heard {
            sent: peer.spoken,
            received: peer.meter.received(),
            lost: peer.meter.receptions.iter().map(|known| known.lost()).sum(),
            strange: peer.meter.strange,
            latency: peer.meter.latency.quantile(0.5).map(Duration::from_micros),
        })
    }

    /// Tell the server's side and forget the call.
    pub fn close(&mut self, id: CallId) {
        if let Some(mut call) = self.calls.remove(&id) {
            call.line.peer.close(Instant::now());
            call.line.flush();
            call.line.close(self.poll.registry());
            self.timers.cancel(id);
        }
    }

    /// Serve all calls for `time`, or until there is news. Returns the news.
    pub fn run(&mut self, time: Duration) -> io::Result<Vec<(CallId, News)>> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            self.advance(now);
            if now >= end || !self.news.is_empty() {
                return Ok(std::mem::take(&mut self.news));
            }
            let wake = self.timers.next().map_or(end, |next| next.min(end));
            match self.poll.poll(&mut self.events, Some(wake.saturating_duration_since(now))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let now = Instant::now();
            let due: Vec<CallId> = self.events.iter().map(|event| event.token().0 as CallId).collect();
            for id in due {
                let received = self.calls.get_mut(&id).map(|call| call.line.receive(now).is_ok());
                self.settle(id, received.unwrap_or(true));
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        while let Some(id) = self.timers.pop(now) {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let mut fine = call.line.peer.deadline() > now || call.line.peer.advance(now).is_ok();
            if let Some(voice) = call.voice.as_mut().filter(|voice| voice.next <= now) {
                let ready = call.line.peer.may_speak();
                fine = fine && (!ready || call.line.peer.speak(now, voice.size, voice.period).is_ok());
                // What was missed while nothing ran is not made up for.
                voice.next = (voice.next + voice.period).max(now);
            }
            self.settle(id, fine);
        }
    }

    fn act<R>(&mut self, id: CallId, act: impl FnOnce(&mut Call, Instant) -> Result<R, String>) -> Result<R, String> {
        let result = act(self.call(id)?, Instant::now());
        self.settle(id, true);
        result
    }

    fn call(&mut self, id: CallId) -> Result<&mut Call, String> {
        self.calls.get_mut(&id).ok_or_else(|| format!("there is no call {id}"))
    }

    /// Send, listen to what happened and set the timer; a call that failed is closed.
    fn settle(&mut self, id: CallId, fine: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.line.flush();
        self.news.extend(call.line.peer.news().map(|news| (id, news)));
        if !fine || !call.line.peer.is_alive() {
            self.news.push((id, News::Closed));
            self.close(id);
            return;
        }
        let deadline = call.line.peer.deadline();
        let next = call.voice.map_or(deadline, |voice| voice.next.min(deadline));
        self.timers.schedule(id, next);
    }
}
