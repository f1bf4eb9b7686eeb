//! RTP on its way out: one unbroken stream per receiver and section, whatever its sources do.

use std::time::Instant;

use str0m::format::PayloadParams;
use str0m::media::{Mid, Pt};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};

use crate::TrackId;
use crate::recipe::DependencyDescriptor;

/// How far below its first packet a stream may still begin: packets that were overtaken on the way.
const OVERTAKEN: u64 = 64;

/// One packet of a track, shared by all who receive it.
#[derive(Debug)]
pub struct Media {
    /// Whose packet.
    pub track: TrackId,
    /// The packet as it came.
    pub packet: RtpPacket,
    /// Its codec.
    pub params: PayloadParams,
    /// Header extensions that go on with it.
    pub extensions: ExtensionValues,
}

impl Media {
    /// Take a packet for forwarding.
    pub fn new(track: TrackId, packet: RtpPacket, params: PayloadParams) -> Self {
        let came = &packet.header.ext_vals;
        let mut extensions = ExtensionValues {
            audio_level: came.audio_level,
            voice_activity: came.voice_activity,
            video_orientation: came.video_orientation,
            play_delay_min: came.play_delay_min,
            play_delay_max: came.play_delay_max,
            ..Default::default()
        };
        if let Some(descriptor) = came.user_values.get::<DependencyDescriptor>() {
            extensions.user_values.set(descriptor.clone());
        }
        Self { track, packet, params, extensions }
    }
}

/// A section that sends a track.
#[derive(Debug)]
pub struct Lane {
    /// The section.
    pub mid: Mid,
    /// What it sends as.
    pub ssrc: Ssrc,
    numbers: Numbers,
    format: Option<Format>,
}

/// The receiver's payload type for what comes in with the source's.
#[derive(Debug, Clone, Copy)]
struct Format {
    track: TrackId,
    source: Pt,
    own: Option<Pt>,
}

impl Lane {
    /// A lane whose stream begins at random numbers (RFC 3550 section 5.1).
    pub fn new(mid: Mid, ssrc: Ssrc, random: u64) -> Self {
        Self { mid, ssrc, numbers: Numbers::new(random), format: None }
    }

    /// Something is let through again that was held back, or something else than before.
    pub fn interrupt(&mut self) {
        self.numbers.interrupt();
    }

    /// Rewrite a packet. `payload_type` finds the receiver's for a codec. None: it is not for this receiver.
    pub fn write(
        &mut self,
        now: Instant,
        media: &Media,
        payload_type: impl FnOnce(PayloadParams) -> Option<Pt>,
    ) -> Option<RtpWrite> {
        let header = &media.packet.header;
        let known = self.format.filter(|format| format.track == media.track && format.source == header.payload_type);
        let format = known.unwrap_or_else(|| Format {
            track: media.track,
            source: header.payload_type,
            own: payload_type(media.params),
        });
        self.format = Some(format);
        let own = format.own?;
        let spec = media.params.spec();
        let source = Source { track: media.track, ssrc: header.ssrc };
        let rate = spec.clock_rate.get();
        let stamp = self.numbers.stamp(now, source, *media.packet.seq_no, header.timestamp, rate)?;
        // In audio the marker says that a talkspurt begins, in video that a frame ends (RFC 3551 section 4.1).
        let marker = header.marker || (stamp.first && spec.codec.is_audio());
        let payload = media.packet.payload.clone();
        Some(
            RtpWrite::new(own, stamp.sequence.into(), stamp.timestamp, now, payload)
                .marker(marker)
                .ext_vals(media.extensions.clone())
                .nackable(spec.codec.is_video())
                .csrc(&header.csrc[..header.csrc_count.min(header.csrc.len())]),
        )
    }
}

/// Where packets come from. Another source counts from other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The track.
    pub track: TrackId,
    /// Its publisher's stream.
    pub ssrc: Ssrc,
}

/// A packet's numbers in the receiver's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Extended sequence number.
    pub sequence: u64,
    /// Timestamp.
    pub timestamp: u32,
    /// It is the first after a break.
    pub first: bool,
}

/// Gives packets of changing sources the numbers of one stream without a break.
///
/// Within a source, gaps and disorder stay as they are. Across a break the sequence goes on with the next number
/// and the timestamp by the time that has passed.
#[derive(Debug)]
pub struct Numbers {
    source: Option<Source>,
    broken: bool,
    sequence_offset: u64,
    timestamp_offset: u32,
    /// Numbers up to here belong to what was before the break.
    floor: u64,
    last: Stamp,
    at: Option<Instant>,
}

impl Numbers {
    /// Begin at `random` numbers.
    pub fn new(random: u64) -> Self {
        // The rollover counter must start at 0, and not roll over with the first packets, which may be lost
        // (RFC 3711 section 3.3.1).
        let sequence = OVERTAKEN + (random & 0x3fff);
        let last = Stamp { sequence, timestamp: (random >> 32) as u32, first: false };
        Self {
            source: None,
            broken: true,
            sequence_offset: 0,
            timestamp_offset: 0,
            floor: sequence - OVERTAKEN,
            last,
            at: None,
        }
    }

