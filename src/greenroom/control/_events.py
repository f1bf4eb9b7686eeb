"""What the control plane itself puts into the log: who logged in, and what was done to live calls."""

from __future__ import annotations

import msgspec

from greenroom.eventlog import event


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payload: what is not set is not written."""


@event("operator.logged_in")
class LoggedIn(_Data, frozen=True):
    """Somebody opened a session in a browser."""

    by: str
    role: str


class ControlEvent(_Data, frozen=True):
    """Somebody did something to a live call; written before it is done.

    :param by: who.
    :param detail: what exactly, where that is not what was said.
    """

    by: str
    detail: str = ""


@event("control.listen")
class Listened(ControlEvent, frozen=True):
    """Somebody took a token to listen with."""


@event("control.type")
class Typed(ControlEvent, frozen=True):
    """Somebody typed to the agent as its user."""


@event("control.mute")
class Muted(ControlEvent, frozen=True):
    """Somebody silenced the agent, or let it speak again."""


@event("control.end")
class Ended(ControlEvent, frozen=True):
    """Somebody ended the call."""
