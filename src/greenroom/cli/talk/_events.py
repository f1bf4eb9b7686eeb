"""What happens in a call from the terminal. With ``--json`` each of these is a line."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["running", "done", "error", "cancelled"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened."""


class Connected(Event, frozen=True, tag="connected"):
    """The caller is in the room."""

    url: str
    room: str
    identity: str


class AgentJoined(Event, frozen=True, tag="agent_joined"):
    """The agent that is talked to is there; again when another takes its place."""

    agent: str
    identity: str


class AgentLeft(Event, frozen=True, tag="agent_left"):
    """The agent left the room.

    :param reason: LiveKit's name of the reason, in lower case.
    """

    agent: str
    identity: str
    reason: str


class AgentState(Event, frozen=True, tag="state"):
    """What the agent does: ``initializing``, ``listening``, ``thinking``, ``speaking`` or ``idle``."""

    state: str


class Words(Event, frozen=True, tag="words"):
    """The next words of a message, as they come."""

    message: str
    by: str
    text: str


class Said(Event, frozen=True, tag="said"):
    """A message is over.

    :param text: the whole message.
    :param complete: false when it broke off on the way.
    """

    message: str
    by: str
    text: str
    complete: bool = True


class Sent(Event, frozen=True, tag="sent"):
    """A line of the caller went out."""

    text: str


class Heard(Event, frozen=True, tag="heard"):
    """What the agent understood of the caller's voice.

    :param final: false while the caller is still speaking; then the next replaces it.
    """

    text: str
    final: bool


class Muted(Event, frozen=True, tag="muted"):
    """The caller's microphone was turned off, or on again."""

    muted: bool


class Tool(Event, frozen=True, tag="tool"):
    """The agent calls a tool, or the call is over.

    :param arguments: the arguments, as JSON.
    :param output: what came back; while it runs, how far it is.
    """

    call: str
    name: str
    arguments: str
    outcome: Outcome
    output: str = ""


class Fault(Event, frozen=True, tag="fault"):
    """The agent tells of an error of its own."""

    message: str


class Connection(Event, frozen=True, tag="connection"):
    """The connection broke and is being mended, or is back."""

    up: bool


class Ended(Event, frozen=True, tag="ended"):
    """The call is over as somebody wished.

    :param by: ``caller``, or ``other`` for the agent or the server.
    """

    reason: str
    by: Literal["caller", "other"]


class Failed(Event, frozen=True, tag="failed"):
    """The call could not be made or broke off."""

    message: str
    fix: str
