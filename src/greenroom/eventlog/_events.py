"""The registry of event types: their shapes, their versions, and how an old one becomes a new one."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from greenroom.eventlog._errors import EventTooLargeError

MAX_PAYLOAD: Final = 1024 * 1024
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

_Data = TypeVar("_Data", bound=msgspec.Struct)
Upcast = Callable[[dict[str, Any]], dict[str, Any]]


class BlobRef(msgspec.Struct, frozen=True, kw_only=True):
    """Names a stored blob in an event. While an event that holds it has its payload, the blob is kept.

    :param hash: SHA-256 of the content, 64 hexadecimal digits.
    :param size: in bytes.
    """

    hash: str
    size: int


class Raw(msgspec.Struct, frozen=True):
    """A payload this program knows no shape for: of an unknown type, of a newer version, or unfit for its shape."""

    payload: bytes

    def json(self) -> Any:
        """Return the payload as plain lists, dicts and scalars."""
        return msgspec.json.decode(self.payload)


class EventType:
    """A registered type of event."""

    def __init__(self, name: str, version: int, shape: type[msgspec.Struct]) -> None:
        self.name = name
        self.version = version
        self.shape = shape
        self.upcasts: dict[int, Upcast] = {}
        self._decoder = msgspec.json.Decoder(shape)
        self._blob_fields: tuple[str, ...] | None = None

    def decode(self, version: int, payload: bytes) -> msgspec.Struct | Raw:
        """Return the payload in the current shape; :class:`Raw` when there is no way to it."""
        try:
            if version == self.version:
                data: msgspec.Struct = self._decoder.decode(payload)
                return data
            if version > self.version:
                return Raw(payload)
            fields = msgspec.json.decode(payload)
            for step in range(version, self.version):
                fields = self.upcasts[step](fields)
            return msgspec.convert(fields, self.shape)
        except (msgspec.MsgspecError, KeyError):
            return Raw(payload)

    def blobs(self, data: msgspec.Struct) -> tuple[str, ...]:
        """Return the hashes of the blobs that ``data`` names in its own fields."""
        if self._blob_fields is None:
            fields = msgspec.structs.fields(self.shape)
            self._blob_fields = tuple(field.name for field in fields if _names_blob(field.type))
        found: list[str] = []
        for name in self._blob_fields:
            found += _hashes(getattr(data, name))
        return tuple(found)


_BY_NAME: dict[str, EventType] = {}
_BY_SHAPE: dict[type, EventType] = {}
_ENCODER: Final = msgspec.json.Encoder()


def event(name: str, *, version: int = 1) -> Callable[[type[_Data]], type[_Data]]:
    """Declare a struct as the shape of the events called ``name``, as of ``version``.

    Names are dotted words: ``call.started``. Which changes need a new version, and what must come with one,
    is written in ``docs/event-log.md``.

    :raises ValueError: for a malformed name or version, or a name another struct has.
    """

    def declare(shape: type[_Data]) -> type[_Data]:
        if not _NAME.fullmatch(name) or version < 1:
            raise ValueError(f"{name!r} version {version} is no event type")
        known = _BY_NAME.get(name)
        if known is not None and (known.shape.__module__, known.shape.__qualname__) != (
            shape.__module__,
            shape.__qualname__,
        ):
            raise ValueError(f"{name!r} is already declared by {known.shape.__module__}.{known.shape.__qualname__}")
        _BY_NAME[name] = _BY_SHAPE[shape] = EventType(name, version, shape)
        return shape

    return declare


def upcast(name: str, version: int) -> Callable[[Upcast], Upcast]:
    """Declare how the fields of ``name`` at ``version`` become those of ``version + 1``.

    The function takes and returns the payload as plain JSON values. It is declared after the struct.

    :raises ValueError: for an unknown name, or a version that is not older than the struct's.
    """

    def declare(function: Upcast) -> Upcast:
        known = _BY_NAME.get(name)
        if known is None or not 1 <= version < known.version:
            raise ValueError(f"{name!r} has no version after {version}")
        known.upcasts[version] = function
        return function

    return declare


def type_of(data: msgspec.Struct) -> EventType:
    """Return the registered type of ``data``. Raises :class:`TypeError`."""
    try:
        return _BY_SHAPE[type(data)]
    except KeyError:
        raise TypeError(f"{type(data).__qualname__} is not declared with @event") from None


def registered() -> tuple[EventType, ...]:
    """Return all event types declared so far, by name."""
    return tuple(_BY_NAME[name] for name in sorted(_BY_NAME))


def encode(known: EventType, data: msgspec.Struct) -> bytes:
    """Return the payload of an event. Raises :class:`EventTooLargeError` past 1 MiB."""
    payload = _ENCODER.encode(data)
    if len(payload) > MAX_PAYLOAD:
        raise EventTooLargeError(
            f"A {known.name} event of {len(payload)} bytes exceeds {MAX_PAYLOAD}",
            fix="Store what is large as a blob and name it in the event",
            context={"type": known.name, "bytes": len(payload)},
        )
    return payload


def decode(name: str, version: int, payload: bytes) -> msgspec.Struct | Raw:
    """Return a payload in its current shape, or as :class:`Raw`."""
    known = _BY_NAME.get(name)
    return Raw(payload) if known is None else known.decode(version, payload)


def _names_blob(hint: Any) -> bool:
    return hint is BlobRef or any(_names_blob(part) for part in typing.get_args(hint))


def _hashes(value: Any) -> Iterator[str]:
    if isinstance(value, BlobRef):
        yield value.hash
    elif isinstance(value, dict):
        for part in value.values():
            yield from _hashes(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _hashes(part)
