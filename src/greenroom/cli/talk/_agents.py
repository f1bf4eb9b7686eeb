"""Which agent a call is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from greenroom.cli._agents import Listed
from greenroom.cli.talk._endings import CallError
from greenroom.errors import ConfigError

#: How long an agent is waited for that the page does not know; it may have been started by other means.
UNKNOWN_PATIENCE: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Callee:
    """Whom a call is for.

    :param name: empty for the agents that join every room.
    :param metadata: what its job is told.
    :param listed: the agents there are, as far as anybody knows.
    """

    name: str = ""
    metadata: str = ""
    listed: list[Listed] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What it is called on the screen."""
        return self.name or "agent"

    def patience(self, timeout: float) -> float:
        """Return how many seconds to wait for it; ``timeout`` unless it is unlikely to come."""
        known = next((agent for agent in self.listed if agent.name == self.name), None)
        if self.listed and (known is None or known.state == "failed"):
            return min(timeout, UNKNOWN_PATIENCE)
        return timeout

    def missing(self, seconds: float, *, room_given: bool) -> CallError:
        """Return the error for an agent that did not come."""
        who = f"Agent '{self.name}'" if self.name else "An agent"
        message = f"{who} did not come within {seconds:g} s"
        known = next((agent for agent in self.listed if agent.name == self.name), None)
        names = _names(self.listed)
        if known is not None and known.detail:
            return CallError(message, fix=f"Its worker is {known.state}: {known.detail}")
        if known is None and names:
            return CallError(message, fix=f"The server has {names}. Call one of these, or run: greenroom dev PATH")
        if room_given:
            return CallError(message, fix="An agent is sent when a room is created: choose a --room that is not in use")
        return CallError(message, fix="Start it with: greenroom dev PATH, or name an agent: greenroom talk AGENT")


def choose(asked: str, listed: list[Listed]) -> Callee:
    """Return whom to call.

    Without a name these are the agents that join every room; where there are none of them, the only agent.

    :param asked: ``NAME`` or ``NAME=METADATA`` or nothing.
    :raises ConfigError: when it is not clear which.
    """
    name, _, metadata = asked.partition("=")
    if name or not listed or any(not agent.name for agent in listed):
        return Callee(name=name, metadata=metadata, listed=listed)
    if len(listed) > 1:
        raise ConfigError("There is more than one agent", fix=f"Name one: {_names(listed)}")
    return Callee(name=listed[0].name, metadata=metadata, listed=listed)


def _names(listed: list[Listed]) -> str:
    return ", ".join(agent.name for agent in listed if agent.name)
