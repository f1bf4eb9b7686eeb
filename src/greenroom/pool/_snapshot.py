"""What a pool tells of itself; the shapes stand on the floor, where those who receive them find them, too."""

from __future__ import annotations

from greenroom.reports import (
    SNAPSHOT_VERSION,
    AgentReport,
    PoolCommands,
    PoolSnapshot,
    SessionReport,
    ShardReport,
)

__all__ = ["SNAPSHOT_VERSION", "AgentReport", "PoolCommands", "PoolSnapshot", "SessionReport", "ShardReport"]
