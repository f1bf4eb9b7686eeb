"""What one participant publishes: tracks it has announced, the sections they came in, and who may receive them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from livekit.protocol import models, rtc

from greenroom._media import Receive, Section
from greenroom.server.tracks._track import SERVED, Source, Track

if TYPE_CHECKING:
    from greenroom.server.room import Participant

MAX_QUEUED: Final = 3
_SENDING: Final = frozenset({"sendonly", "sendrecv"})
_MEDIA: Final = frozenset({"audio", "video"})


class Publisher:
    """One participant's side of publishing."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        #: Announced and not yet seen in an offer, oldest first.
        self.pending: list[Track] = []
        #: Announced under a cid that is in use.
        self.queued: deque[rtc.AddTrackRequest] = deque()
        #: Seen in an offer, by mid.
        self.published: dict[str, Track] = {}
        #: Sections of the last offer in which the client sends what it has not announced yet, by mid.
        self.unannounced: dict[str, Section] = {}
        #: Every section that ever sent. They are not used the other way round.
        self.mids: set[str] = set()
        self._permission: rtc.SubscriptionPermission | None = None

    def find(self, sid: str) -> Track | None:
        """Return a pending or published track."""
        return next((track for track in (*self.published.values(), *self.pending) if track.sid == sid), None)

    def uses(self, cid: str) -> bool:
        """Tell whether a client-side id belongs to a track already."""
        return bool(cid) and any(cid in track.cids for track in (*self.published.values(), *self.pending))

    # Permission

    def may_publish(self, source: models.TrackSource) -> bool:
        """Tell whether the participant may publish from this source."""
        permission = self._participant.permission
        sources = permission.can_publish_sources
        return permission.can_publish and (not sources or source in sources)

    def permit(self, permission: rtc.SubscriptionPermission) -> None:
        """Replace who may receive this participant's tracks."""
        self._permission = rtc.SubscriptionPermission()
        self._permission.CopyFrom(permission)

    def permits(self, track: Track, receiver: Participant) -> bool:
        """Tell whether the publisher lets somebody receive a track; everybody unless it said otherwise."""
        permission = self._permission
        if permission is None or permission.all_participants:
            return True
        return any(
            entry.all_tracks or track.sid in entry.track_sids
            for entry in permission.track_permissions
            if (entry.participant_identity == receiver.identity)
            or (not entry.participant_identity and entry.participant_sid == receiver.sid)
        )

    # Offers

    def ended(self, sections: Iterable[Section]) -> Iterator[Track]:
        """Yield the published tracks that an offer no longer has."""
        offered = {section.mid: section for section in sections}
        for mid, track in self.published.items():
            section = offered.get(mid)
            if section is None or section.direction not in _SENDING or self._is_another(section, track):
                yield track

    def _is_another(self, section: Section, track: Track) -> bool:
        """Tell whether a section has been taken over by a track that is announced under its new id."""
        if not section.cid or section.cid in track.cids:
            return False
        return any(section.cid in pending.cids for pending in self.pending)

    def bind(self, sections: Iterable[Section]) -> tuple[dict[str, Receive], list[tuple[str, Track]]]:
        """Find the track of every section in which the client sends.

        Returns what to answer, by mid, and the pending tracks that have been found with their mids. Sections
        that nobody has announced are answered, too: their announcement may be on its way.
        """
        sending = [s for s in sections if s.kind in _MEDIA and s.direction in _SENDING]
        known = set(self.mids)
        self.mids.update(section.mid for section in sending)
        plan: dict[str, Receive] = {}
        found: list[tuple[str, Track]] = []
        open_sections: list[Section] = []
        for section in sending:
            track = self.published.get(section.mid)
            if track is None and (track := self._announced(section, {bound.sid for _, bound in found})):
                found.append((section.mid, track))
            if track is not None:
                plan[section.mid] = track.receive
            else:
                open_sections.append(section)
        self.unannounced = {}
        for section in open_sections:
            # What was sent before this announcement, under another id, is something else.
            fits = not section.cid or section.mid not in known
            track = self._any_of_kind(section.kind, {bound.sid for _, bound in found}) if fits else None
            if track is not None:
                found.append((section.mid, track))
                plan[section.mid] = track.receive
            elif self._participant.permission.can_publish:
                self.unannounced[section.mid] = section
                plan[section.mid] = Receive()
        return plan, found

    def claim(self, track: Track) -> str:
        """Return the section, already answered, that waits for this announcement; empty when none does."""
        for mid, section in self.unannounced.items():
            if section.kind == track.kind and (not section.cid or section.cid in track.cids):
                del self.unannounced[mid]
                return mid
        return ""

    def _announced(self, section: Section, taken: set[str]) -> Track | None:
        if not section.cid:
            return None
        fitting = (track for track in self.pending if section.cid in track.cids and track.sid not in taken)
        return next((track for track in fitting if track.kind == section.kind), None)

    def _any_of_kind(self, kind: str, taken: set[str]) -> Track | None:
        return next((track for track in self.pending if track.kind == kind and track.sid not in taken), None)


def refusal(
    publisher: Publisher, request: rtc.AddTrackRequest, *, pending: int, name: int
) -> tuple[rtc.RequestResponse.Reason, str] | None:
    """Say why a track may not be published; ``None`` when it may.

    :param pending: how many announced tracks may wait for their sections.
    :param name: how many characters its names may have.
    """
    reason = rtc.RequestResponse
    if not publisher.may_publish(request.source):
        what = "not allowed to publish" + f" {Source.Name(request.source).lower()}" * bool(request.source)
        return reason.NOT_ALLOWED, what
    if request.type not in SERVED:
        return reason.UNSUPPORTED_TYPE, "only audio and video are served"
    if max(len(request.cid), len(request.name), len(request.stream)) > name:
        return reason.LIMIT_EXCEEDED, f"a name or id exceeds the limit of {name} characters"
    if request.sid and publisher.find(request.sid) is None:
        return reason.NOT_FOUND, "there is no such track"
    if len(publisher.pending) >= pending:
        return reason.LIMIT_EXCEEDED, f"more than {pending} tracks wait for their sections in an offer"
    return None
