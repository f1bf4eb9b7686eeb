//! The media thread and the handle Python holds.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::config::{EngineConfig, StartError};
use crate::event::{Command, Event, Reason};
use crate::fault;
use crate::hub::Hub;
use crate::recipe::Recipe;
use crate::socket::MediaSocket;
use crate::stats::{Counters, Stats};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// Batches of datagrams, and commands, taken before the other side has its turn.
const TURN_BATCHES: usize = 4;
const TURN_COMMANDS: usize = 1024;
/// Media that comes quicker than this is taken several packets at a time: to wake up costs as much as to forward one.
const GATHER: Duration = Duration::from_micros(300);

/// A running engine: one thread, one UDP socket, many transports.
///
/// Commands are queued and never block. Events are queued until [`Engine::take_events`]; [`Engine::event_fd`]
/// is readable while there are any.
#[derive(Debug)]
pub struct Engine {
    port: u16,
    commands: Sender<Command>,
    doorbell: Arc<Doorbell>,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Open the socket and start the thread.
    pub fn start(config: &EngineConfig) -> Result<Self, StartError> {
        let socket = MediaSocket::bind(config)?;
        let port = socket.port();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let doorbell = Arc::new(Doorbell { waker, rung: AtomicBool::new(false) });
        let mailbox = Arc::new(Mailbox::new()?);
        let counters = Arc::new(Counters::default());
        let EngineConfig { max_message, send_buffer, .. } = *config;
        let (commands, inbox) = unbounded();
        let mut worker = Worker {
            socket,
            poll,
            inbox,
            doorbell: doorbell.clone(),
            mailbox: mailbox.clone(),
            counters: counters.clone(),
        };
        worker.poll.registry().register(&mut worker.socket.io, SOCKET, Interest::READABLE)?;
        let thread = std::thread::Builder::new()
            .name("greenroom-media".into())
            .spawn(move || worker.run(max_message, send_buffer))?;
        Ok(Self { port, commands, doorbell, mailbox, counters, thread: Mutex::new(Some(thread)) })
    }

    /// The UDP port in use.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Queue a command. After [`Engine::stop`] it is ignored.
    pub fn command(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.doorbell.ring();
        }
    }

    /// A descriptor that is readable while events wait.
    pub fn event_fd(&self) -> RawFd {
        self.mailbox.reader.as_raw_fd()
    }

    /// Take up to `most` events, in order.
    pub fn take_events(&self, most: usize) -> Vec<Event> {
        let events = self.mailbox.take(most);
        for event in &events {
            if let Event::Data { transport, payload, backlog, .. } = event
                && backlog.remove(payload.len())
            {
                self.command(Command::Resume(*transport));
            }
        }
        events
    }

    /// Events that wait to be taken.
    pub fn pending(&self) -> usize {
        self.mailbox.lock().len()
    }

    /// Copy the counters.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// Close every transport and join the thread. Idempotent.
    ///
    /// To wait without blocking, queue [`Command::Stop`] and join after [`Event::Stopped`].
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.command(Command::Stop);
            // The thread catches its own panics; there is nothing more to learn from a failed join.
            let _ = thread.join();
            self.mailbox.lock().clear();
        }
    }

    /// Forget the thread without joining it. For the child of a fork, which has no such thread.
    pub fn abandon(&self) {
        std::mem::forget(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Wakes the media thread, once per sleep.
#[derive(Debug)]
struct Doorbell {
    waker: Waker,
    rung: AtomicBool,
}

impl Doorbell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // Fails only when the thread's poller is gone, and then there is nobody to wake.
            let _ = self.waker.wake();
        }
    }

    /// Must come before the commands are read, so that one queued meanwhile rings again.
    fn silence(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}

