"""What a program's observers are told of sessions, and how: one after the other, bounded, never able to harm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from greenroom.pool._model import DEFAULT_TENANT

if TYPE_CHECKING:
    from livekit.agents import AgentSession

_log = logging.getLogger(__name__)
#: A start is told before anybody is greeted.
START_TIMEOUT: Final = 5.0


class SessionStatus(Enum):
    """How a session ended: it was a call, something failed, or it was ended from outside."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Which session. ``metadata`` is the room's, under the job's; ``started_at`` is seconds since the epoch."""

    agent_name: str
    room_name: str
    job_id: str
    metadata: Mapping[str, str]
    started_at: float
    tenant: str = DEFAULT_TENANT
    deployment_version: str | None = None


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """How it ended; ``error`` is what it failed of."""

    status: SessionStatus
    error: BaseException | None
    ended_at: float
    duration_seconds: float


@runtime_checkable
class SessionObserver(Protocol):
    """Is told of sessions. An end may come without a start before it."""

    async def on_session_start(self, info: SessionInfo, session: AgentSession[Any]) -> None:
        """The session runs, nobody was greeted yet."""

    async def on_session_end(self, info: SessionInfo, outcome: SessionOutcome) -> None:
        """The session is over. Called once."""


def observer(value: object) -> SessionObserver:
    """Return an observer. Raises ``TypeError`` for what is none."""
    if not isinstance(value, SessionObserver):
        raise TypeError(
            "observer must implement on_session_start and on_session_end (SessionObserver protocol); "
            f"got {type(value).__name__}."
        )
    return value


async def tell_start(
    observers: Iterable[SessionObserver], info: SessionInfo, session: AgentSession[Any], *, bound: float
) -> None:
    """Tell each of them that a session runs."""
    for each in tuple(observers):
        await _tell(each.on_session_start, info, session, bound=bound)


async def tell_end(
    observers: Iterable[SessionObserver], info: SessionInfo, outcome: SessionOutcome, *, bound: float
) -> None:
    """Tell each of them that it is over."""
    for each in tuple(observers):
        await _tell(each.on_session_end, info, outcome, bound=bound)


async def _tell(hook: Any, info: SessionInfo, what: object, *, bound: float) -> None:
    fields = {"observer": type(getattr(hook, "__self__", hook)).__name__}
    try:
        told: Awaitable[None] = hook(info, what)
        await asyncio.wait_for(told, bound)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        _log.warning("session observer cancelled itself", extra=fields)
    except TimeoutError:
        _log.warning("session observer took too long", extra=fields | {"seconds": bound})
    except Exception:
        _log.warning("session observer failed", exc_info=True, extra=fields)
