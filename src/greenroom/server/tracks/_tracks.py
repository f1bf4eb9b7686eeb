"""The tracks of one room (``docs/protocol.md``, "Publishing" and "Subscribing").

Synchronous and pure: methods take the time, in seconds since the epoch, and return what is to be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from livekit.protocol import models, rtc

from greenroom._media import Section, TrackId
from greenroom.config import Limits
from greenroom.server.tracks._backlog import SLICE, Backlog
from greenroom.server.tracks._effects import Mute, Publish, Published, Signal, TrackChange, TrackEffect, Unpublish
from greenroom.server.tracks._negotiation import Negotiation
from greenroom.server.tracks._publisher import MAX_QUEUED, Publisher, refusal
from greenroom.server.tracks._speakers import INTERVAL, Speakers, speakers_changed
from greenroom.server.tracks._subscriber import Subscriber
from greenroom.server.tracks._track import Track

if TYPE_CHECKING:
    from greenroom.server.room import Participant

_Reason = rtc.RequestResponse

_NO_TRACK: Final = "there is no such track"


class Announce(Protocol):
    """Tell the others that ``participant`` has changed, now."""

    def __call__(self, participant: Participant, now: float) -> Sequence[Signal]:
        """Return what tells them."""
        ...


@dataclass(slots=True)
class _Seat:
    participant: Participant
    publisher: Publisher
    subscriber: Subscriber


class Tracks:
    """Who publishes what in a room, and who receives it.

    :param numbers: the engine's names for tracks, never used twice.
    :param announce: tells everybody but the participant about its tracks.
    """

    def __init__(self, limits: Limits, numbers: Iterator[TrackId], announce: Announce) -> None:
        self._limits = limits
        self._numbers = numbers
        self._announce = announce
        self._seats: dict[str, _Seat] = {}
        self._published: dict[str, Track] = {}
        self._backlog: Backlog[_Seat] = Backlog()
        self._speakers = Speakers()
        self._heard_at: float | None = None

    # Coming and going

    def enter(self, participant: Participant, *, auto_subscribe: bool) -> list[TrackEffect]:
        """Give a newcomer a place; what it receives flows from its first offer on."""
        seat = _Seat(participant, Publisher(participant), Subscriber(participant.transport, auto=auto_subscribe))
        self._seats[participant.sid] = seat
        return [effect for track in self._published.values() for effect in self._consider(seat, track)]

    def leave(self, participant: Participant, now: float) -> list[TrackEffect]:
        """Take away whoever has gone, and what it published. Its own list of tracks stays as it was."""
        seat = self._seats.pop(participant.sid, None)
        if seat is None:
            return []
        for track in seat.subscriber.wanted:
            track.audience.discard(participant.sid)
        self._speakers.forget(participant.sid)
        effects: list[TrackEffect] = []
        affected: dict[str, _Seat] = {}
        for track in list(seat.publisher.published.values()):
            effects += self._take_away(seat, track, affected)
        return effects + self._look_at(affected.values(), now)

    def close(self) -> list[TrackEffect]:
        """End everything at once."""
        ended: list[TrackEffect] = []
        for track in self._published.values():
            ended += [Unpublish(track.number), TrackChange(track.owner, track.info, published=False)]
        self._published.clear()
        self._seats.clear()
        self._backlog.clear()
        return ended

    # Publishing

    def add(self, participant: Participant, request: rtc.AddTrackRequest, now: float) -> list[TrackEffect]:
        """The participant wants to publish: answer at once, before there is any media."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        publisher = seat.publisher
        limits = self._limits
        refused = refusal(publisher, request, pending=limits.pending_tracks, name=limits.name)
        if refused is not None:
            return _respond(participant, *refused, add_track=request)
        if request.sid and (known := publisher.find(request.sid)) is not None:
            return [_track_published(known, request.cid)]
        if publisher.uses(request.cid):
            if len(publisher.queued) >= MAX_QUEUED:
                return _respond(participant, _Reason.LIMIT_EXCEEDED, "too many tracks are queued", add_track=request)
            publisher.queued.append(request)
            return _respond(participant, _Reason.QUEUED, add_track=request)
        return self._expect(seat, request, now)

    def _expect(self, seat: _Seat, request: rtc.AddTrackRequest, now: float) -> list[TrackEffect]:
        track = Track(next(self._numbers), seat.participant, request, now)
        seat.publisher.pending.append(track)
        effects: list[TrackEffect] = [_track_published(track, track.cid)]
        mid = seat.publisher.claim(track)
        return effects + self._publish(seat, [(mid, track)], now) if mid else effects

    def _publish(self, seat: _Seat, found: Iterable[tuple[str, Track]], now: float) -> list[TrackEffect]:
        """Announced tracks have their sections: from now on they exist for the others."""
        publisher, owner = seat.publisher, seat.participant
        first = not owner.tracks
        effects: list[TrackEffect] = []
        tracks = [(mid, track) for mid, track in found if track in publisher.pending]
        for mid, track in tracks:
            publisher.pending.remove(track)
            publisher.published[mid] = self._published[track.sid] = track
            track.bind(mid)
            track.touch(now)
            owner.tracks.append(track.info)
            effects.append(Publish(track.number, owner.transport, mid))
            if track.info.muted:
                effects.append(Mute(track.number, muted=True))
        if not tracks:
            return effects
        owner.touch()
        effects += self._announce(owner, now)
        if first:
            effects.append(Published(owner))
        effects += [TrackChange(owner, track.info, published=True) for _, track in tracks]
        return effects + self._reconsider([track for _, track in tracks], now)

    def _retract(self, seat: _Seat, tracks: Iterable[Track], now: float, *, tell: bool) -> list[TrackEffect]:
        """End published tracks. Whoever was queued under their ids comes next.

        :param tell: tell the others now, which is not needed if they will be told anyway.
        """
        effects: list[TrackEffect] = []
        affected: dict[str, _Seat] = {}
        owner = seat.participant
        ended = list(tracks)
        for track in ended:
            effects += self._take_away(seat, track, affected)
            owner.tracks[:] = [info for info in owner.tracks if info.sid != track.sid]
        if ended:
            owner.touch()
            effects += self._announce(owner, now) if tell else []
        return effects + self._look_at(affected.values(), now) + self._next_queued(seat, now)

    def _take_away(self, seat: _Seat, track: Track, affected: dict[str, _Seat]) -> list[TrackEffect]:
        seat.publisher.published.pop(track.mid, None)
        self._published.pop(track.sid, None)
        effects: list[TrackEffect] = [Unpublish(track.number), TrackChange(track.owner, track.info, published=False)]
        for sid, other in self._seats.items():
            if sid in track.audience:
                affected[sid] = other
            other.subscriber.forget(track)
        track.audience.clear()
        return effects

    def _next_queued(self, seat: _Seat, now: float) -> list[TrackEffect]:
        effects: list[TrackEffect] = []
        for request in list(seat.publisher.queued):
            if not seat.publisher.uses(request.cid):
                seat.publisher.queued.remove(request)
                effects += self._expect(seat, request, now)
        return effects

    # Changes to what is published

    def find(self, participant: Participant, sid: str) -> Track | None:
        """Return a track of a participant, announced or published."""
        seat = self._seats.get(participant.sid)
        return seat.publisher.find(sid) if seat is not None else None

    def mute(self, participant: Participant, sid: str, now: float, *, muted: bool) -> list[TrackEffect]:
        """Mute one of the participant's tracks, or unmute it, and tell the others."""
        track = self.find(participant, sid)
        if track is None or track.info.muted == muted:
            return []
        track.info.muted = muted
        if not track.mid:
            return []
        return [Mute(track.number, muted), *self._changed(track, now)]

    def update(
        self, participant: Participant, update: rtc.UpdateLocalAudioTrack | rtc.UpdateLocalVideoTrack, now: float
    ) -> list[TrackEffect]:
        """Change what is said of one of the participant's tracks, and tell the others."""
        track = self.find(participant, update.track_sid)
        if track is None:
            return []
        track.update(update)
        return self._changed(track, now) if track.mid else []

    def _changed(self, track: Track, now: float) -> list[TrackEffect]:
        track.touch(now)
        track.owner.touch()
        return [*self._announce(track.owner, now)]

    # Offers

    def plan(self, participant: Participant, sections: Sequence[Section], now: float) -> Negotiation:
        """Decide what to answer to an offer."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return Negotiation()
        effects = self._retract(seat, list(seat.publisher.ended(sections)), now, tell=True)
        receive, found = seat.publisher.bind(sections)
        others = [section for section in sections if section.mid not in seat.publisher.mids]
        send, emptied, stopped = seat.subscriber.offered(others)
        return Negotiation({**receive, **send}, [*effects, *stopped], found, emptied)

    def answered(
        self, participant: Participant, negotiation: Negotiation, answer: rtc.SessionDescription, now: float
    ) -> list[TrackEffect]:
        """The engine has made the answer: send it, then do what it allows."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        begun, commands = seat.subscriber.answered(negotiation.emptied)
        for mid, sid in seat.subscriber.mid_to_track_id.items():
            answer.mid_to_track_id[mid] = sid
        effects: list[TrackEffect] = [Signal([participant], rtc.SignalResponse(answer=answer)), *commands]
        for track in begun:
            if not track.was_received:
                track.was_received = True
                subscribed = rtc.TrackSubscribed(track_sid=track.sid)
                effects.append(Signal([track.owner], rtc.SignalResponse(track_subscribed=subscribed)))
        effects += self._publish(seat, negotiation.found, now)
        return effects + self._settle([seat], now)

    # Subscribing

    def subscribe(self, participant: Participant, update: rtc.UpdateSubscription, now: float) -> list[TrackEffect]:
        """The participant wants tracks, or wants them no longer; they need not be there yet."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        effects: list[TrackEffect] = []
        by_participant = (sid for entry in update.participant_tracks for sid in entry.track_sids)
        for sid in dict.fromkeys((*update.track_sids, *by_participant)):
            track = self._published.get(sid)
            seat.subscriber.wish(sid, wanted=update.subscribe, known=track is not None, now=now)
            if track is not None:
                effects += self._consider(seat, track)
        return effects + self._settle([seat], now)

    def set_track_setting(self, participant: Participant, setting: rtc.UpdateTrackSettings) -> list[TrackEffect]:
        """The participant wants its packets held back, or flowing."""
        seat = self._seats.get(participant.sid)
        tracks = (self._published.get(sid) for sid in dict.fromkeys(setting.track_sids))
        return [
            command
            for track in tracks
            if seat is not None and track is not None
            for command in seat.subscriber.set_disabled(track, disabled=setting.disabled)
        ]

    def permit(self, participant: Participant, permission: rtc.SubscriptionPermission, now: float) -> list[TrackEffect]:
        """The participant says who may receive its tracks."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        seat.publisher.permit(permission)
        return self._reconsider(list(seat.publisher.published.values()), now)

    @property
    def is_behind(self) -> bool:
        """Whether :meth:`catch_up` has something to do."""
        return len(self._backlog) > 0

    def catch_up(self, now: float) -> list[TrackEffect]:
        """Look at the next people who wait for it; in a large room that is not done all at once."""
        effects: list[TrackEffect] = []
        seen: list[_Seat] = []
        for seat, tracks in self._backlog.take(SLICE):
            if self._seats.get(seat.participant.sid) is seat:
                seen.append(seat)
                for track in tracks:
                    if self._published.get(track.sid) is track:
                        effects += self._consider(seat, track)
        return effects + self._settle(seen, now)

    def _reconsider(self, tracks: Iterable[Track], now: float) -> list[TrackEffect]:
        return self._look_at(self._seats.values(), now, tracks)

    def _look_at(self, seats: Iterable[_Seat], now: float, tracks: Iterable[Track] = ()) -> list[TrackEffect]:
        self._backlog.add(tracks, seats)
        # That everybody is told of something is enough for one go.
        return self.catch_up(now) if len(self._backlog) <= SLICE else []

    def _consider(self, seat: _Seat, track: Track) -> list[TrackEffect]:
        """Decide whether somebody receives a track, and tell it when the publisher does not let it."""
        participant, subscriber = seat.participant, seat.subscriber
        owner = self._seats[track.owner.sid]
        if owner is seat:
            return []
        subscriber.appeared(track.sid)
        wanted = not track.owner.hidden and participant.permission.can_subscribe and subscriber.wishes(track.sid)
        permitted = owner.publisher.permits(track, participant)
        effects: list[TrackEffect] = []
        if wanted and permitted == (track.sid in subscriber.denied):
            (subscriber.denied.discard if permitted else subscriber.denied.add)(track.sid)
            effects.append(_permission_update(participant, track, allowed=permitted))
        if wanted and permitted:
            subscriber.take(track)
            track.audience.add(participant.sid)
        elif subscriber.wants(track):
            track.audience.discard(participant.sid)
            effects += subscriber.drop(track)
        return effects

    def _settle(self, seats: Iterable[_Seat], now: float) -> list[TrackEffect]:
        """Ask those for an offer who need one."""
        asked: dict[tuple[int, int], list[Participant]] = {}
        for seat in seats:
            missing = seat.subscriber.requirement(now)
            if missing is not None:
                asked.setdefault(missing, []).append(seat.participant)
        effects: list[TrackEffect] = []
        for (audios, videos), participants in asked.items():
            requirement = rtc.MediaSectionsRequirement(num_audios=audios, num_videos=videos)
            effects.append(Signal(participants, rtc.SignalResponse(media_sections_requirement=requirement)))
        return effects

    # Permissions

    def revoke(self, participant: Participant, now: float) -> list[TrackEffect]:
        """End what the participant may publish no longer. The others will be told with its new permission."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        publisher = seat.publisher
        publisher.queued = type(publisher.queued)(r for r in publisher.queued if publisher.may_publish(r.source))
        ended = [t for t in publisher.published.values() if not publisher.may_publish(t.info.source)]
        waiting = [t for t in publisher.pending if not publisher.may_publish(t.info.source)]
        publisher.pending = [track for track in publisher.pending if track not in waiting]
        effects = self._retract(seat, ended, now, tell=False)
        for track in (*ended, *waiting):
            gone = rtc.TrackUnpublishedResponse(track_sid=track.sid)
            effects.append(Signal([participant], rtc.SignalResponse(track_unpublished=gone)))
        return effects

    def permission_changed(self, participant: Participant, now: float) -> list[TrackEffect]:
        """Decide anew what the participant receives and who receives it."""
        seat = self._seats.get(participant.sid)
        if seat is None:
            return []
        effects = [effect for track in self._published.values() for effect in self._consider(seat, track)]
        return effects + self._reconsider(list(seat.publisher.published.values()), now) + self._settle([seat], now)

    # Time and levels

    def tick(self, now: float) -> list[TrackEffect]:
        """Do what time brings: ask again for offers, give up unknown tracks, end a silence. Call every second."""
        effects: list[TrackEffect] = []
        for seat in self._seats.values():
            seat.subscriber.tick(now)
            for sid in seat.subscriber.forget_unknown(now):
                response = rtc.SubscriptionResponse(track_sid=sid, err=models.SE_TRACK_NOTFOUND)
                effects.append(Signal([seat.participant], rtc.SignalResponse(subscription_response=response)))
        if self._heard_at is not None and now - self._heard_at > 2 * INTERVAL:
            effects += self.levels((), now)
            self._heard_at = None
        return effects + self._settle(self._seats.values(), now)

    def levels(self, levels: Iterable[tuple[TrackId, float, float]], now: float) -> list[TrackEffect]:
        """Take in how loud the room's audio tracks were in the last window, and tell who speaks."""
        self._heard_at = now
        loudness = {number: (level, share) for number, level, share in levels}
        heard: dict[str, tuple[float, float]] = {}
        for track in self._published.values():
            found = loudness.get(track.number)
            if found is not None and not track.info.muted and (sid := track.owner.sid) in self._seats:
                heard[sid] = max(found, heard.get(sid, found), key=lambda pair: (pair[1], pair[0]))
        changes = self._speakers.observe(heard)
        return [
            Signal([self._seats[sid].participant for sid in to], rtc.SignalResponse(speakers_changed=message))
            for message, to in speakers_changed(changes, {sid: self._audience(sid) for sid in changes})
        ]

    def _audience(self, sid: str) -> set[str]:
        """Return those who are told that somebody speaks: whoever hears it, and itself."""
        speaker = self._seats.get(sid)
        tracks = speaker.publisher.published.values() if speaker is not None else ()
        return {sid, *(listener for track in tracks for listener in track.audience)} & self._seats.keys()


def _track_published(track: Track, cid: str) -> Signal:
    response = rtc.TrackPublishedResponse(cid=cid, track=track.info)
    return Signal([track.owner], rtc.SignalResponse(track_published=response))


def _permission_update(participant: Participant, track: Track, *, allowed: bool) -> Signal:
    update = rtc.SubscriptionPermissionUpdate(participant_sid=track.owner.sid, track_sid=track.sid, allowed=allowed)
    return Signal([participant], rtc.SignalResponse(subscription_permission_update=update))


def _respond(
    participant: Participant, reason: rtc.RequestResponse.Reason, message: str = "", **request: rtc.AddTrackRequest
) -> list[TrackEffect]:
    response = rtc.RequestResponse(reason=reason, message=message, **request)  # type: ignore[arg-type]
    return [Signal([participant], rtc.SignalResponse(request_response=response))]
