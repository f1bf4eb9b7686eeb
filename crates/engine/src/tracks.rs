//! Which track comes from where and goes where.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use str0m::format::PayloadParams;
use str0m::media::Mid;
use str0m::rtp::{RtpPacket, Ssrc};

use crate::event::Event;
use crate::levels::{Level, WINDOW, opus_duration};
use crate::{TrackId, TransportId};

/// A section of a transport.
pub type Place = (TransportId, Mid);

/// A video track follows one of its publisher's streams; silent this long, it gives way to another.
const STREAM_SILENT: Duration = Duration::from_secs(1);
/// Key frames are asked for no more often than this. A receiver that still misses one asks again.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Track {
    source: Place,
    stream: Option<Stream>,
    muted: bool,
    keyframe_asked: Option<Instant>,
    level: Level,
    /// Sections that are sent to now: those of every forward that is not paused.
    receivers: Vec<Place>,
}

/// The publisher's stream that a track follows.
#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: Ssrc,
    audio: bool,
    heard: Instant,
}

#[derive(Debug)]
struct Forward {
    track: TrackId,
    paused: bool,
}

/// A key frame that a publisher has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyframeWish {
    /// The publisher's transport.
    pub transport: TransportId,
    /// Its stream.
    pub ssrc: Ssrc,
}

/// All tracks of a hub.
#[derive(Debug, Default)]
pub struct Tracks {
    tracks: HashMap<TrackId, Track>,
    sources: HashMap<Place, TrackId>,
    forwards: HashMap<Place, Forward>,
    /// End of the window in which levels are being gathered.
    window: Option<Instant>,
}

impl Tracks {
    /// Create an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// When [`Tracks::advance`] must be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.window
    }

    /// Take what arrives on a section for a track.
    pub fn publish(&mut self, id: TrackId, source: Place) {
        self.unpublish(id);
        if let Some(before) = self.sources.insert(source, id) {
            self.end(before);
        }
        let receivers = Vec::new();
        let level = Level::default();
        let track = Track { source, stream: None, muted: false, keyframe_asked: None, level, receivers };
        self.tracks.insert(id, track);
    }

    /// End a track and its forwards.
    pub fn unpublish(&mut self, id: TrackId) {
        if let Some(track) = self.end(id) {
            self.sources.remove(&track.source);
        }
    }

    fn end(&mut self, id: TrackId) -> Option<Track> {
        let track = self.tracks.remove(&id)?;
        self.forwards.retain(|_, forward| forward.track != id);
        Some(track)
    }

    /// Send a track on a section instead of any other. True: the section's stream is interrupted.
    pub fn forward(&mut self, id: TrackId, place: Place) -> bool {
        let Some(track) = self.tracks.get_mut(&id) else { return false };
        track.receivers.retain(|receiver| *receiver != place);
        track.receivers.push(place);
        if let Some(before) = self.forwards.insert(place, Forward { track: id, paused: false })
            && before.track != id
        {
            self.leave(before.track, place);
        }
        true
    }

    /// Send nothing more on a section.
    pub fn unforward(&mut self, place: Place) {
        if let Some(forward) = self.forwards.remove(&place) {
            self.leave(forward.track, place);
        }
    }

    /// Hold a section back, or let packets flow again. True: its stream is interrupted.
    pub fn pause(&mut self, place: Place, paused: bool) -> bool {
        let Some(forward) = self.forwards.get_mut(&place).filter(|forward| forward.paused != paused) else {
            return false;
        };
        forward.paused = paused;
        let id = forward.track;
        self.leave(id, place);
        if !paused && let Some(track) = self.tracks.get_mut(&id) {
            track.receivers.push(place);
        }
        !paused
    }

    fn leave(&mut self, id: TrackId, place: Place) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.receivers.retain(|receiver| *receiver != place);
        }
    }

    /// Hold a track back from everybody, or let it flow again. Returns the sections whose streams are interrupted.
    pub fn mute(&mut self, id: TrackId, muted: bool) -> &[Place] {
        match self.tracks.get_mut(&id) {
            Some(track) if track.muted != muted => {
                track.muted = muted;
                if muted { &[] } else { &track.receivers }
            }
            _ => &[],
        }
    }

    /// Forget what a transport publishes and receives.
    pub fn close(&mut self, transport: TransportId) {
        let published: Vec<TrackId> =
            self.sources.iter().filter(|(place, _)| place.0 == transport).map(|(_, id)| *id).collect();
        published.into_iter().for_each(|id| self.unpublish(id));
        let received: Vec<Place> = self.forwards.keys().copied().filter(|place| place.0 == transport).collect();
        received.into_iter().for_each(|place| self.unforward(place));
    }

    /// Take a packet in. Returns its track and where it goes.
    pub fn arrive(
        &mut self,
        now: Instant,
        source: Place,
        packet: &RtpPacket,
        params: &PayloadParams,
        events: &mut Vec<Event>,
    ) -> Option<(TrackId, &[Place])> {
        let id = *self.sources.get(&source)?;
        let track = self.tracks.get_mut(&id)?;
        let audio = params.spec().codec.is_audio();
        let stream = Stream { ssrc: packet.header.ssrc, audio, heard: now };
        match track.stream {
            None => events.push(Event::TrackStarted(id)),
            Some(before) if !audio && before.ssrc != stream.ssrc && now < before.heard + STREAM_SILENT => return None,
            Some(_) => {}
        }
        track.stream = Some(stream);
        if audio {
            track.level.add(packet.header.ext_vals.audio_level, opus_duration(&packet.payload));
            self.window.get_or_insert(now + WINDOW);
        }
        Some((id, if track.muted { &[] } else { &track.receivers }))
    }

    /// A receiver cannot go on without a key frame.
    pub fn keyframe(&mut self, now: Instant, place: Place) -> Option<KeyframeWish> {
        let track = self.tracks.get_mut(&self.forwards.get(&place)?.track)?;
        let stream = track.stream.filter(|stream| !stream.audio)?;
        if track.keyframe_asked.is_some_and(|asked| now < asked + KEYFRAME_INTERVAL) {
            return None;
        }
        track.keyframe_asked = Some(now);
        Some(KeyframeWish { transport: track.source.0, ssrc: stream.ssrc })
    }

    /// Let time pass: tell levels when their window has ended.
    pub fn advance(&mut self, now: Instant, events: &mut Vec<Event>) {
        let Some(end) = self.window.filter(|end| *end <= now) else { return };
        let levels: Vec<_> = self
            .tracks
            .iter_mut()
            .filter_map(|(id, track)| track.level.take().map(|(level, share)| (*id, level, share)))
            .collect();
        // Windows follow each other without a gap while anybody sends, unless the thread was held up.
        self.window = (!levels.is_empty()).then(|| (end + WINDOW).max(now));
        if !levels.is_empty() {
            events.push(Event::AudioLevels(levels));
        }
    }
}