/// Events on their way to Python, and the descriptor that says there are some.
#[derive(Debug)]
struct Mailbox {
    events: Mutex<VecDeque<Event>>,
    reader: UnixStream,
    writer: UnixStream,
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { events: Mutex::default(), reader, writer })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut events = self.lock();
        let signal = events.is_empty();
        events.extend(batch.drain(..));
        if signal {
            self.signal();
        }
    }

    /// The descriptor is readable exactly while events wait: both change under the lock.
    fn take(&self, most: usize) -> Vec<Event> {
        let mut events = self.lock();
        let count = events.len().min(most);
        let taken = events.drain(..count).collect();
        if events.is_empty() {
            let _ = (&self.reader).read(&mut [0; 16]);
        }
        taken
    }

    fn signal(&self) {
        // One byte at most is in flight, so the pipe has room.
        let _ = (&self.writer).write(&[1]);
    }
}

/// The thread's edge: what the hub needs of the world.
struct Worker {
    socket: MediaSocket,
    poll: Poll,
    inbox: Receiver<Command>,
    doorbell: Arc<Doorbell>,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(mut self, max_message: u32, send_buffer: usize) {
        fault::guard_this_thread();
        // Here and not in the caller: the first use of the crypto library gathers entropy for tens of milliseconds.
        let recipe = Recipe::new(self.socket.candidates.clone(), max_message);
        let mut hub = Hub::new(recipe, send_buffer, self.counters.clone());
        // Transports catch their own panics. One that gets here is a defect of the thread itself: it costs all
        // transports, and the thread goes on with none.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve(&mut hub))) {
            self.counters.faults.add(1);
            let detail = fault::describe(&*panic);
            for transport in hub.forget() {
                let detail = detail.clone();
                hub.effects.events.push(Event::Closed { transport, reason: Reason::Fault, detail });
            }
            self.deliver(&mut hub);
        }
    }

    /// Serve until told to stop.
    fn serve(&mut self, hub: &mut Hub) {
        let mut ready = Events::with_capacity(8);
        let (mut more_datagrams, mut more_commands) = (true, true);
        let mut heard = self.counters.rtp_in.get();
        loop {
            if !(more_datagrams || more_commands) {
                let idle = Instant::now();
                let timeout = hub.deadline().map(|at| at.saturating_duration_since(idle));
                if self.poll.poll(&mut ready, timeout).is_err() {
                    continue;
                }
                more_datagrams = ready.iter().any(|event| event.token() == SOCKET);
                let media = std::mem::replace(&mut heard, self.counters.rtp_in.get()) != heard;
                if more_datagrams && media && idle.elapsed() < GATHER {
                    std::thread::sleep(GATHER);
                }
            }
            // Commands before datagrams: what is sent after a track was muted must not pass.
            match self.obey(hub) {
                Some(more) => more_commands = more,
                None => return,
            }
            // Datagrams before timers: after a pause the sign of life that waits in the socket comes first.
            if more_datagrams {
                more_datagrams = self.receive(hub);
            }
            hub.advance(Instant::now());
            self.deliver(hub);
        }
    }

    /// Take a turn of datagrams. True: there may be more.
    fn receive(&mut self, hub: &mut Hub) -> bool {
        for _ in 0..TURN_BATCHES {
            let now = Instant::now();
            let take = |source, destination, datagram: &[u8]| hub.receive(now, source, destination, datagram);
            let received = self.socket.receive(take);
            hub.flush(now);
            match received {
                Ok(true) => self.socket.send(&mut hub.effects.packets, &self.counters),
                // Errors of a UDP socket are about some earlier datagram.
                Ok(false) | Err(_) => return false,
            }
            if !self.inbox.is_empty() {
                break;
            }
        }
        true
    }

    /// Take a turn of commands. True: there may be more. None: stop.
    fn obey(&mut self, hub: &mut Hub) -> Option<bool> {
        self.doorbell.silence();
        for _ in 0..TURN_COMMANDS {
            match self.inbox.try_recv() {
                Ok(Command::Stop) => {
                    hub.command(Instant::now(), Command::Stop);
                    hub.effects.events.push(Event::Stopped);
                    self.deliver(hub);
                    return None;
                }
                Ok(command) => hub.command(Instant::now(), command),
                Err(error) => return (!error.is_disconnected()).then_some(false),
            }
        }
        Some(true)
    }

    /// Send and tell what has come up.
    fn deliver(&mut self, hub: &mut Hub) {
        self.socket.send(&mut hub.effects.packets, &self.counters);
        self.mailbox.put(&mut hub.effects.events);
    }
}
