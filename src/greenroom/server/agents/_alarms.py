"""One queue of everything that has to be looked at again at a certain time."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Generic, Protocol, TypeVar


class Sleeper(Protocol):
    """Something with a time to wake at, ``None`` for never."""

    wake: float | None


S = TypeVar("S", bound=Sleeper)


class Alarms(Generic[S]):
    """Sleepers in the order they wake. Setting another time replaces the first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, S]] = []
        self._order = count()

    def set(self, sleeper: S, when: float | None) -> None:
        """Wake ``sleeper`` at ``when`` and at no other time."""
        if when == sleeper.wake:
            return
        sleeper.wake = when
        if when is not None:
            heapq.heappush(self._heap, (when, next(self._order), sleeper))

    def next(self) -> float | None:
        """Return when the next sleeper wakes."""
        self._discard_stale()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> S | None:
        """Return a sleeper whose time has come, and forget its alarm."""
        self._discard_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        sleeper = heapq.heappop(self._heap)[2]
        sleeper.wake = None
        return sleeper

    def _discard_stale(self) -> None:
        # Moving an alarm leaves its old entry behind; it is dropped when it reaches the top.
        while self._heap and self._heap[0][2].wake != self._heap[0][0]:
            heapq.heappop(self._heap)
