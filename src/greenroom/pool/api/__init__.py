"""A drop-in for OpenRTC's public API: agents are registered with an ``AgentPool``, which runs them.

``docs/pool-api.md`` is its manual, and says what differs from OpenRTC. Nothing here imports ``livekit.agents``
before an agent is registered.
"""

from __future__ import annotations

from greenroom.pool.api._capture import Capture, capture
from greenroom.pool.api._config import (
    NOT_GIVEN,
    AgentConfig,
    AgentDiscoveryConfig,
    ProviderValue,
    RequestFilter,
    agent_config,
)
from greenroom.pool.api._discovery import Discovered, discover_files
from greenroom.pool.api._hosting import Host, set_host
from greenroom.pool.api._observing import SessionInfo, SessionObserver, SessionOutcome, SessionStatus
from greenroom.pool.api._pins import is_pinned, pin_reload
from greenroom.pool.api._pool import AgentPool
from greenroom.pool.api._watcher import FileChange, FileWatcher

__all__ = [
    "NOT_GIVEN",
    "AgentConfig",
    "AgentDiscoveryConfig",
    "AgentPool",
    "Capture",
    "Discovered",
    "FileChange",
    "FileWatcher",
    "Host",
    "ProviderValue",
    "RequestFilter",
    "SessionInfo",
    "SessionObserver",
    "SessionOutcome",
    "SessionStatus",
    "agent_config",
    "capture",
    "discover_files",
    "is_pinned",
    "pin_reload",
    "set_host",
]
