"""What goes into the log and what comes out of it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from greenroom.eventlog._events import Raw, event

_STREAM: Final = re.compile(r"[a-z][a-z0-9_]{0,31}:[A-Za-z0-9_.\-]{1,128}")
_TENANT: Final = re.compile(r"[A-Za-z0-9_.\-]{0,64}")
_KEY_LENGTH: Final = 256
# Times past it, in seconds either side of 1970, are mistakes; and they must fit 64 bits as microseconds.
_LATEST: Final = 1e12
_REASON_LENGTH: Final = 200
ERASED: Final = "stream.erased"


class NewEvent(msgspec.Struct, frozen=True):
    """An event to append.

    :param data: a struct declared with :func:`greenroom.eventlog.event`.
    :param at: when it happened, in seconds since 1970; when it is recorded, by default. Kept to the microsecond.
    :param key: the event is stored once per tenant and key; empty for no such promise. Neither a key nor a stream
        may name a person, a phone number or a room: both outlive erasure.
    """

    data: msgspec.Struct
    at: float | None = None
    key: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the log.

    :param position: its place among all events; grows, with no gap, in the order of commits.
    :param seq: its place in its stream, from 1.
    :param at: when it happened, by its producer; ``recorded_at``, by the log's clock. Seconds since 1970.
        Clocks jump; positions do not.
    :param data: the payload in the current shape of its type; :class:`Raw` where there is none; ``None`` once erased.
    :param hash: of its header, which binds everything else here but ``data`` of an erased event.
    """

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    version: int
    at: float
    recorded_at: float
    key: str
    data: msgspec.Struct | Raw | None
    hash: bytes


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What an append did, now durable.

    :param first_seq: where the first event given stands in its stream, ``last_seq`` where the last one does.
    :param last_position: the greatest position among them.
    :param duplicates: how many were there already under their key.
    """

    first_seq: int
    last_seq: int
    last_position: int
    duplicates: int = 0


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How many payloads and blobs an erasure deleted."""

    events: int = 0
    blobs: int = 0


class StreamHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream ends.

    :param position: of its last event; ``recorded_at``, of that one, in seconds since 1970.
    :param erased: payloads up to this sequence number are gone.
    """

    tenant: str
    stream: str
    position: int
    seq: int
    hash: bytes
    recorded_at: float
    erased: int = 0


@event(ERASED)
class StreamErased(msgspec.Struct, frozen=True, kw_only=True):
    """Says that the payloads of a stream up to ``through_seq`` have been deleted. Is itself never erased."""

    through_seq: int
    events: int
    reason: str


def check_stream(stream: str) -> str:
    """Return ``stream`` when it is ``kind:opaque-id``. Raises :class:`ValueError`."""
    if not _STREAM.fullmatch(stream):
        raise ValueError(f"{stream!r} is no stream: write it as kind:opaque-id")
    return stream


def check_tenant(tenant: str) -> str:
    """Return ``tenant`` when it is empty or an opaque word. Raises :class:`ValueError`."""
    if not _TENANT.fullmatch(tenant):
        raise ValueError(f"{tenant!r} is no tenant: use up to 64 letters, digits and _.-")
    return tenant


def check_time(at: float) -> int:
    """Return ``at`` in microseconds. Raises :class:`ValueError`."""
    if not -_LATEST < at < _LATEST:
        raise ValueError(f"{at} is no time in seconds since 1970")
    return round(at * 1_000_000)


def check_key(key: str) -> str:
    """Return ``key`` when it is fit to be one. Raises :class:`ValueError`."""
    if len(key) > _KEY_LENGTH or not key.isprintable():
        raise ValueError(f"An idempotency key has at most {_KEY_LENGTH} printable characters")
    return key


def check_reason(reason: str) -> str:
    """Return ``reason`` when it is fit to be kept for ever. Raises :class:`ValueError`."""
    if not 0 < len(reason) <= _REASON_LENGTH or not reason.isprintable():
        raise ValueError(f"A reason has 1 to {_REASON_LENGTH} printable characters")
    return reason
