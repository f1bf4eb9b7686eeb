//! One client: from dialling, through the join and the negotiation, to audio that flows.

use std::time::{Duration, Instant};

use mio::{Registry, Token};

use crate::line::Line;
use crate::order::{Order, Part, Subscribe};
use crate::peer::{Kit, News};
use crate::signal::{self, Reader, Said};
use crate::socket::{Call, Socket};

/// How often a client shows that it is there.
const PING: Duration = Duration::from_secs(5);
/// What a client calls its track before the server has named it.
const MIC: &str = "TR_microphone";

/// What a client may use that is not its own.
#[derive(Debug)]
pub struct World<'a> {
    /// The run.
    pub order: &'a Order,
    /// What peers share.
    pub kit: &'a Kit,
    /// Where sockets are registered.
    pub registry: &'a Registry,
    /// Tokens of this client's TCP and UDP sockets.
    pub tokens: (Token, Token),
}

/// When a client got where, from the moment it dialled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// It was let in and had its first answer.
    pub answered: Option<Duration>,
    /// ICE and DTLS were complete.
    pub connected: Option<Duration>,
    /// It heard everybody it should.
    pub heard: Option<Duration>,
}

/// A client in a room, or on its way there.
#[derive(Debug)]
pub struct Client {
    /// Its peer.
    pub line: Line,
    /// When it got where.
    pub times: Times,
    socket: Socket,
    began: Instant,
    reader: Reader,
    speaks: bool,
    subscribe: Subscribe,
    voices: usize,
    size: usize,
    period: Duration,
    asked: usize,
    joined: bool,
    /// Sections to offer, whether the microphone is among them, and whether to offer at all.
    wished: (usize, bool, bool),
    speak_at: Option<Instant>,
    ping_at: Instant,
}

impl Client {
    /// Dial. `start` is when the first period of all publishers began.
    pub fn dial(part: &Part, world: &World<'_>, start: Instant) -> Result<Self, String> {
        let World { order, kit, registry, tokens: (tcp, udp) } = *world;
        let now = Instant::now();
        let host = order.server.ip();
        let opened = Line::open(kit, part.index, host, order.sections, (registry, udp), now);
        let (line, offer) = opened.map_err(|error| error.to_string())?;
        let path = signal::join_path(offer, part.subscribe == Subscribe::All);
        let token = signal::token(&order.key, &order.secret, &part.who);
        let call = Call { server: order.server, host: &order.host, path: &path, token: &token };
        let socket = Socket::dial(&call, (registry, tcp))?;
        let period = Duration::from_secs_f64(1.0 / order.rate);
        Ok(Self {
            line,
            times: Times::default(),
            socket,
            began: now,
            reader: Reader::default(),
            speaks: part.speaks,
            subscribe: part.subscribe,
            voices: part.voices,
            size: order.size,
            period,
            asked: 0,
            joined: false,
            wished: (0, false, false),
            speak_at: part.speaks.then(|| after(start + period.mul_f64(part.phase), period, now)),
            ping_at: now + PING,
        })
    }

    /// Whether it is in, connected, and has its microphone if it has one.
    pub fn is_settled(&self) -> bool {
        self.times.connected.is_some() && (!self.speaks || self.line.peer.may_speak())
    }

    /// Whether it hears everybody it should.
    pub fn hears_all(&self) -> bool {
        self.is_settled() && self.times.heard.is_some()
    }

    /// When [`Client::advance`] must be called next.
    pub fn deadline(&self) -> Instant {
        let deadline = self.line.peer.deadline().min(self.ping_at);
        self.speak_at.map_or(deadline, |at| at.min(deadline))
    }

    /// The poller has seen something on the WebSocket.
    pub fn signalled(&mut self, now: Instant) -> Result<(), String> {
        let mut frames = Vec::new();
        let read = self.socket.advance(|frame| frames.push(frame.to_vec()));
        for frame in frames {
            self.hear(now, &frame)?;
        }
        read?;
        self.settle(now)
    }

