//! Thousands of clients on a few threads, and what they measured.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenroom_engine::timers::Timers;
use mio::{Events, Poll, Token, Waker};
use serde::Serialize;

use crate::client::{Client, World};
use crate::meter::Histogram;
use crate::order::{Order, Part};
use crate::peer::Kit;

/// What woke a thread: its master. Clients have two tokens each from 0.
const MASTER: Token = Token(usize::MAX);
/// How often the master looks.
const GLANCE: Duration = Duration::from_millis(5);

/// Milliseconds, over all clients.
#[derive(Debug, Default, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Histogram> for Spread {
    fn from(histogram: &Histogram) -> Self {
        let millis = |fraction| histogram.quantile(fraction).unwrap_or_default() as f64 / 1000.0;
        Self { count: histogram.count(), p50: millis(0.5), p99: millis(0.99), max: histogram.max() as f64 / 1000.0 }
    }
}

/// What a run tells.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// Everybody is in and heard, or the patience is over.
    Ready {
        /// Clients that are in and hear all they should.
        ready: usize,
        /// Clients of the run.
        clients: usize,
        /// Since the first one dialled.
        seconds: f64,
        /// Joins, those of later cycles included.
        joins: u64,
        /// From dialling to the answer.
        signalling_ms: Spread,
        /// From dialling to ICE and DTLS complete.
        connected_ms: Spread,
        /// From dialling to the first packet of everybody.
        heard_ms: Spread,
        /// Clients that failed, by reason.
        failures: BTreeMap<String, usize>,
    },
    /// The measurement begins now.
    Measuring {
        /// How long it takes.
        seconds: f64,
    },
    /// The measurement is over.
    Measured(Box<Measured>),
}

/// What a measurement found.
#[derive(Debug, Default, Serialize)]
pub struct Measured {
    /// How long it took.
    pub seconds: f64,
    /// Packets of audio sent by all publishers.
    pub sent: u64,
    /// Packets of audio that came, at all receivers together.
    pub received: u64,
    /// Those that did not, between others that did.
    pub lost: u64,
    /// Those that came after a later one.
    pub late: u64,
    /// Streams (one publisher at one receiver) that were heard, and that should have been.
    pub streams: (usize, usize),
    /// The fewest packets of a stream.
    pub fewest: u64,
    /// From sender to receiver.
    pub latency_ms: Spread,
    /// Processor time of the threads that run the clients.
    pub cpu_seconds: f64,
    /// Clients that failed, by reason.
    pub failures: BTreeMap<String, usize>,
}

enum Word {
    Restart,
    Stop,
}

#[derive(Debug, Default)]
struct Account {
    joins: u64,
    signalling: Histogram,
    connected: Histogram,
    heard: Histogram,
    failures: BTreeMap<String, usize>,
    measured: Measured,
    latency: Histogram,
}

#[derive(Debug, Default)]
struct Shared {
    /// Clients that need no more waiting: ready, or failed.
    done: AtomicUsize,
    ready: AtomicUsize,
    account: Mutex<Account>,
}

/// Run an order and tell what happens.
pub fn run(order: &Order, mut tell: impl FnMut(&Report)) -> io::Result<()> {
    let (parts, kit, began) = (order.parts(), Kit::new(), Instant::now());
    let shared = Arc::new(Shared::default());
    let mut crews = Vec::new();
    for number in 0..order.threads {
        let share: Vec<Part> = parts.iter().skip(number).step_by(order.threads).cloned().collect();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), MASTER)?;
        let (words, heard) = mpsc::channel();
        let mut crew = Crew::new(order.clone(), kit.clone(), share, poll, (heard, shared.clone()), began);
        let handle = thread::Builder::new().name("load".into()).spawn(move || crew.run())?;
        crews.push((words, waker, handle));
    }
    let deadline = began + order.patience;
    while shared.done.load(Relaxed) < parts.len() && Instant::now() < deadline {
        thread::sleep(GLANCE);
    }
    let seconds = began.elapsed().as_secs_f64();
    thread::sleep(order.warm_up);
    let say = |make: fn() -> Word| -> io::Result<()> {
        crews.iter().try_for_each(|(words, waker, _)| {
            // A thread that has ended will be joined.
            let _ = words.send(make());
            waker.wake()
        })
    };
    tell(&shared.joined(parts.len(), seconds));
    say(|| Word::Restart)?;
    let began = Instant::now();
    tell(&Report::Measuring { seconds: order.time.as_secs_f64() });
    thread::sleep(order.time);
    say(|| Word::Stop)?;
    let seconds = began.elapsed().as_secs_f64();
    for (_, _, handle) in crews {
        handle.join().map_err(|_| io::Error::other("a thread of clients panicked"))??;
    }
    tell(&shared.measured(seconds));
    Ok(())
}

