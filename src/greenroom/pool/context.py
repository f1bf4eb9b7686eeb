"""Whose call is this: what code that runs inside a session may ask, without being handed anything.

Known in the whole tree of tasks of a session, in its callbacks, and in threads that ``asyncio.to_thread`` started.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

import msgspec

__all__ = [
    "Scope",
    "current_agent_name",
    "current_room_name",
    "current_scope",
    "current_session_id",
    "current_tenant_id",
    "environment",
    "resumed",
]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Scope(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """To whom the code that runs belongs. ``session`` is the id of the job."""

    session: str
    agent: str
    tenant: str
    room: str = ""
    environment: Mapping[str, str] = _NOTHING
    resumed: bool = False


#: Bound by the shard that runs the session, for the session's own context.
SCOPE: Final[ContextVar[Scope | None]] = ContextVar("greenroom_scope", default=None)
#: What replaces the agent's providers for the session's tenant. Not part of the scope, which may be printed: there
#: are secrets in it.
PROVIDERS: Final[ContextVar[Mapping[str, Any]]] = ContextVar("greenroom_providers", default=_NOTHING)


def current_scope() -> Scope | None:
    """Return to whom the running code belongs, ``None`` outside a session."""
    return SCOPE.get()


def current_session_id() -> str | None:
    """Return the id of the session, which is the id of its job; ``None`` outside one."""
    scope = SCOPE.get()
    return scope.session if scope is not None else None


def current_agent_name() -> str | None:
    """Return what the pool calls the agent of the session; ``None`` outside one."""
    scope = SCOPE.get()
    return scope.agent if scope is not None else None


def current_tenant_id() -> str | None:
    """Return the tenant of the session, ``"default"`` when it names none; ``None`` outside a session."""
    scope = SCOPE.get()
    return scope.tenant if scope is not None else None


def current_room_name() -> str | None:
    """Return the name of the session's room; ``None`` outside a session."""
    scope = SCOPE.get()
    return scope.room if scope is not None else None


def environment() -> Mapping[str, str]:
    """Return what is configured for the session's tenant to read; empty outside a session."""
    scope = SCOPE.get()
    return scope.environment if scope is not None else _NOTHING


def resumed() -> bool:
    """Return whether the session goes on with a call that began elsewhere, so that nobody need be greeted."""
    scope = SCOPE.get()
    return scope is not None and scope.resumed
