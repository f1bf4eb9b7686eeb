"""What keeps the log: SQLite today. Any store passes ``tests/conformance/eventlog``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from greenroom.eventlog._chain import Append, Head, Row, StreamKey
from greenroom.eventlog._checkpoints import Checkpoint, SigningKey
from greenroom.eventlog._errors import EventLogError
from greenroom.eventlog._model import Appended, StreamHead


class Query(NamedTuple):
    """Which events to read. ``None`` is every one."""

    tenant: str | None = None
    streams: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None


class Page(NamedTuple):
    """Events in order of position, and how far the store has been searched for them."""

    rows: list[Row]
    searched: int


class Erasure(NamedTuple):
    """How many payloads are gone, and the blobs they named. ``more``: there is more to erase."""

    events: int
    blobs: tuple[str, ...]
    more: bool = False


class Place(NamedTuple):
    """Where an event stands, in the log and in its stream."""

    position: int
    tenant: str
    stream: str
    seq: int


class Reader(Protocol):
    """Reads the log; used by one thread at a time. What it returns is committed."""

    def head(self) -> int:
        """Return the last position, 0 of an empty log."""

    def page(self, after: int, limit: int, query: Query) -> Page:
        """Return the first ``limit`` events past a position."""

    def stream(self, tenant: str, stream: str, after_seq: int, limit: int) -> list[Row]:
        """Return the first ``limit`` events of a stream past a sequence number."""

    def last_before(self, tenant: str, stream: str, time: int) -> int:
        """Return the last sequence number of a stream recorded before a time (in microseconds), 0 without any."""

    def scan(self, after: int, limit: int) -> list[Row]:
        """Return events past a position for verification: as far as possible even what is damaged."""

    def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints, by number."""

    def ends_between(self, after: int, through: int) -> list[tuple[StreamKey, Head]]:
        """Return the streams with events past ``after``, and where they ended at the position ``through``."""

    def blobs(self) -> Iterator[tuple[str, list[Place]]]:
        """Yield each blob that is named, and the events that name it."""

    def unnamed(self, blobs: Sequence[str]) -> list[str]:
        """Return those blobs that no event names."""

    def inconsistencies(self) -> list[tuple[str, int]]:
        """Return what is wrong beside the events themselves, and at which position (0: at none)."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Read one state of the log inside the ``with``."""

    def heads(self, tenant: str | None, kind: str, *, before: int | None = None) -> list[StreamHead]:
        """Return the ends of all streams of a kind (``session``), by name; of every kind when it is empty.

        :param before: only streams whose last event was recorded earlier (in microseconds) and that hold payloads.
        """

    def close(self) -> None:
        """Let go of what is held."""


class Store(Protocol):
    """Writes the log; used by one thread. What a method returned from is durable; what it raised from is not there."""

    def commit(
        self, appends: Sequence[Append], *, now: int, missing: Callable[[str], bool] | None = None
    ) -> list[Appended | EventLogError]:
        """Store a batch in one transaction and say what became of each append (``_chain.plan``)."""

    def erase(self, tenant: str, stream: str, *, through: int | None, reason: str, now: int) -> Erasure:
        """Delete a stream's payloads and salts up to a sequence number, oldest first, and say so in the stream."""

    def head(self) -> int:
        """Return the last position."""

    def checkpoint(self, *, key: SigningKey | None, now: int) -> bool:
        """Join the ends of the streams that have grown since the last checkpoint; tell whether there were any."""

    def release(self, blobs: Iterable[str], delete: Callable[[Iterable[str]], int]) -> int:
        """Call ``delete`` with those blobs that no event names, while no event can be stored; return its answer."""

    def reader(self, *, tolerant: bool = False) -> Reader:
        """Open a reader, for verification when it is ``tolerant``. May be called from any thread."""

    def close(self) -> None:
        """Let go of what is held."""
