"""Which settings count at once when a pool that runs is told others, and which from its next start."""

from __future__ import annotations

from typing import Final

import msgspec

from greenroom.pool._settings import PoolSettings

_HOT: Final = frozenset(
    {
        "max_sessions",
        "max_sessions_per_agent",
        "max_sessions_per_tenant",
        "drain_timeout",
        "memory_warn_mb",
        "memory_limit_mb",
        "only_registered_rooms",
        "first_prefix",
        "swap",
        "placement",
        "watchdog",
        "breaker",
        "policies",
        "tenants",
        "agents",
    }
)


def hot_applied(now: PoolSettings, told: PoolSettings) -> tuple[PoolSettings, tuple[str, ...]]:
    """Return the settings that hold from now on, and the names of those that were told otherwise but have to wait."""
    other = [name for name in now.__struct_fields__ if getattr(now, name) != getattr(told, name)]
    changes = {name: getattr(told, name) for name in other if name in _HOT}
    return msgspec.structs.replace(now, **changes), tuple(name for name in other if name not in _HOT)
