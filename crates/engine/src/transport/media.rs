//! RTP of one transport, in and out.

use std::time::Instant;

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};

use super::{Effects, Ended, Step, Transport, poll_failed};
use crate::event::Reason;
use crate::forward::Media;
use crate::lanes::{Lost, payload_type};

impl Transport {
    /// Write a packet of another's track on a section. True: [`Transport::send_media`] must follow.
    pub fn forward(&mut self, now: Instant, mid: Mid, media: &Media, fx: &mut Effects) -> bool {
        // Before there are keys, str0m would keep whatever is written.
        if !self.connected {
            return false;
        }
        let Some(lane) = self.lanes.find(mid) else { return false };
        let rtc = self.driver.rtc();
        let Some(packet) = lane.write(now, media, |params| payload_type(rtc, mid, params)) else { return false };
        if !self.driver.write(lane.ssrc, packet) {
            return false;
        }
        fx.counters.rtp_out.add(1);
        !std::mem::replace(&mut self.written, true)
    }

    /// Send the RTP that was written.
    pub fn send_media(&mut self, now: Instant, fx: &mut Effects) -> Step {
        self.written = false;
        let result = self.driver.advance(now, &mut self.outputs);
        self.settle(now, fx, result)
    }

    /// What a section sends next does not join on to what it sent before.
    pub fn interrupt(&mut self, mid: Mid) {
        if let Some(lane) = self.lanes.find(mid) {
            lane.interrupt();
        }
    }

    /// Ask the client for a key frame of one of its streams.
    pub fn request_keyframe(&mut self, now: Instant, ssrc: Ssrc, fx: &mut Effects) -> Step {
        let request = |rtc: &mut Rtc| {
            if let Some(stream) = rtc.direct_api().stream_rx(&ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        };
        self.driver.change(now, &mut self.outputs, request).map_err(poll_failed)?;
        self.send_media(now, fx)
    }

    /// Find out on which section a packet came, and hand it over.
    pub(super) fn media_in(&mut self, now: Instant, packet: RtpPacket, fx: &mut Effects) -> Step {
        fx.counters.rtp_in.add(1);
        let found = match self.lanes.known(&packet.header) {
            Some(found) => Ok(found),
            None => {
                let lanes = &mut self.lanes;
                let discover = |rtc: &mut Rtc| lanes.discover(&packet.header, rtc);
                self.driver.change(now, &mut self.outputs, discover).map_err(poll_failed)?
            }
        };
        match found {
            Ok((mid, params)) => fx.media.push((mid, params, packet)),
            Err(Lost::Unknown) => {}
            Err(Lost::TooMany) => return Err(Ended::new(Reason::Dtls, "the client sent too many streams")),
        }
        Ok(())
    }
}
