"""What a pool tells of itself: on its HTTP port, to the control plane, to ``greenroom top``.

Fields are only added, each with a default: who reads a report may be older or newer than who wrote it.
"""

from __future__ import annotations

import msgspec

SNAPSHOT_VERSION = 1


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A session that runs. Times are seconds since the epoch, CPU is a share of one core, memory is bytes."""

    job_id: str
    room: str
    agent: str
    tenant: str
    shard: int
    started_at: float
    state: str = "starting"
    cpu: float | None = None
    memory: int | None = None
    rescues: int = 0


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """A shard. ``state`` is starting, ready, stalled, retiring; the lag is the worst of the last window, in seconds."""

    number: int
    pid: int
    generation: int
    state: str
    sessions: int
    lag: float | None = None
    cpu: float | None = None
    rss: int | None = None
    pss: int | None = None
    uss: int | None = None
    where: str = ""


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """An agent in service, or a file that is not. ``state`` is starting, ready or failed.

    :param kind: program or class.
    :param job_type: LiveKit's ``JobType``.
    """

    name: str
    dispatch: str
    source: str
    state: str
    detail: str = ""
    sessions: int = 0
    worker_id: str = ""
    kind: str = "program"
    job_type: int = 0
    capabilities: tuple[str, ...] = ()


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A pool at one moment.

    :param instance: names this run of it; another after each start.
    :param machine: the host's name.
    :param state: starting, serving, draining, stopped, lost (no server).
    :param ended: sessions by how they ended, since the start.
    :param refused: offers by why they were refused, since the start.
    :param breakers: those that are not closed: ``tenant/provider`` to open or half_open.
    :param shards_lost: shards that died or were killed since the start.
    :param heartbeat: seconds until the next report.
    :param routes: whether the program has a router of its own.
    """

    version: int = SNAPSHOT_VERSION
    instance: str
    machine: str
    pid: int
    started_at: float
    at: float
    state: str
    generation: int
    deployment: str = ""
    load: float = 0.0
    max_sessions: int = 0
    agents: tuple[AgentReport, ...] = ()
    shards: tuple[ShardReport, ...] = ()
    sessions: tuple[SessionReport, ...] = ()
    by_tenant: dict[str, int] = {}
    started: int = 0
    ended: dict[str, int] = {}
    refused: dict[str, int] = {}
    rescued: int = 0
    breakers: dict[str, str] = {}
    versions: dict[str, str] = {}
    cpus: int = 0
    memory_total: int = 0
    shards_lost: int = 0
    heartbeat: float = 5.0
    routes: bool = False
    first_prefix: bool = False
    only_registered_rooms: bool = False


class PoolCommands(msgspec.Struct, frozen=True, kw_only=True):
    """What a control plane answers a report with: what somebody asked of the pool."""

    drain: bool = False
    reload: bool = False
