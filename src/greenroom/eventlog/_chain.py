"""Hash chains: what an append turns into, with neither clock, chance nor database of its own.

A header is the position, sequence number, both times and version of an event, then tenant, stream, type and key
(each after its length), then the digest of its payload and the hash of the header before it in the stream. The
digest is salted, so that a header tells nothing about a payload that has been erased. ``docs/event-log.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from greenroom.eventlog._errors import BlobMissingError, ConflictError, EventLogError
from greenroom.eventlog._model import Appended

SALT: Final = 16
GENESIS: Final = bytes(32)
_HEADER: Final = struct.Struct(">QQqqIHHHH")
_MAGIC: Final = b"greenroom.event.1"

StreamKey: TypeAlias = tuple[str, str]
Header: TypeAlias = tuple[int, str, str, int, str, int, int, int, str, bytes]


class Encoded(NamedTuple):
    """An event ready to be chained. Times are microseconds since 1970."""

    type: str
    version: int
    at: int | None
    key: str
    payload: bytes
    blobs: tuple[str, ...]


class Append(NamedTuple):
    """Events that go to one stream together."""

    tenant: str
    stream: str
    expected: int | None
    events: Sequence[Encoded]


class Row(NamedTuple):
    """An event as stores keep it. ``salt`` and ``payload`` are ``None`` once erased.

    ``previous`` is the position of the event before it in the stream, 0 of the first. Only stores use it.
    """

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    version: int
    at: int
    recorded_at: int
    key: str
    digest: bytes
    hash: bytes
    salt: bytes | None
    payload: bytes | None
    previous: int = 0
    blobs: tuple[str, ...] = ()


class Head(NamedTuple):
    """The end of a stream: where its last event stands, and that one's hash; zero and zeros of one that is empty."""

    position: int
    seq: int
    hash: bytes


class Place(NamedTuple):
    """Where an event stands."""

    position: int
    seq: int


class Plan(NamedTuple):
    """What a batch of appends stores, and what each of them is told once that is durable."""

    rows: list[Row]
    heads: dict[StreamKey, Head]
    outcomes: list[Appended | EventLogError]


EMPTY: Final = Head(0, 0, GENESIS)


def digest_of(salt: bytes, payload: bytes) -> bytes:
    """Return what a header says of a payload."""
    return sha256(salt + payload).digest()


def hash_of(header: Header, previous: bytes) -> bytes:
    """Return the hash of a header: the first ten fields of a :class:`Row`."""
    position, tenant, stream, seq, kind, version, at, recorded_at, key, digest = header
    texts = (tenant.encode(), stream.encode(), kind.encode(), key.encode())
    fixed = _HEADER.pack(position, seq, at, recorded_at, version, *map(len, texts))
    return sha256(b"".join((_MAGIC, fixed, *texts, digest, previous))).digest()


def plan(
    appends: Sequence[Append],
    *,
    heads: Mapping[StreamKey, Head],
    known: Mapping[tuple[str, str], Place],
    position: int,
    now: int,
    salts: bytes,
    missing: Callable[[str], bool] | None = None,
) -> Plan:
    """Chain a batch of appends, in order; one that cannot be done leaves the others alone.

    :param heads: the ends of the streams concerned.
    :param known: where the events with the keys concerned stand already, by tenant and key.
    :param position: the last one taken.
    :param now: in microseconds since 1970.
    :param salts: 16 random bytes for each event of the batch.
    :param missing: tells whether a blob is not stored.
    """
    planner = _Planner(heads, known, position=position, now=now, missing=missing)
    return Plan(outcomes=[planner.add(append, salts) for append in appends], rows=planner.rows, heads=planner.heads)


class _Planner:
    def __init__(
        self,
        heads: Mapping[StreamKey, Head],
        known: Mapping[tuple[str, str], Place],
        *,
        position: int,
        now: int,
        missing: Callable[[str], bool] | None,
    ) -> None:
        self._before = heads
        self._known = dict(known)
        self._position = position
        self._now = now
        self._missing = missing
        self.rows: list[Row] = []
        self.heads: dict[StreamKey, Head] = {}

    def add(self, append: Append, salts: bytes) -> Appended | EventLogError:
        stream = (append.tenant, append.stream)
        head = self.heads.get(stream) or self._before.get(stream, EMPTY)
        refused = self._refuse(append, head)
        if refused is not None:
            return refused
        places = []
        added = 0
        for found in append.events:
            key = (append.tenant, found.key)
            if found.key and key in self._known:
                places.append(self._known[key])
                continue
            added += 1
            self._position += 1
            place = Place(self._position, head.seq + 1)
            start = len(self.rows) * SALT
            row = self._chain(append, found, place, head, salts[start : start + SALT])
            self.rows.append(row)
            head = Head(place.position, place.seq, row.hash)
            places.append(place)
            if found.key:
                self._known[key] = place
        if added:
            self.heads[stream] = head
        return Appended(
            first_seq=places[0].seq,
            last_seq=places[-1].seq,
            last_position=max(place.position for place in places),
            duplicates=len(places) - added,
        )

    def _chain(self, append: Append, found: Encoded, place: Place, head: Head, salt: bytes) -> Row:
        kind, version, at, key, payload, blobs = found
        position, seq = place
        if at is None:
            at = self._now
        digest = digest_of(salt, payload)
        header = (position, append.tenant, append.stream, seq, kind, version, at, self._now, key, digest)
        return Row(*header, hash_of(header, head.hash), salt, payload, head.position, blobs)

    def _refuse(self, append: Append, head: Head) -> EventLogError | None:
        checks_blobs = self._missing is not None and any(found.blobs for found in append.events)
        if append.expected in {None, head.seq} and not checks_blobs:
            return None
        new = [found for found in append.events if not (found.key and (append.tenant, found.key) in self._known)]
        if new and append.expected not in {None, head.seq}:
            assert append.expected is not None
            return ConflictError(append.stream, expected=append.expected, actual=head.seq)
        for found in new:
            for blob in found.blobs:
                if self._missing is not None and self._missing(blob):
                    return _blob_missing(append.stream, blob)
        return None


def _blob_missing(stream: str, blob: str) -> EventLogError:
    return BlobMissingError(
        f"Blob {blob[:12]} that an event of {stream} names is not stored",
        fix="Store the blob again, then append",
        context={"stream": stream, "blob": blob},
    )