    /// What comes next does not join on to what was before.
    pub fn interrupt(&mut self) {
        self.broken = true;
    }

    /// Number a packet. None: it comes from before the break, and its number is taken.
    ///
    /// `sequence` is the extended number at the source, `rate` the codec's clock in hertz.
    pub fn stamp(&mut self, now: Instant, source: Source, sequence: u64, timestamp: u32, rate: u32) -> Option<Stamp> {
        let first = self.broken || self.source != Some(source);
        if first {
            if self.source != Some(source) {
                let next = self.last.timestamp.wrapping_add(self.passed(now, rate));
                self.timestamp_offset = next.wrapping_sub(timestamp);
            }
            if self.at.is_some() {
                self.floor = self.last.sequence;
            }
            self.sequence_offset = (self.last.sequence + 1).wrapping_sub(sequence);
            self.source = Some(source);
            self.broken = false;
        }
        let stamp = Stamp {
            sequence: sequence.wrapping_add(self.sequence_offset),
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            first,
        };
        // A number from before the floor may wrap around to the end of the range.
        if stamp.sequence <= self.floor || stamp.sequence > u64::MAX / 2 {
            return None;
        }
        if stamp.sequence > self.last.sequence {
            self.last = stamp;
            self.at = Some(now);
        }
        Some(stamp)
    }

    /// The time since the last packet, in ticks, at least one.
    fn passed(&self, now: Instant, rate: u32) -> u32 {
        let Some(at) = self.at else { return 0 };
        let micros = now.saturating_duration_since(at).as_micros();
        ((micros * u128::from(rate) / 1_000_000) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: u32 = 48_000;
    const FRAME: Duration = Duration::from_millis(20);

    fn source(track: TrackId) -> Source {
        Source { track, ssrc: (track as u32).into() }
    }

    #[test]
    fn loss_and_disorder_of_a_source_stay() {
        let now = Instant::now();
        let mut numbers = Numbers::new(u64::MAX);
        let mut stamp = |sequence: u64| numbers.stamp(now, source(1), sequence, sequence as u32 * 960, RATE).unwrap();
        let first = stamp(70_000);
        assert!(first.first && first.sequence < 0x8000);
        for (sequence, distance) in [(70_001, 1), (70_005, 5), (70_003, 3), (69_999, -1_i64), (70_006, 6)] {
            let next = stamp(sequence);
            assert_eq!(next.sequence as i64 - first.sequence as i64, distance);
            assert_eq!(next.timestamp.wrapping_sub(first.timestamp), (distance * 960) as u32);
            assert!(!next.first);
        }
    }

    #[test]
    fn what_was_held_back_leaves_no_gap_in_the_sequence_and_its_time_in_the_timestamp() {
        let now = Instant::now();
        let mut numbers = Numbers::new(7);
        let before = numbers.stamp(now, source(1), 100, 5_000, RATE).unwrap();
        numbers.interrupt();
        let after = numbers.stamp(now + FRAME * 50, source(1), 150, 5_000 + 50 * 960, RATE).unwrap();
        assert_eq!(after.sequence, before.sequence + 1);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 50 * 960);
        assert!(after.first);
        // Late, from while it was held back.
        assert_eq!(numbers.stamp(now + FRAME * 51, source(1), 149, 5_000 + 49 * 960, RATE), None);
        let next = numbers.stamp(now + FRAME * 51, source(1), 151, 5_000 + 51 * 960, RATE).unwrap();
        assert_eq!(next.sequence, before.sequence + 2);
    }

    #[test]
    fn another_source_goes_on_where_the_one_before_ended() {
        let now = Instant::now();
        let mut numbers = Numbers::new(1 << 40);
        let before = numbers.stamp(now, source(1), 60_000, u32::MAX - 10, RATE).unwrap();
        let after = numbers.stamp(now + Duration::from_secs(1), source(2), 3, 77, RATE).unwrap();
        assert_eq!(after.sequence, before.sequence + 1);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), RATE);
        // The first source again, from where it is by now.
        let again = numbers.stamp(now + Duration::from_secs(2), source(1), 60_100, 9, RATE).unwrap();
        assert_eq!(again.sequence, before.sequence + 2);
        assert_eq!(again.timestamp.wrapping_sub(before.timestamp), 2 * RATE);
    }

    #[test]
    fn sources_that_alternate_within_a_tick_still_move_time_forward() {
        let now = Instant::now();
        let mut numbers = Numbers::new(0);
        let mut last = numbers.stamp(now, source(1), 1, 0, RATE).unwrap();
        for round in 2..20 {
            let next = numbers.stamp(now, source(round % 2), round, 0, RATE).unwrap();
            assert_eq!(next.sequence, last.sequence + 1);
            assert_eq!(next.timestamp, last.timestamp.wrapping_add(1));
            last = next;
        }
    }
}
