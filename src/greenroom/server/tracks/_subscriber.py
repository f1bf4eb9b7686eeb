"""What one participant receives: what it wants, and the sections of its connection in which it gets it.

With one peer connection the server cannot offer. A track goes out in a section that the client offers to
receive in; ``media_sections_requirement`` asks for an offer. A section that has carried a track is answered
``inactive`` once before it carries another: clients end the old receiver at that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from greenroom._media import Section, Send, TransportId
from greenroom.server.tracks._effects import Forward, MediaCommand, Pause, Unforward
from greenroom.server.tracks._track import Track

#: How long a client may take to make the offer it was asked for.
OFFER_PATIENCE: Final = 5.0
#: How long a wish for an unknown track is kept.
UNKNOWN_PATIENCE: Final = 60.0
MAX_UNKNOWN: Final = 1_000

_KINDS: Final = ("audio", "video")


@dataclass(slots=True)
class Slot:
    """A section in which the client receives. ``attached``: the engine forwards the track there."""

    mid: str
    kind: str
    track: Track | None = None
    attached: bool = False


class Subscriber:
    """One participant's side of receiving.

    :param auto: receive every track unless the participant says otherwise.
    """

    def __init__(self, transport: TransportId, *, auto: bool) -> None:
        self.auto = auto
        self._transport = transport
        self._slots: dict[str, Slot] = {}
        # Sections that still have to be answered inactive, because of what they carried.
        self._emptying: set[str] = set()
        self._wanted: dict[str, Track] = {}
        self._waiting: dict[str, Track] = {}
        self._placed: dict[str, Slot] = {}
        self._explicit: dict[str, bool] = {}
        self._unknown: dict[str, float] = {}
        self._disabled: set[str] = set()
        #: Tracks of which the client was told that it may not have them.
        self.denied: set[str] = set()
        # Every client begins with an offer, so there is no need to ask for that one.
        self._awaiting = True
        self._ask_again_at: float | None = None
        self._asked = dict.fromkeys(_KINDS, 0)

    def __repr__(self) -> str:
        return f"Subscriber(wanted={len(self._wanted)}, waiting={len(self._waiting)}, slots={len(self._slots)})"

    # Wishes

    def wishes(self, sid: str) -> bool:
        """Tell whether the client wants a track."""
        return self._explicit.get(sid, self.auto)

    def wish(self, sid: str, *, wanted: bool, known: bool, now: float) -> None:
        """Note what the client says about a track, be it there or not."""
        self._explicit[sid] = wanted
        self._unknown.pop(sid, None)
        if not known:
            self._unknown[sid] = now + UNKNOWN_PATIENCE
            while len(self._unknown) > MAX_UNKNOWN:
                oldest = next(iter(self._unknown))
                del self._unknown[oldest], self._explicit[oldest]

    def appeared(self, sid: str) -> None:
        """Note that a track is there."""
        self._unknown.pop(sid, None)

    def forget_unknown(self, now: float) -> Iterator[str]:
        """Give up the wishes for tracks that did not appear in time; yields those that were wanted."""
        while self._unknown:
            sid, due = next(iter(self._unknown.items()))
            if due > now:
                return
            del self._unknown[sid]
            if self._explicit.pop(sid):
                yield sid

    # What it gets

    def wants(self, track: Track) -> bool:
        """Tell whether a track is received, or will be as soon as there is a section for it."""
        return track.sid in self._wanted

    def receives(self, track: Track) -> bool:
        """Tell whether a track flows, or is only held back."""
        slot = self._placed.get(track.sid)
        return slot is not None and slot.attached

    @property
    def wanted(self) -> list[Track]:
        """All that is received or waits for a section."""
        return list(self._wanted.values())

    def take(self, track: Track) -> None:
        """Begin to receive a track: at the next offer with a free section."""
        if track.sid not in self._wanted:
            self._wanted[track.sid] = self._waiting[track.sid] = track

    def drop(self, track: Track) -> list[MediaCommand]:
        """Receive a track no longer."""
        self._wanted.pop(track.sid, None)
        self._waiting.pop(track.sid, None)
        slot = self._placed.pop(track.sid, None)
        if slot is None:
            return []
        slot.track = None
        self._emptying.add(slot.mid)
        return self._detach(slot)

    def forget(self, track: Track) -> None:
        """Drop a track that exists no longer, and all that was said about it. The engine has ended its forwards."""
        self._explicit.pop(track.sid, None)
        self._disabled.discard(track.sid)
        self.denied.discard(track.sid)
        self.drop(track)

    def set_disabled(self, track: Track, *, disabled: bool) -> list[MediaCommand]:
        """Hold a track's packets back, or let them flow."""
        if disabled == (track.sid in self._disabled):
            return []
        (self._disabled.add if disabled else self._disabled.discard)(track.sid)
        slot = self._placed.get(track.sid)
        if slot is None or not slot.attached:
            return []
        return [Pause(self._transport, slot.mid, disabled)]

    def _detach(self, slot: Slot) -> list[MediaCommand]:
        if not slot.attached:
            return []
        slot.attached = False
        return [Unforward(self._transport, slot.mid)]

    # Offers

    def offered(self, sections: Iterable[Section]) -> tuple[dict[str, Send], list[str], list[MediaCommand]]:
        """Take in the sections of an offer that may receive, and place the tracks that wait.

        Returns what to answer, by mid; the sections that this answer empties; and what has to stop.
        """
        receiving = {s.mid: s for s in sections if s.direction == "recvonly" and s.kind in _KINDS}
        commands: list[MediaCommand] = []
        for mid in [mid for mid in self._slots if mid not in receiving]:
            commands += self._lose(self._slots.pop(mid))
        for mid, section in receiving.items():
            if mid not in self._slots:
                self._slots[mid] = Slot(mid, section.kind)
                self._asked[section.kind] = max(0, self._asked[section.kind] - 1)
        self._awaiting = any(self._asked.values())
        for slot in self._slots.values():
            if self._waiting and slot.track is None and slot.mid not in self._emptying:
                self._place(slot)
        plan = {slot.mid: _send(slot.track) for slot in self._slots.values() if slot.track is not None}
        return plan, [*self._emptying], commands

    def _lose(self, slot: Slot) -> list[MediaCommand]:
        """Take leave of a section that the client receives in no longer."""
        if slot.track is not None:
            del self._placed[slot.track.sid]
            self._waiting[slot.track.sid] = slot.track
        self._emptying.discard(slot.mid)
        return self._detach(slot)

    def _place(self, slot: Slot) -> None:
        track = next((track for track in self._waiting.values() if track.kind == slot.kind), None)
        if track is not None:
            del self._waiting[track.sid]
            slot.track = track
            self._placed[track.sid] = slot

    def answered(self, emptied: Iterable[str]) -> tuple[list[Track], list[MediaCommand]]:
        """Take note that the answer is out; returns the tracks that flow from now on, and how."""
        self._emptying.difference_update(emptied)
        begun: list[Track] = []
        commands: list[MediaCommand] = []
        for slot in self._slots.values():
            if slot.track is None or slot.attached:
                continue
            slot.attached = True
            begun.append(slot.track)
            commands.append(Forward(slot.track.number, self._transport, slot.mid))
            if slot.track.sid in self._disabled:
                commands.append(Pause(self._transport, slot.mid, paused=True))
        return begun, commands

    @property
    def mid_to_track_id(self) -> dict[str, str]:
        """Which track is in which section; Rust clients ignore tracks that are not in it."""
        return {slot.mid: slot.track.sid for slot in self._slots.values() if slot.track is not None}

    def requirement(self, now: float) -> tuple[int, int] | None:
        """Ask for an offer, if one is needed and none is on its way.

        Returns how many sections for audio and for video it has to have more; ``None`` when no offer is needed.
        """
        if self._awaiting or not (self._waiting or self._emptying):
            return None
        missing = dict.fromkeys(_KINDS, 0)
        for track in self._waiting.values():
            missing[track.kind] += 1
        for slot in self._slots.values():
            if slot.track is None:
                missing[slot.kind] -= 1
        self._asked = {kind: max(0, count) for kind, count in missing.items()}
        self._awaiting = True
        self._ask_again_at = now + OFFER_PATIENCE
        return self._asked["audio"], self._asked["video"]

    def tick(self, now: float) -> None:
        """Stop waiting for an offer that does not come."""
        if self._awaiting and self._ask_again_at is not None and now >= self._ask_again_at:
            self._awaiting = False
            self._asked = dict.fromkeys(_KINDS, 0)


def _send(track: Track) -> Send:
    return Send(f"{track.owner.sid}|{track.sid}", track.sid)
