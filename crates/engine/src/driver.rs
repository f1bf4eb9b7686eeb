//! An `Rtc` that cannot be left undrained.

use std::time::Instant;

use str0m::net::Transmit;
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Event, Input, Output, Rtc, RtcError};

/// What one step of an [`Rtc`] produced.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Datagrams to send, in order.
    pub packets: Vec<Transmit>,
    /// Events, in order.
    pub events: Vec<Event>,
}

/// Owns an [`Rtc`] and drains it after every change.
///
/// str0m requires that each mutation is followed by `poll_output` until it returns a timeout. The `Rtc` is
/// reachable only through methods that do so.
#[derive(Debug)]
pub struct Driver {
    rtc: Rtc,
    now: Instant,
    deadline: Instant,
}

impl Driver {
    /// Take over a fresh `Rtc`.
    pub fn new(rtc: Rtc, now: Instant) -> Self {
        Self { rtc, now, deadline: now }
    }

    /// When [`Driver::advance`] must be called next.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Tell whether the `Rtc` still works.
    pub fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    /// Move time forward.
    pub fn advance(&mut self, now: Instant, out: &mut Outputs) -> Result<(), RtcError> {
        self.now = self.now.max(now);
        let handled = self.rtc.handle_input(Input::Timeout(self.now));
        self.drain(out)?;
        handled
    }

    /// Read the `Rtc`.
    pub fn rtc(&self) -> &Rtc {
        &self.rtc
    }

    /// Queue an RTP packet. It leaves with the next [`Driver::advance`], which is due at once.
    ///
    /// A queued packet is no output, so many may be queued before the `Rtc` is drained once. False: there is no such
    /// stream.
    pub fn write(&mut self, ssrc: Ssrc, packet: RtpWrite) -> bool {
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx(&ssrc) else { return false };
        stream.write_rtp(packet);
        self.deadline = self.now;
        true
    }

    /// Change the `Rtc` at `now`.
    ///
    /// Time is moved first: what the change queues is stamped with the last time the `Rtc` has seen.
    pub fn change<R>(
        &mut self,
        now: Instant,
        out: &mut Outputs,
        change: impl FnOnce(&mut Rtc) -> R,
    ) -> Result<R, RtcError> {
        if now > self.now {
            self.advance(now, out)?;
        }
        let result = change(&mut self.rtc);
        self.drain(out)?;
        Ok(result)
    }

    /// Feed a datagram. The inner error is about the datagram: it was refused and the `Rtc` lives on.
    pub fn receive(
        &mut self,
        now: Instant,
        receive: str0m::net::Receive<'_>,
        out: &mut Outputs,
    ) -> Result<Result<(), RtcError>, RtcError> {
        self.now = self.now.max(now);
        let handled = self.rtc.handle_input(Input::Receive(now, receive));
        self.drain(out)?;
        Ok(handled)
    }

    fn drain(&mut self, out: &mut Outputs) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(packet) => out.packets.push(packet),
                Output::Event(event) => out.events.push(event),
                Output::Timeout(at) => {
                    self.deadline = at;
                    return Ok(());
                }
            }
        }
    }
}
