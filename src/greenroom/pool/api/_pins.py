"""Calls that stay on the code they have, for as long as something in them must not change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from livekit.agents import AgentSession

_pins: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


@contextlib.contextmanager
def pin_reload(session: AgentSession[Any]) -> Iterator[None]:
    """Keep a session on the code it runs while the block lasts. Blocks nest: the outermost one lets go."""
    _pins[session] = _pins.get(session, 0) + 1
    try:
        yield
    finally:
        left = _pins.get(session, 0) - 1
        if left > 0:
            _pins[session] = left
        else:
            _pins.pop(session, None)


def is_pinned(session: AgentSession[Any]) -> bool:
    """Return whether a session stays on its code just now."""
    return session in _pins
