"""The fleet at a moment, out of the projection. Pure: the same state, moment and circumstances give the same view."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from greenroom.fleet._calls import UNNAMED, Pricing, ended_at, waiting_task
from greenroom.fleet._health import Outside, reasons
from greenroom.fleet._index import NANO, Entry, Index, Live, listed
from greenroom.fleet._machines import OFFLINE_FOR, machines
from greenroom.fleet._shapes import (
    FleetAction,
    FleetAgent,
    FleetHealth,
    FleetMachine,
    FleetSwarm,
    FleetTask,
    FleetView,
)
from greenroom.fleet._state import FleetState

#: Of whoever is offline, the latest 200 are listed.
OFFLINE_MOST: Final = 200
ACTIONS: Final = 100
_DAY: Final = 86_400.0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to see. Calls that run are in ``live``, which goes on changing: look and tell at once.

    :param offline: the calls that have ended and are still listed, by id.
    :param merged: the agents with several calls, in place of those calls' own.
    """

    at: float
    workers_known: bool
    health: FleetHealth
    live: Live
    offline: tuple[Entry, ...]
    merged: dict[str, FleetAgent]
    idle: tuple[FleetAgent, ...]
    pending: tuple[FleetTask, ...]
    actions: tuple[FleetAction, ...]
    machines: tuple[FleetMachine, ...]
    swarms: tuple[FleetSwarm, ...]

    def agents(self) -> Iterator[Entry | FleetAgent]:
        """Yield every agent once; one that has but one call as that call."""
        told: set[str] = set()
        for entries in (self.live.entries, self.offline):
            for entry in entries:
                name = entry.seen.agent.id
                if name not in self.merged:
                    yield entry
                elif name not in told:
                    told.add(name)
                    yield self.merged[name]
        yield from self.idle

    def agents_json(self) -> list[bytes]:
        """Return every agent as JSON, with a comma before it."""
        if self.merged:
            return [each.agent_json if isinstance(each, Entry) else listed(each) for each in self.agents()]
        return [*self.live.agents, *(entry.agent_json for entry in self.offline), *map(listed, self.idle)]

    def tasks_json(self) -> list[bytes]:
        """Return every task as JSON, with a comma before it."""
        return [*self.live.tasks, *(entry.task_json for entry in self.offline), *map(listed, self.pending)]

    def view(self, position: int) -> FleetView:
        """Return it whole."""
        return FleetView(
            at=self.at,
            position=position,
            workers_known=self.workers_known,
            health=self.health,
            agents=tuple(each.seen.agent if isinstance(each, Entry) else each for each in self.agents()),
            tasks=tuple(entry.seen.task for entry in (*self.live.entries, *self.offline)) + self.pending,
            actions=self.actions,
            machines=self.machines,
            swarms=self.swarms,
        )

    def json(self, position: int) -> bytes:
        """Return :meth:`view` as JSON, made of what is encoded already."""
        rest = FleetView(
            at=self.at,
            position=position,
            workers_known=self.workers_known,
            health=self.health,
            actions=self.actions,
            machines=self.machines,
            swarms=self.swarms,
        )
        fields = {
            name: value for name, value in msgspec.structs.asdict(rest).items() if name not in {"agents", "tasks"}
        }
        return with_lists(msgspec.json.encode(fields), {"agents": self.agents_json(), "tasks": self.tasks_json()})


def with_lists(told: bytes, lists: dict[str, list[bytes]]) -> bytes:
    """Return a JSON object with lists added to it, whose items have a comma before them; copies each byte once."""
    pieces = [told[:-1]]
    for name, items in lists.items():
        pieces.append(b',"%s":[' % name.encode())
        if items:
            pieces.append(items[0][1:])
            pieces += items[1:]
        pieces.append(b"]")
    pieces.append(b"}")
    return b"".join(pieces)


def look(state: FleetState, index: Index, now: float, outside: Outside) -> Look:
    """Return the fleet at ``now``, seconds since 1970. ``index`` is up to date with ``state``."""
    recent = index.ended[bisect_left(index.ended, now - OFFLINE_FOR, key=lambda row: row[0]) :][-OFFLINE_MOST:]
    offline = tuple(sorted((entry for _, _, entry in recent), key=lambda entry: entry.key))
    shown = {entry.key for entry in offline}
    merged = index.merged(shown) if index.shared else {}
    swarms = index.swarms(state, shown) if index.full_rooms else ()
    idle = tuple(sorted(_idle(state, index, now), key=lambda agent: agent.id))
    waiting = state.workers.waiting
    pending = tuple(waiting_task(waiting[job]) for job in sorted(waiting))
    level, why = reasons(state.workers, outside, now)
    health = FleetHealth(
        level=level,
        reasons=why,
        tasks_in_progress=len(index.live.keys),
        tasks_pending=len(pending),
        swarms_active=sum(swarm.status == "active" for swarm in swarms),
        interventions=len(outside.approvals),
        tasks_completed_today=_completed_today(index, now),
        cost_usd_today=_cost_today(index, now),
        **_statuses(index, offline, merged, idle),
    )
    return Look(
        at=now,
        workers_known=outside.workers_known,
        health=health,
        live=index.live,
        offline=offline,
        merged=merged,
        idle=idle,
        pending=pending,
        actions=_latest(index, offline),
        machines=machines(state, now, outside.pools),
        swarms=swarms,
    )


