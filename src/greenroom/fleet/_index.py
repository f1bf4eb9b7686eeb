"""Calls as a fleet, kept up to date call by call: ten thousand of them are not looked at because one has changed.

What the index holds follows from the projection alone, not from the order in which it was told.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import msgspec

from greenroom.fleet._calls import CallSeen, Pricing, agent_id, ended_at, seen
from greenroom.fleet._shapes import FleetAction, FleetAgent, FleetSwarm
from greenroom.fleet._state import CallPart, FleetState, RoomPart

NANO: Final = 1_000_000_000


class Entry:
    """A call and what it comes to. ``made`` is for those who encode it, until it changes."""

    __slots__ = ("agent_json", "key", "made", "part", "peers", "room", "seen", "task_json")

    def __init__(self, part: CallPart, room: RoomPart | None, peers: tuple[str, ...], found: CallSeen) -> None:
        self.key = part.id
        self.part = part
        self.room = room
        self.peers = peers
        self.seen = found
        self.agent_json = listed(found.agent)
        self.task_json = listed(found.task)
        self.made: dict[str, bytes] = {}

    @property
    def ended_at(self) -> float | None:
        """When the call ended."""
        return self.seen.task.ended_at

    @property
    def nano_usd(self) -> int | None:
        """What it cost, as a whole number: those add up to the same in any order."""
        cost = self.seen.task.cost_usd
        return None if cost is None else round(cost * NANO)


class Live:
    """The calls that run, in the order of their ids, with columns to encode them by."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.entries: list[Entry] = []
        self.agents: list[bytes] = []
        self.tasks: list[bytes] = []

    def put(self, entry: Entry) -> None:
        """Add a call, or what has become of it."""
        at = bisect_left(self.keys, entry.key)
        if at < len(self.keys) and self.keys[at] == entry.key:
            self.entries[at], self.agents[at], self.tasks[at] = entry, entry.agent_json, entry.task_json
            return
        self.keys.insert(at, entry.key)
        self.entries.insert(at, entry)
        self.agents.insert(at, entry.agent_json)
        self.tasks.insert(at, entry.task_json)

    def drop(self, key: str) -> None:
        """Take out a call."""
        at = bisect_left(self.keys, key)
        for column in (self.keys, self.entries, self.agents, self.tasks):
            del column[at]


