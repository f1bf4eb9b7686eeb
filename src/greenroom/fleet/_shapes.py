"""The fleet as Greenroom tells of it: shapes of ``/api/fleet``. What is not known is ``None``, never a number."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

AgentStatusWord: TypeAlias = Literal["active", "idle", "waiting", "offline", "intervention_required"]
TaskStatus: TypeAlias = Literal["pending", "in_progress", "completed", "failed", "ended"]
Level: TypeAlias = Literal["healthy", "degraded", "critical"]


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    pass


class FleetAgent(_Shape, frozen=True, kw_only=True):
    """An agent in a call, one that was in one until lately, or a worker that waits for its first.

    :param id: ``agent:<identity>``, where the identity is the participant's or the idle worker's id.
    :param status: ``active`` speaks, thinks or calls a tool; ``waiting`` listens; ``idle`` has no call. ``None``: it
        is in a call and nobody knows what it does.
    :param state: as LiveKit names it: ``initializing``, ``idle``, ``listening``, ``thinking``, ``speaking``.
    :param action: what it does, in a few words.
    :param tasks_completed: of those that are still listed.
    :param cost_usd: of its calls that are still listed, as far as prices are known.
    """

    id: str
    name: str
    status: AgentStatusWord | None
    state: str | None = None
    state_since: float | None = None
    user_state: str | None = None
    action: str | None = None
    session: str | None = None
    room: str | None = None
    task: str | None = None
    machine: str | None = None
    domain: str | None = None
    integrations: tuple[str, ...] | None = None
    collaborators: tuple[str, ...] = ()
    tasks_completed: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    load: float | None = None
    cost_usd: float | None = None


class FleetTask(_Shape, frozen=True, kw_only=True):
    """A call, or a job that waits for a worker.

    :param id: ``task:<job id>``.
    :param status: ``ended``: nobody knows how.
    :param progress: percent, as the agent says; else 0 while it waits and 100 once it is completed.
    :param why: why it waits, or what failed.
    """

    id: str
    session: str
    agent: str | None
    agent_name: str
    title: str
    description: str | None = None
    status: TaskStatus
    priority: str | None = None
    progress: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    domain: str | None = None
    integrations: tuple[str, ...] | None = None
    collaborators: tuple[str, ...] = ()
    cost_usd: float | None = None
    why: str | None = None


class FleetAction(_Shape, frozen=True, kw_only=True):
    """Something that an agent did, or that was done to it. ``kind``: ``tool``, ``message``, ``handoff``, ..."""

    id: str
    agent: str
    session: str
    at: float
    kind: str
    description: str
    outcome: Literal["success", "failure"]


class FleetMachine(_Shape, frozen=True, kw_only=True):
    """What a worker runs on. LiveKit's workers do not name their host, so each worker is one.

    Pools do: of a worker that is a pool's, the last fields are known, all of them of the whole pool.

    :param last_seen_at: ``None`` while it is online.
    :param pool: the pool's instance; ``/api/pools`` tells more of it.
    :param host: the machine's name.
    :param shards: processes that calls run in.
    :param memory: bytes that they hold, by their share of what is common (PSS) where that is known.
    :param memory_total: bytes of the machine.
    """

    id: str
    name: str
    worker: str
    agent_name: str
    online: bool
    status: str | None = None
    load: float | None = None
    jobs: int | None = None
    version: str | None = None
    connected_at: float | None = None
    last_seen_at: float | None = None
    pool: str | None = None
    host: str | None = None
    shards: int | None = None
    memory: int | None = None
    memory_total: int | None = None


class FleetSwarm(_Shape, frozen=True, kw_only=True):
    """Several agents in one room. ``agents`` are ids, the first that came leads."""

    id: str
    name: str
    room: str
    agents: tuple[str, ...]
    lead: str
    status: Literal["active", "completed"]
    tasks: int
    tasks_completed: int
    started_at: float | None = None


class Reason(_Shape, frozen=True, kw_only=True):
    """Why the fleet is not healthy: ``ingestion_stalled``, ``approvals_queue``, ``workers_gone``,
    ``pool_lost``, ``calls_wait``.
    """

    code: str
    message: str
    since: float | None = None


class FleetHealth(_Shape, frozen=True, kw_only=True):
    """How the fleet is.

    :param cost_usd_today: of the calls that ended or run today, UTC, whose cost is known.
    """

    level: Level
    reasons: tuple[Reason, ...] = ()
    agents: int = 0
    agents_active: int = 0
    agents_waiting: int = 0
    agents_idle: int = 0
    agents_offline: int = 0
    tasks_in_progress: int = 0
    tasks_pending: int = 0
    tasks_completed_today: int = 0
    swarms_active: int = 0
    interventions: int = 0
    cost_usd_today: float | None = None


class FleetView(_Shape, frozen=True, kw_only=True):
    """The fleet at a moment. Everything is sorted: agents, tasks, machines and swarms by id, actions newest first.

    :param at: the moment, seconds since 1970.
    :param position: of the log, up to which this is told.
    :param workers_known: whether the LiveKit server tells of its workers.
    """

    at: float
    position: int
    workers_known: bool
    health: FleetHealth
    agents: tuple[FleetAgent, ...] = ()
    tasks: tuple[FleetTask, ...] = ()
    actions: tuple[FleetAction, ...] = ()
    machines: tuple[FleetMachine, ...] = ()
    swarms: tuple[FleetSwarm, ...] = ()
    interventions: tuple[Any, ...] = ()
