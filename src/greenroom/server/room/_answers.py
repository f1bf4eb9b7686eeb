"""Answers that a client must not miss.

Rust clients (and so Python's) send a request first and begin to expect its answer afterwards. On a fast
network the answer can be there in between; it is ignored, and the caller waits out its 5 s timeout. So an
answer is given at once and repeated twice, which costs a few bytes: clients ignore an answer nobody waits for.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Final

from livekit.protocol import rtc

from greenroom.server.room._effects import Effect, Signal
from greenroom.server.room._participant import Participant

REPEATS: Final = (0.03, 0.3)


class Answers:
    """The answers of one room that are still to be repeated."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Participant, rtc.SignalResponse]] = []
        self._order = itertools.count()

    @property
    def due(self) -> float | None:
        """When :meth:`flush` has something to do, in seconds since the epoch."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, participant: Participant, response: rtc.RequestResponse, now: float) -> list[Effect]:
        """Answer ``participant`` now and again later."""
        message = rtc.SignalResponse(request_response=response)
        for delay in REPEATS:
            heapq.heappush(self._waiting, (now + delay, next(self._order), participant, message))
        return [Signal([participant], message)]

    def flush(self, now: float) -> list[Effect]:
        """Repeat what is due, to those who are still there."""
        effects: list[Effect] = []
        while self._waiting and self._waiting[0][0] <= now:
            _, _, participant, message = heapq.heappop(self._waiting)
            if participant.present:
                effects.append(Signal([participant], message))
        return effects
