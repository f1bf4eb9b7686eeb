"""The cast: many agents in few processes, on any LiveKit.

The names are OpenRTC's: ``from greenroom.pool import AgentPool, agent_config``. They are imported when they are asked
for, so that the supervisor, which runs no user code, does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom.pool.api import (
        NOT_GIVEN,
        AgentConfig,
        AgentDiscoveryConfig,
        AgentPool,
        FileChange,
        FileWatcher,
        ProviderValue,
        RequestFilter,
        SessionInfo,
        SessionObserver,
        SessionOutcome,
        SessionStatus,
        agent_config,
        is_pinned,
        pin_reload,
    )

__all__ = [
    "NOT_GIVEN",
    "AgentConfig",
    "AgentDiscoveryConfig",
    "AgentPool",
    "FileChange",
    "FileWatcher",
    "ProviderValue",
    "RequestFilter",
    "SessionInfo",
    "SessionObserver",
    "SessionOutcome",
    "SessionStatus",
    "__version__",
    "agent_config",
    "is_pinned",
    "pin_reload",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from greenroom import __version__  # noqa: PLC0415

        return __version__
    if name in __all__:
        from greenroom.pool import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
