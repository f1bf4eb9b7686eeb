"""The agents in the rooms of a server that has no worker list, found by asking who is there."""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple

from livekit.protocol import models

from greenroom.link._api import LiveKit
from greenroom.link._errors import NotFoundError
from greenroom.link._status import AgentStatus, status_of_attributes
from greenroom.link._workers import JobInfo, WorkerList

STATE: Final = "lk.agent.state"
_CONCURRENT: Final = 8
_REMEMBERED: Final = 10_000
# What a stock worker calls its agent, unless its request function says otherwise.
_IDENTITY: Final = re.compile(r"agent-(AJ_[A-Za-z0-9]{4,64})")
_NAMES: Final = ("lk.agent.name", "lk.agent_name")


class RoomRounds:
    """Asks for every room and who is in it. What it finds reads like a worker list, with no workers in it."""

    def __init__(self, livekit: LiveKit) -> None:
        self._livekit = livekit
        self._jobs: dict[str, str] = {}
        #: What each agent does, by job id, as of the last round.
        self.states: dict[str, str] = {}
        #: What each agent says of its task, by job id, as of the last round.
        self.statuses: dict[str, AgentStatus] = {}

    async def look(self) -> WorkerList:
        """Make one round. Raises :class:`LinkError`."""
        rooms = [room for room in await self._livekit.list_rooms() if room.sid]
        gate = asyncio.Semaphore(_CONCURRENT)

        async def visit(room: models.Room) -> list[JobInfo]:
            async with gate:
                return await self._visit(room)

        jobs = tuple(job for found in await asyncio.gather(*map(visit, rooms)) for job in found)
        here = {job.id for job in jobs}
        self.states = {job_id: state for job_id, state in self.states.items() if job_id in here}
        self.statuses = {job_id: status for job_id, status in self.statuses.items() if job_id in here}
        return WorkerList(version="", jobs=jobs)

    async def _visit(self, room: models.Room) -> list[JobInfo]:
        try:
            people = await self._livekit.list_participants(room.name)
        except NotFoundError:
            return []
        found = []
        for agent in filter(_is_agent, people):
            job_id = await self._job_of(room.name, agent)
            if job_id:
                self.states[job_id] = agent.attributes.get(STATE, "")
                status = status_of_attributes(agent.attributes)
                if status is not None:
                    self.statuses[job_id] = status
                found.append(_job(job_id, room, agent))
        return found

    async def _job_of(self, room: str, agent: models.ParticipantInfo) -> str:
        match = _IDENTITY.fullmatch(agent.identity)
        if match is not None:
            return match[1]
        if agent.sid not in self._jobs:
            dispatches = await self._livekit.list_dispatches(room)
            jobs = (job for dispatch in dispatches for job in dispatch.state.jobs)
            found = next((job.id for job in jobs if job.state.participant_identity == agent.identity), "")
            if not found:
                return ""
            while len(self._jobs) >= _REMEMBERED:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[agent.sid] = found
        return self._jobs[agent.sid]


class AgentSeen(NamedTuple):
    """What an agent's attributes tell: its state, empty when it does not say, and what it says of its task."""

    state: str
    status: AgentStatus | None


async def agents_seen(livekit: LiveKit, room: str) -> dict[str, AgentSeen]:
    """Return what the agents of a room tell by their attributes, by identity. Raises :class:`LinkError`."""
    try:
        people = await livekit.list_participants(room)
    except NotFoundError:
        return {}
    return {
        each.identity: AgentSeen(each.attributes.get(STATE, ""), status_of_attributes(each.attributes))
        for each in people
        if _is_agent(each)
    }


def _is_agent(person: models.ParticipantInfo) -> bool:
    here = person.state == models.ParticipantInfo.ACTIVE
    return here and person.kind == models.ParticipantInfo.AGENT and not person.permission.hidden


def _job(job_id: str, room: models.Room, agent: models.ParticipantInfo) -> JobInfo:
    return JobInfo(
        id=job_id,
        room=room.name,
        room_sid=room.sid,
        agent_name=next((agent.attributes[name] for name in _NAMES if agent.attributes.get(name)), ""),
        phase="running",
        status="running",
        agent_identity=agent.identity,
        present=True,
        started_at=agent.joined_at_ms / 1000 or float(agent.joined_at) or None,
        assignments=1,
    )