class Index:
    """Calls by all that views ask for. Not for several threads."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._entries: dict[str, Entry] = {}
        self._by_room: dict[str, set[str]] = {}
        self._by_agent: dict[str, set[str]] = {}
        self._placed: dict[str, tuple[str, str]] = {}
        #: Rooms, and agents, with more than one call.
        self.full_rooms: set[str] = set()
        self.shared: set[str] = set()
        self.live = Live()
        #: Calls that have ended, by when.
        self.ended: list[tuple[float, str, Entry]] = []
        self.statuses: Counter[str | None] = Counter()
        self.busy: Counter[str] = Counter()
        self.nano_usd = 0
        self.priced = 0
        #: What the agents of calls that run did, oldest first.
        self.actions: list[tuple[float, str, FleetAction]] = []

    def update(self, state: FleetState, calls: Iterable[str], rooms: Iterable[str] = ()) -> dict[str, Entry | None]:
        """Take in what has changed, and return what was known before of the calls that are others now.

        :param calls: the ids of calls that may have changed. :param rooms: the same of rooms, by sid.
        """
        changed = set(calls)
        touched = set()
        for key in changed:
            touched.add(self._placed.get(key, ("", ""))[0])
            self._place(key, state.calls.get(key))
            touched.add(self._placed.get(key, ("", ""))[0])
        for room in touched & self.full_rooms | {room for room in touched if len(self._by_room.get(room, ())) == 1}:
            changed |= self._by_room[room]
        for room in rooms:
            changed |= self._by_room.get(room, set())
        renewed: dict[str, Entry | None] = {}
        for key in changed:
            before = self._entries.get(key)
            if self._renew(state, key, before):
                renewed[key] = before
        return renewed

    def entry(self, key: str) -> Entry | None:
        """Return a call by its id."""
        return self._entries.get(key)

    def calls_of_room(self, state: FleetState, room: str) -> list[CallPart]:
        """Return the calls of a room, the first to begin first."""
        parts = [state.calls[key] for key in self._by_room.get(room, ())]
        return sorted(parts, key=lambda part: (part.started_at or 0.0, part.id))

    def calls_of_agent(self, agent: str) -> list[Entry]:
        """Return the calls of an agent."""
        return sorted((self._entries[key] for key in self._by_agent.get(agent, ())), key=attrgetter("key"))

    # Where a call belongs

    def _place(self, key: str, part: CallPart | None) -> None:
        before = self._placed.pop(key, None)
        if before is not None:
            _remove(self._by_room, before[0], key, self.full_rooms)
            _remove(self._by_agent, before[1], key, self.shared)
        if part is None or (part.job is None and not part.observed_identity):
            return
        room = (part.job.room_sid or part.job.room) if part.job is not None else ""
        agent = agent_id(part)
        self._placed[key] = (room, agent)
        if room:
            _add(self._by_room, room, key, self.full_rooms)
        _add(self._by_agent, agent, key, self.shared)

    # What it comes to

    def _renew(self, state: FleetState, key: str, before: Entry | None) -> bool:
        after: Entry | None = None
        if key in self._placed:
            part = state.calls[key]
            room = _room_of(state, part)
            peers = self._peers(state, part)
            if before is not None and before.part is part and before.room is room and before.peers == peers:
                return False
            after = Entry(part, room, peers, seen(part, room, peers, self._pricing))
        if before is not None:
            self._take_out(before, stays=after is not None and after.ended_at is None)
        if after is None:
            return self._entries.pop(key, None) is not None
        self._entries[key] = after
        if after.ended_at is not None:
            insort(self.ended, (after.ended_at, key, after), key=lambda row: row[:2])
        else:
            self._put_in(after)
        return True

    def _peers(self, state: FleetState, part: CallPart) -> tuple[str, ...]:
        room = self._placed[part.id][0]
        if room not in self.full_rooms or _is_over(state, part):
            return ()
        here = (each for each in self.calls_of_room(state, room) if not _is_over(state, each))
        others = dict.fromkeys(agent_id(each) for each in here)
        others.pop(agent_id(part), None)
        return tuple(others)

    def _put_in(self, entry: Entry) -> None:
        self.live.put(entry)
        self.statuses[entry.seen.agent.status] += 1
        if entry.part.job is not None and entry.part.job.worker_id:
            self.busy[entry.part.job.worker_id] += 1
        if (cost := entry.nano_usd) is not None:
            self.nano_usd += cost
            self.priced += 1
        for action in entry.seen.actions:
            insort(self.actions, (action.at, action.id, action), key=lambda row: row[:2])

    def _take_out(self, entry: Entry, *, stays: bool) -> None:
        if entry.ended_at is not None:
            del self.ended[bisect_left(self.ended, (entry.ended_at, entry.key), key=lambda row: row[:2])]
            return
        if not stays:
            self.live.drop(entry.key)
        self.statuses[entry.seen.agent.status] -= 1
        if entry.part.job is not None and entry.part.job.worker_id:
            self.busy[entry.part.job.worker_id] -= 1
        if (cost := entry.nano_usd) is not None:
            self.nano_usd -= cost
            self.priced -= 1
        for action in entry.seen.actions:
            del self.actions[bisect_left(self.actions, (action.at, action.id), key=lambda row: row[:2])]

    # Several agents in one room, several calls of one agent

    def swarms(self, state: FleetState, shown: set[str]) -> tuple[FleetSwarm, ...]:
        """Return the rooms that more than one agent was in, of those calls that are ``shown`` or run."""
        found: dict[str, FleetSwarm] = {}
        for room in self.full_rooms:
            calls = [part for part in self.calls_of_room(state, room) if part.id in shown or not _is_over(state, part)]
            swarm = _swarm(state, calls)
            # A name may have been used before: the later room has it.
            if swarm is not None and _rank(found.get(swarm.id)) < _rank(swarm):
                found[swarm.id] = swarm
        return tuple(found[key] for key in sorted(found))

    def merged(self, shown: set[str]) -> dict[str, FleetAgent]:
        """Return the agents that have more than one call: identities are unique in a room, not beyond it."""
        found = {}
        for name in self.shared:
            calls = [each for each in self.calls_of_agent(name) if each.key in shown or each.ended_at is None]
            if len(calls) > 1:
                found[name] = _merged(calls)
        return found


def listed(found: msgspec.Struct) -> bytes:
    """Return JSON with a comma before it, as it stands in a list."""
    return b"," + msgspec.json.encode(found)


def _merged(calls: list[Entry]) -> FleetAgent:
    agents = [entry.seen.agent for entry in calls]
    latest = max(agents, key=lambda each: (each.ended_at is None, each.started_at or 0.0, each.session or ""))
    costs = [cost for entry in calls if (cost := entry.nano_usd) is not None]
    return msgspec.structs.replace(
        latest,
        tasks_completed=sum(each.tasks_completed for each in agents),
        collaborators=tuple(dict.fromkeys(other for each in agents for other in each.collaborators)),
        cost_usd=sum(costs) / NANO if costs else None,
    )


def _swarm(state: FleetState, calls: list[CallPart]) -> FleetSwarm | None:
    agents = tuple(dict.fromkeys(agent_id(part) for part in calls))
    if len(agents) < 2:
        return None
    job = calls[0].job
    name = "" if job is None else job.room_sid if any(part.redacted for part in calls) else job.room
    over = sum(_is_over(state, part) for part in calls)
    return FleetSwarm(
        id=f"swarm:{name}",
        name=name,
        room=name,
        agents=agents,
        lead=agents[0],
        status="completed" if over == len(calls) else "active",
        tasks=len(calls),
        tasks_completed=over,
        started_at=calls[0].started_at,
    )


def _rank(swarm: FleetSwarm | None) -> tuple[float, tuple[str, ...]]:
    return (swarm.started_at or 0.0, swarm.agents) if swarm is not None else (-1.0, ())


def _room_of(state: FleetState, part: CallPart) -> RoomPart | None:
    return state.rooms.get(part.job.room_sid) if part.job is not None else None


def _is_over(state: FleetState, part: CallPart) -> bool:
    return ended_at(part, _room_of(state, part)) is not None


def _add(groups: dict[str, set[str]], name: str, key: str, several: set[str]) -> None:
    members = groups.setdefault(name, set())
    members.add(key)
    if len(members) > 1:
        several.add(name)


def _remove(groups: dict[str, set[str]], name: str, key: str, several: set[str]) -> None:
    members = groups.get(name)
    if members is None:
        return
    members.discard(key)
    if len(members) < 2:
        several.discard(name)
    if not members:
        del groups[name]