impl Shared {
    fn joined(&self, clients: usize, seconds: f64) -> Report {
        let account = self.account.lock().expect("no thread panics with it");
        Report::Ready {
            ready: self.ready.load(Relaxed),
            clients,
            seconds,
            joins: account.joins,
            signalling_ms: (&account.signalling).into(),
            connected_ms: (&account.connected).into(),
            heard_ms: (&account.heard).into(),
            failures: account.failures.clone(),
        }
    }

    fn measured(&self, seconds: f64) -> Report {
        let mut account = self.account.lock().expect("no thread panics with it");
        let failures = std::mem::take(&mut account.failures);
        let latency_ms = (&account.latency).into();
        let measured = std::mem::take(&mut account.measured);
        Report::Measured(Box::new(Measured { seconds, latency_ms, failures, ..measured }))
    }
}

/// A client's place on its thread.
#[derive(Debug)]
struct Seat {
    part: Part,
    client: Option<Client>,
    cycles: usize,
    done: bool,
    /// Whether it counts as joining.
    joining: bool,
    spoken: u64,
}

/// One thread's clients.
struct Crew {
    order: Order,
    kit: Kit,
    seats: Vec<Seat>,
    poll: Poll,
    timers: Timers<usize>,
    words: mpsc::Receiver<Word>,
    shared: Arc<Shared>,
    began: Instant,
    waiting: std::collections::VecDeque<usize>,
    joining: usize,
    cpu: u64,
}

impl Crew {
    fn new(
        order: Order,
        kit: Kit,
        parts: Vec<Part>,
        poll: Poll,
        (words, shared): (mpsc::Receiver<Word>, Arc<Shared>),
        began: Instant,
    ) -> Self {
        let waiting = (0..parts.len()).collect();
        let seat = |part: Part| {
            let cycles = if part.speaks { 0 } else { order.cycles };
            Seat { part, client: None, cycles, done: false, joining: false, spoken: 0 }
        };
        let seats = parts.into_iter().map(seat).collect();
        Self { order, kit, seats, poll, timers: Timers::new(), words, shared, began, waiting, joining: 0, cpu: 0 }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            while self.joining < self.order.joining
                && let Some(index) = self.waiting.pop_front()
            {
                self.dial(index);
            }
            while let Some(index) = self.timers.pop(now) {
                self.act(index, now, |client| if client.deadline() <= now { client.advance(now) } else { Ok(()) });
            }
            let wait = self.timers.next().map(|next| next.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let now = Instant::now();
            let mut called = false;
            for event in &events {
                let (index, udp) = (event.token().0 / 2, event.token().0 % 2 == 1);
                match event.token() {
                    MASTER => called = true,
                    _ if udp => self.act(index, now, |client| client.received(now)),
                    _ => self.act(index, now, |client| client.signalled(now)),
                }
            }
            if called && self.obey() {
                return Ok(());
            }
        }
    }

    fn dial(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let tokens = (Token(index * 2), Token(index * 2 + 1));
        let world = World { order: &self.order, kit: &self.kit, registry: self.poll.registry(), tokens };
        match Client::dial(&seat.part, &world, self.began) {
            Ok(client) => {
                seat.client = Some(client);
                seat.joining = true;
                self.joining += 1;
                self.act(index, Instant::now(), |_| Ok(()));
            }
            Err(reason) => self.fail(index, reason),
        }
    }

