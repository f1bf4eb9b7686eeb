"""What a pool can be told, for whoever starts one."""

from __future__ import annotations

from greenroom.pool._model import AgentSpec, Placement
from greenroom.pool._settings import (
    DEFAULT_DRAIN_TIMEOUT,
    DEFAULT_HTTP_PORT,
    DEFAULT_MAX_SESSIONS,
    AgentSettings,
    BreakerSettings,
    PolicySettings,
    PoolSettings,
    TenantSettings,
    TenantsSettings,
    WatchdogSettings,
)

__all__ = [
    "DEFAULT_DRAIN_TIMEOUT",
    "DEFAULT_HTTP_PORT",
    "DEFAULT_MAX_SESSIONS",
    "AgentSettings",
    "AgentSpec",
    "BreakerSettings",
    "Placement",
    "PolicySettings",
    "PoolSettings",
    "TenantSettings",
    "TenantsSettings",
    "WatchdogSettings",
]