    /// The poller has seen something on the UDP socket.
    pub fn received(&mut self, now: Instant) -> Result<(), String> {
        self.line.receive(now).map_err(|error| error.to_string())?;
        self.settle(now)
    }

    /// Do what is due.
    pub fn advance(&mut self, now: Instant) -> Result<(), String> {
        let peer = &mut self.line.peer;
        if peer.deadline() <= now {
            peer.advance(now).map_err(|error| error.to_string())?;
        }
        while let Some(at) = self.speak_at.filter(|at| *at <= now) {
            if peer.may_speak() {
                peer.speak(now, self.size, self.period).map_err(|error| error.to_string())?;
            }
            self.speak_at = Some(at + self.period);
        }
        if self.ping_at <= now && self.joined {
            self.ping_at = now + PING;
            self.socket.send(signal::ping())?;
        }
        self.settle(now)
    }

    /// Leave as SDKs do: the connection first, then the goodbye.
    pub fn leave(&mut self, now: Instant, registry: &Registry) {
        self.line.peer.close(now);
        self.line.flush();
        self.line.close(registry);
        if self.joined {
            // A server that is gone needs no goodbye.
            let _ = self.socket.send(signal::leave());
        }
        self.socket.close(registry);
    }

    fn hear(&mut self, now: Instant, frame: &[u8]) -> Result<(), String> {
        match self.reader.read(frame)? {
            Said::Joined => {
                self.joined = true;
                if self.speaks {
                    self.socket.send(signal::add_track(MIC))?;
                }
            }
            Said::Answer(sdp) => {
                self.line.peer.answer(now, &sdp)?;
                self.times.answered.get_or_insert(now - self.began);
            }
            Said::Published => (self.wished.1, self.wished.2) = (true, true),
            Said::Sections(audio) => (self.wished.0, self.wished.2) = (self.wished.0 + audio, true),
            Said::Candidate(line) => self.line.peer.candidate(now, &line)?,
            Said::Leave(reason) => return Err(format!("the server said: leave, {reason}")),
            Said::Refused(reason) => return Err(format!("the server refused a track: {reason}")),
            Said::Nothing => {}
        }
        self.ask_for_tracks()
    }

    fn ask_for_tracks(&mut self) -> Result<(), String> {
        let new = std::mem::take(&mut self.reader.tracks);
        let Subscribe::Some(most) = self.subscribe else { return Ok(()) };
        let wanted: Vec<String> = new.into_iter().take(most.saturating_sub(self.asked)).collect();
        self.asked += wanted.len();
        if wanted.is_empty() { Ok(()) } else { self.socket.send(signal::subscribe(wanted)) }
    }

    fn settle(&mut self, now: Instant) -> Result<(), String> {
        if self.wished.2 && self.times.answered.is_some() {
            let (audio, mic, _) = self.wished;
            let offer = self.line.peer.offer(now, audio, mic.then_some(MIC)).map_err(|error| error.to_string())?;
            if let Some(sdp) = offer {
                self.wished = (0, false, false);
                self.socket.send(signal::offer(sdp))?;
            }
        }
        self.line.flush();
        let mut lost = false;
        for news in self.line.peer.news() {
            match news {
                News::Connected => drop(self.times.connected.get_or_insert(now - self.began)),
                News::Closed => lost = true,
                _ => {}
            }
        }
        if lost || !self.line.peer.is_alive() {
            return Err("media was lost".into());
        }
        if self.times.heard.is_none() && self.line.peer.meter.voices() >= self.voices {
            self.times.heard = Some(now - self.began);
        }
        Ok(())
    }
}

/// The first moment after `now` that is a whole number of periods after `start`.
fn after(start: Instant, period: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(start).as_secs_f64() / period.as_secs_f64();
    start + period.mul_f64(passed.ceil())
}
