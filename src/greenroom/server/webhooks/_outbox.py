"""What one receiver has still to be told, in order within each room. No I/O, no clock.

Times are seconds on any clock that does not go back.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from livekit.protocol import webhook

LANE_LIMIT: Final = 200
TOTAL_LIMIT: Final = 20_000
PATIENCE: Final = 600.0
"""How long after it happened an event is still worth telling."""

FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0


@dataclass(slots=True, eq=False)
class Pending:
    """An event that waits. ``body`` is set by the first attempt: a repeat is the same, byte for byte."""

    event: webhook.WebhookEvent
    added: float
    body: bytes = b""


@dataclass(slots=True, eq=False)
class Lane:
    """The events of one room, of which only the first may be on its way."""

    key: str
    waiting: deque[Pending] = field(default_factory=deque)
    busy: bool = False
    attempts: int = 0
    dropped: int = 0

    @property
    def head(self) -> Pending:
        """The event that is next."""
        return self.waiting[0]


class Outbox:
    """Lanes, and which of them may be served next.

    Beyond ``lane_limit`` events for a room, or ``total_limit`` for all, the room's oldest that is not on its
    way is dropped: what happened last says most about what is. The next event tells how many were.
    """

    def __init__(self, *, lane_limit: int = LANE_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        self._lane_limit = lane_limit
        self._total_limit = total_limit
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._asleep: list[tuple[float, int, Lane]] = []
        self._order = count()
        self._hurried = False
        self.size = 0
        #: How many events were given up, for whatever reason.
        self.dropped = 0

    def add(self, key: str, event: webhook.WebhookEvent, now: float) -> None:
        """Take an event of the room ``key``."""
        lane = self._lanes.get(key)
        if lane is None:
            if self.size >= self._total_limit:
                self.dropped += 1
                return
            lane = self._lanes[key] = Lane(key)
            self._ready.append(lane)
        lane.waiting.append(Pending(event, now))
        self.size += 1
        if len(lane.waiting) > self._lane_limit or self.size > self._total_limit:
            self._shorten(lane)

    def take(self, now: float) -> Lane | None:
        """Return a lane whose first event should be sent now. It is busy until one of the next three is called."""
        while self._asleep and (self._hurried or self._asleep[0][0] <= now):
            self._ready.append(heapq.heappop(self._asleep)[2])
        if not self._ready:
            return None
        lane = self._ready.popleft()
        lane.busy = True
        lane.attempts += 1
        return lane

    def delivered(self, lane: Lane) -> None:
        """The event has arrived, and with it how many had been dropped before it."""
        lane.dropped -= lane.head.event.num_dropped
        self._advance(lane)

    def refused(self, lane: Lane) -> None:
        """The receiver will not take the event, whenever it comes."""
        self._give_up(lane)

    def failed(self, lane: Lane, now: float) -> float | None:
        """The attempt failed. Return how long the event waits for the next one; ``None``: it was given up."""
        if self._hurried or now - lane.head.added >= PATIENCE:
            self._give_up(lane)
            return None
        lane.busy = False
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (lane.attempts - 1))
        heapq.heappush(self._asleep, (now + delay, next(self._order), lane))
        return delay

    def next_due(self) -> float | None:
        """Return when :meth:`take` has something again that it has not now."""
        return self._asleep[0][0] if self._asleep else None

    def hurry(self) -> None:
        """Give every event one more attempt at once: nobody will be here later."""
        self._hurried = True

    def _advance(self, lane: Lane) -> None:
        lane.waiting.popleft()
        lane.busy = False
        lane.attempts = 0
        self.size -= 1
        if lane.waiting:
            self._ready.append(lane)
        else:
            del self._lanes[lane.key]

    def _give_up(self, lane: Lane) -> None:
        lane.dropped += 1
        self.dropped += 1
        self._advance(lane)

    def _shorten(self, lane: Lane) -> None:
        # What a receiver may have seen already, or is being sent, stays.
        del lane.waiting[1 if lane.busy or lane.head.body else 0]
        lane.dropped += 1
        self.dropped += 1
        self.size -= 1
