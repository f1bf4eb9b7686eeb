"""Events for tests of the log, and clocks that tests move."""

from __future__ import annotations

import msgspec

from greenroom.eventlog import BlobRef, NewEvent, event


@event("test.said")
class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A payload of no meaning."""

    text: str = ""
    number: int = 0
    blob: BlobRef | None = None
    more: tuple[BlobRef, ...] = ()


@event("test.done")
class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Another type."""


class Clock:
    """A wall clock that the test sets, in seconds since 1970."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def said(text: str = "", *, key: str = "", at: float | None = None, **fields: object) -> NewEvent:
    """Return an event that says ``text``."""
    return NewEvent(Said(text=text, **fields), at=at, key=key)  # type: ignore[arg-type]
