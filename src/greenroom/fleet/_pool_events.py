"""What the log says of pools of agents: the shapes of its events, all of them in the stream ``system:pools``.

Only what changes is told. Figures that move all the time are in ``/api/pools``.
"""

from __future__ import annotations

import msgspec

from greenroom.eventlog import event


class PoolEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something about a pool.

    :param instance: names one run of it.
    :param machine: the host's name.
    """

    instance: str
    machine: str = ""


@event("pool.started")
class PoolStarted(PoolEvent, frozen=True):
    """A pool has reported for the first time."""

    pid: int = 0
    started_at: float = 0.0
    deployment: str = ""
    generation: int = 0
    max_sessions: int = 0
    shards: int = 0
    agents: tuple[str, ...] = ()
    versions: dict[str, str] = {}


@event("pool.draining")
class PoolDraining(PoolEvent, frozen=True):
    """A pool takes no more calls; ``sessions`` still run."""

    sessions: int = 0


@event("pool.stopped")
class PoolStopped(PoolEvent, frozen=True):
    """A pool has ended in good order.

    :param started: sessions, since its start; ``ended`` by how they ended.
    """

    started: int = 0
    ended: dict[str, int] = {}
    rescued: int = 0


@event("pool.lost")
class PoolLost(PoolEvent, frozen=True):
    """Nothing was heard of a pool for three reports, with ``sessions`` running when it was heard last."""

    last_seen_at: float = 0.0
    sessions: int = 0


@event("pool.returned")
class PoolReturned(PoolEvent, frozen=True):
    """A pool that was lost reports again."""


@event("pool.reloaded")
class PoolReloaded(PoolEvent, frozen=True):
    """New code is in service."""

    generation: int = 0


@event("pool.agent_failed")
class PoolAgentFailed(PoolEvent, frozen=True):
    """An agent's file did not enter service."""

    agent: str = ""
    source: str = ""
    detail: str = ""


@event("pool.shard_lost")
class PoolShardLost(PoolEvent, frozen=True):
    """Shards died or were killed.

    :param count: how many since the last report; ``shards`` are those of them that were known.
    """

    count: int = 1
    shards: tuple[int, ...] = ()


@event("pool.rescued")
class PoolRescued(PoolEvent, frozen=True):
    """Calls go on in another shard.

    :param sessions: those of them that still run.
    """

    count: int = 1
    sessions: tuple[str, ...] = ()


@event("pool.breaker")
class PoolBreaker(PoolEvent, frozen=True):
    """A provider of a tenant is left alone, is tried again, or is in use again: ``open``, ``half_open``, ``closed``."""

    name: str = ""
    state: str = ""


@event("pool.control")
class PoolControl(PoolEvent, frozen=True):
    """Somebody asked a pool to ``drain`` or to ``reload``."""

    by: str = ""
    verb: str = ""