    fn act(&mut self, index: usize, now: Instant, act: impl FnOnce(&mut Client) -> Result<(), String>) {
        let Some(client) = &mut self.seats[index].client else { return };
        if let Err(reason) = act(client) {
            return self.fail(index, reason);
        }
        self.timers.schedule(index, client.deadline());
        if self.seats[index].joining && self.seats[index].client.as_ref().is_some_and(Client::is_settled) {
            self.seats[index].joining = false;
            self.joining -= 1;
        }
        if !self.seats[index].done && self.seats[index].client.as_ref().is_some_and(Client::hears_all) {
            self.heard(index, now);
        }
    }

    /// A client hears everybody: it stays, or begins its next cycle.
    fn heard(&mut self, index: usize, now: Instant) {
        let seat = &mut self.seats[index];
        let Some(client) = &mut seat.client else { return };
        let mut account = self.shared.account.lock().expect("no thread panics with it");
        account.joins += 1;
        let Account { signalling, connected, heard, .. } = &mut *account;
        let times = client.times;
        for (histogram, time) in [(signalling, times.answered), (connected, times.connected), (heard, times.heard)] {
            time.iter().for_each(|time| histogram.record(time.as_micros() as u64));
        }
        drop(account);
        if seat.cycles > 0 {
            seat.cycles -= 1;
            client.leave(now, self.poll.registry());
            seat.client = None;
            self.waiting.push_back(index);
        } else {
            seat.done = true;
            self.shared.ready.fetch_add(1, Relaxed);
            self.shared.done.fetch_add(1, Relaxed);
        }
    }

    fn fail(&mut self, index: usize, reason: String) {
        let seat = &mut self.seats[index];
        if let Some(mut client) = seat.client.take() {
            client.leave(Instant::now(), self.poll.registry());
        }
        if std::mem::take(&mut seat.joining) {
            self.joining -= 1;
        }
        if !std::mem::replace(&mut seat.done, true) {
            self.shared.done.fetch_add(1, Relaxed);
        } else {
            self.shared.ready.fetch_sub(1, Relaxed);
        }
        let mut account = self.shared.account.lock().expect("no thread panics with it");
        *account.failures.entry(reason).or_default() += 1;
    }

    /// Do as the master says. True: it is over.
    fn obey(&mut self) -> bool {
        while let Ok(word) = self.words.try_recv() {
            match word {
                Word::Restart => {
                    self.cpu = thread_cpu();
                    for seat in &mut self.seats {
                        let Some(client) = &mut seat.client else { continue };
                        client.line.peer.meter.restart();
                        seat.spoken = client.line.peer.spoken;
                    }
                }
                Word::Stop => {
                    self.account();
                    return true;
                }
            }
        }
        false
    }

    fn account(&mut self) {
        let cpu = thread_cpu() - self.cpu;
        let mut account = self.shared.account.lock().expect("no thread panics with it");
        let Account { measured, latency, .. } = &mut *account;
        let fewest = |known: u64, new: u64, first: bool| if first { new } else { known.min(new) };
        measured.cpu_seconds += cpu as f64 / 1e9;
        for seat in &mut self.seats {
            measured.streams.1 += seat.part.voices;
            let Some(client) = &mut seat.client else { continue };
            let peer = &client.line.peer;
            measured.sent += peer.spoken - seat.spoken;
            latency.merge(&peer.meter.latency);
            for known in peer.meter.receptions.iter().filter(|known| known.received > 0) {
                measured.fewest = fewest(measured.fewest, known.received, measured.streams.0 == 0);
                measured.streams.0 += 1;
                measured.received += known.received;
                measured.lost += known.lost();
                measured.late += known.late;
            }
            client.leave(Instant::now(), self.poll.registry());
        }
    }
}

/// Nanoseconds of processor time that this thread has used.
pub(crate) fn thread_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
