"""What is checked of an agent when it is registered, so that no call finds out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.errors import MissingExtraError
from greenroom.pool.api._config import NOT_GIVEN
from greenroom.pool.api._turns import checked_options


def check_agent(agent_cls: object) -> None:
    """Raise ``TypeError`` for what is no agent."""
    try:
        from livekit.agents import Agent  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("An agent pool", "agents") from error
    if not isinstance(agent_cls, type) or not issubclass(agent_cls, Agent):
        raise TypeError("agent_cls must be a subclass of livekit.agents.Agent.")


def session_options(
    agent: str, options: Mapping[str, Any], session_factory: object, userdata_factory: object, providers: Sequence[Any]
) -> dict[str, Any]:
    """Return the options of an agent's sessions. Raises ``TypeError`` for what no session takes, or would get twice."""
    if session_factory is None:
        if userdata_factory is not None and "userdata" in options:
            raise TypeError(f"Agent '{agent}' gets its userdata twice; pass userdata or userdata_factory.")
        return checked_options(agent, options)
    if userdata_factory is not None or any(each not in {NOT_GIVEN, None} for each in map(_hashable, providers)):
        raise TypeError(f"Agent '{agent}' has a session_factory; providers and userdata are decided there.")
    return checked_options(agent, options, made_elsewhere="its session_factory")


def capabilities(agent: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return what an agent can do, each once. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        raise TypeError(f"capabilities of agent '{agent}' must be a list of strings.")
    words = tuple(dict.fromkeys(each.strip() for each in given))
    if any(not each or "," in each for each in words):
        raise ValueError(f"A capability of agent '{agent}' is empty or holds a comma.")
    return words


def start_options(agent: str, given: Mapping[str, Any] | None, room_options: object) -> dict[str, Any]:
    """Return options of ``AgentSession.start``. Raises ``TypeError`` for those it does not have."""
    from livekit.agents import AgentSession  # noqa: PLC0415

    options = _known(agent, given, AgentSession.start, "AgentSession.start", taken=("room", "capture_run"))
    if room_options is not None and options.keys() & {"room_options", "room_input_options", "room_output_options"}:
        raise TypeError(f"Agent '{agent}' gets its room options twice.")
    return options


def connect_options(agent: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options of ``JobContext.connect``. Raises ``TypeError`` for those it does not have."""
    from livekit.agents import JobContext  # noqa: PLC0415

    return _known(agent, given, JobContext.connect, "JobContext.connect")


def _known(
    agent: str, given: Mapping[str, Any] | None, function: Any, called: str, *, taken: Sequence[str] = ()
) -> dict[str, Any]:
    for name in given or {}:
        if name not in _keywords(function) or name in taken:
            raise TypeError(f"Agent '{agent}' has an option '{name}', which {called} does not take.")
    return dict(given or {})


@functools.cache
def _keywords(function: Any) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    return frozenset(each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY)


def _hashable(value: Any) -> Any:
    return value if value is None or value is NOT_GIVEN else "given"
