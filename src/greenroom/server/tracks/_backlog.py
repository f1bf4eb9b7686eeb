"""What concerns everybody in a room, done for so many at a time that the event loop is never held up for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from greenroom.server.tracks._track import Track

#: People who are looked at in one go. It takes some 2 ms.
SLICE: Final = 200

Seat = TypeVar("Seat")


class Backlog(Generic[Seat]):
    """People still to be looked at, in order, each with the tracks that may concern it."""

    def __init__(self) -> None:
        self._work: deque[tuple[tuple[Track, ...], deque[Seat]]] = deque()

    def __len__(self) -> int:
        return sum(len(seats) for _, seats in self._work)

    def add(self, tracks: Iterable[Track], seats: Iterable[Seat]) -> None:
        """Look at these people, after those who are waiting already."""
        waiting = deque(seats)
        if waiting:
            self._work.append((tuple(tracks), waiting))

    def take(self, count: int) -> Iterator[tuple[Seat, tuple[Track, ...]]]:
        """Yield the next so many."""
        for _ in range(count):
            if not self._work:
                return
            tracks, seats = self._work[0]
            seat = seats.popleft()
            if not seats:
                self._work.popleft()
            yield seat, tracks

    def clear(self) -> None:
        """Forget everything."""
        self._work.clear()