def view(
    state: FleetState,
    now: float,
    outside: Outside | None = None,
    *,
    position: int = 0,
    pricing: Pricing | None = None,
) -> FleetView:
    """Return the fleet at ``now``.

    :param now: seconds since 1970.
    :param position: of the log, up to which ``state`` stands.
    :param pricing: what usage costs; nobody knows by default.
    """
    index = Index(pricing or unpriced)
    index.update(state, state.calls)
    return look(state, index, now, outside or Outside()).view(position)


def prune(state: FleetState, now: float) -> FleetState:
    """Return the projection without what no view at ``now`` or later shows or counts."""
    before = min(now - OFFLINE_FOR, now - now % _DAY)

    def over(at: float | None) -> bool:
        return at is not None and at < before

    calls = {
        key: part
        for key, part in state.calls.items()
        if not over(ended_at(part, state.rooms.get(part.job.room_sid) if part.job is not None else None))
    }
    used = {part.job.room_sid for part in calls.values() if part.job is not None}
    rooms = {key: room for key, room in state.rooms.items() if key in used or not over(room.finished_at)}
    return msgspec.structs.replace(state, calls=calls, rooms=rooms)


def unpriced(_used: object) -> None:
    """Return that nobody knows what usage costs."""
    return


def _statuses(
    index: Index, offline: tuple[Entry, ...], merged: dict[str, FleetAgent], idle: tuple[FleetAgent, ...]
) -> dict[str, int]:
    counted = index.statuses.copy()
    counted["offline"] += len(offline)
    shown = {entry.key for entry in offline}
    for name, agent in merged.items():
        for entry in index.calls_of_agent(name):
            if entry.ended_at is None or entry.key in shown:
                counted[entry.seen.agent.status] -= 1
        counted[agent.status] += 1
    for agent in idle:
        counted[agent.status] += 1
    found = {f"agents_{word}": counted[word] for word in ("active", "waiting", "idle", "offline")}
    return {"agents": sum(counted.values()), **found}


def _completed_today(index: Index, now: float) -> int:
    return sum(entry.seen.task.status != "failed" for entry in _ended_today(index, now))


def _cost_today(index: Index, now: float) -> float | None:
    costs = [cost for entry in _ended_today(index, now) if (cost := entry.nano_usd) is not None]
    return (sum(costs) + index.nano_usd) / NANO if costs or index.priced else None


def _ended_today(index: Index, now: float) -> list[Entry]:
    first = bisect_left(index.ended, now - now % _DAY, key=lambda row: row[0])
    return [entry for _, _, entry in index.ended[first:]]


def _latest(index: Index, offline: tuple[Entry, ...]) -> tuple[FleetAction, ...]:
    actions = [action for _, _, action in index.actions[-ACTIONS:]]
    actions += [action for entry in offline for action in entry.seen.actions]
    return tuple(heapq.nlargest(ACTIONS, actions, key=lambda action: (action.at, action.id)))


def _idle(state: FleetState, index: Index, now: float) -> Iterable[FleetAgent]:
    for worker in state.workers.workers.values():
        if not worker.jobs and not index.busy[worker.id]:
            yield FleetAgent(
                id=f"agent:{worker.id}",
                name=worker.agent_name or UNNAMED,
                status="idle",
                action="Draining" if worker.status == "draining" else "Waiting for a call",
                machine=f"machine:{worker.id}",
                started_at=worker.connected_at,
                load=worker.load,
            )
    for gone in state.workers.gone:
        if now - gone.at <= OFFLINE_FOR and not index.busy[gone.worker.id]:
            yield FleetAgent(
                id=f"agent:{gone.worker.id}",
                name=gone.worker.agent_name or UNNAMED,
                status="offline",
                machine=f"machine:{gone.worker.id}",
                started_at=gone.worker.connected_at,
                ended_at=gone.at,
            )
