"""Agents in rooms: listens to rooms, answers the dispatch API, and gives workers their endpoint."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import models
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from greenroom.config import ServerConfig
from greenroom.ids import Prefix, new_id
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._endpoint import WorkerEndpoint
from greenroom.server.agents._info import WorkerInfo, worker_info
from greenroom.server.agents._list_route import WorkerListEndpoint
from greenroom.server.agents._messages import dispatch_message, job_message, job_state
from greenroom.server.agents._model import Dispatch, Job, Transition
from greenroom.server.agents._runner import Runner
from greenroom.server.agents._validate import check_agent_name, check_deployment
from greenroom.server.room import check_attributes, check_metadata

if TYPE_CHECKING:
    from greenroom.server.room import Participant, Room, RoomManager

LEAVE_TIMEOUT: Final = 3.0


class AgentManager:
    """Workers, dispatches and jobs of one server. Listens to rooms; belongs on the event loop.

    :param clock: seconds since the epoch.
    :param rng: chooses among workers.
    """

    def __init__(
        self,
        config: ServerConfig,
        rooms: RoomManager,
        clock: Callable[[], float] = time.time,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._limits = config.limits
        self._rooms = rooms
        self._clock = clock
        self._dispatcher = Dispatcher(config.agent, rng=rng)
        self._runner = Runner(config, rooms, self._dispatcher, clock)
        self._endpoint = WorkerEndpoint(config, self._dispatcher, self._runner)
        self._list = WorkerListEndpoint(config, self._dispatcher, self._runner, rooms.server_info.node_id, clock)
        self._departures: dict[str, set[asyncio.Event]] = {}
        rooms.add_listener(self)

    # Workers

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount at the root: ``/agent`` and the worker list."""
        return [*self._endpoint.routes(), *self._list.routes()]

    async def worker_endpoint(self, websocket: WebSocket) -> None:
        """Serve one worker until its connection ends."""
        await self._endpoint.serve(websocket)

    def workers(self) -> list[WorkerInfo]:
        """Return the registered workers."""
        return [worker_info(worker) for worker in self._dispatcher.workers()]

    async def aclose(self) -> None:
        """Disconnect every worker, after what is queued for it. Idempotent."""
        await self._endpoint.aclose()
        # Whoever waits for news is answered, too.
        self._runner.stop()

    # Rooms

    def room_started(self, room: Room) -> None:
        """Dispatch the agents the room was created with, or the automatic one."""
        if self._dispatcher.room(room.sid) is not None:
            return
        self._dispatcher.open_room(room.sid, room.name)
        now = self._clock()
        if not room.agents:
            self._runner.run(self._dispatcher.add_dispatch(room.sid, now=now, implicit=True))
        for wanted in room.agents or ():
            self._dispatch(room, wanted)

    def _dispatch(self, room: Room, wanted: dispatch_pb.RoomAgentDispatch) -> None:
        effects = self._dispatcher.add_dispatch(
            room.sid,
            now=self._clock(),
            agent_name=wanted.agent_name,
            metadata=wanted.metadata,
            attributes=wanted.attributes,
            deployment=wanted.deployment,
            restart_policy=wanted.restart_policy,
        )
        self._runner.run(effects)

    def participant_joined(self, room: Room, participant: Participant) -> None:
        """Offer jobs for a person, or note that an agent has come."""
        effects = self._dispatcher.participant_joined(
            room.sid, participant.identity, participant.sid, dependent=participant.dependent, now=self._clock()
        )
        self._runner.run(effects)

    def participant_active(self, room: Room, participant: Participant) -> None:
        """Do nothing: jobs start at the join, not when media is up."""

    def participant_published(self, room: Room, participant: Participant) -> None:
        """Offer jobs for a publisher; only its first track counts."""
        self._runner.run(self._dispatcher.participant_published(room.sid, participant.identity, self._clock()))

    def track_published(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """Do nothing: only a participant's first track asks for agents."""

    def track_unpublished(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """Do nothing."""

    def agents_requested(self, room: Room, agents: Sequence[dispatch_pb.RoomAgentDispatch]) -> None:
        """Dispatch agents that a room was given after it began."""
        for wanted in agents:
            self._dispatch(room, wanted)

    def participant_left(self, room: Room, participant: Participant, reason: models.DisconnectReason) -> None:
        """End the job of an agent that left."""
        for gone in self._departures.get(participant.sid, ()):
            gone.set()
        effects = self._dispatcher.participant_left(
            room.sid, participant.identity, participant.sid, reason, self._clock()
        )
        self._runner.run(effects)

    def room_finished(self, room: Room) -> None:
        """End the room's jobs."""
        self._runner.run(self._dispatcher.close_room(room.sid, self._clock()))

    # The dispatch API

    def create_dispatch(
        self,
        room_name: str,
        *,
        agent_name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        deployment: str = "",
        restart_policy: dispatch_pb.JobRestartPolicy = dispatch_pb.JRP_ON_FAILURE,
        dispatch_id: str | None = None,
    ) -> dispatch_pb.AgentDispatch:
        """Ask for an agent in a room, which is created if need be and then has its automatic dispatch too.

        :param dispatch_id: the same id again changes nothing and returns the same dispatch.
        :raises RoomError: for a room that cannot be created, or a field that is too long.
        :raises DispatchError: for an agent name or a deployment that no worker can have.
        """
        check_agent_name(agent_name, self._limits)
        check_metadata(metadata, self._limits)
        check_attributes(attributes or {}, self._limits)
        check_deployment(deployment)
        room = self._rooms.create(room_name)
        self.room_started(room)
        dispatch_id = dispatch_id or new_id(Prefix.DISPATCH)
        effects = self._dispatcher.add_dispatch(
            room.sid,
            now=self._clock(),
            dispatch_id=dispatch_id,
            agent_name=agent_name,
            metadata=metadata,
            attributes=attributes,
            deployment=deployment,
            restart_policy=restart_policy,
        )
        self._runner.run(effects)
        return next(self._describe(room, dispatch_id))

    async def delete_dispatch(self, room_name: str, dispatch_id: str) -> dispatch_pb.AgentDispatch | None:
        """End a dispatch and its jobs, and wait for the agents to leave; after 3 s they are removed.

        ``None`` when there is no such dispatch.
        """
        room = self._rooms.get(room_name)
        dispatch = self._find(room, dispatch_id)
        if room is None or dispatch is None:
            return None
        jobs = self._dispatcher.listed_jobs(dispatch)
        seats = {job.seat: job.identity for job in jobs if job.seat}
        info = room.info()
        self._runner.run(self._dispatcher.delete_dispatch(room.sid, dispatch_id, self._clock()))
        await self._departure(list(seats))
        for seat, identity in seats.items():
            present = room.participants.get(identity)
            if present is not None and present.sid == seat:
                self._rooms.remove_participant(room, identity, models.DisconnectReason.PARTICIPANT_REMOVED)
        return self._message(dispatch, info, jobs)

    def list_dispatch(self, room_name: str, dispatch_id: str = "") -> list[dispatch_pb.AgentDispatch]:
        """Return the dispatches of a room with their jobs; none for a room that does not exist."""
        room = self._rooms.get(room_name)
        return list(self._describe(room, dispatch_id)) if room is not None else []

    def history(self, room_name: str, dispatch_id: str) -> list[Transition]:
        """Return what happened to a dispatch, oldest first; of a long history only the end is kept."""
        dispatch = self._find(self._rooms.get(room_name), dispatch_id)
        return list(dispatch.history) if dispatch is not None else []

    def _find(self, room: Room | None, dispatch_id: str) -> Dispatch | None:
        known = self._dispatcher.room(room.sid) if room is not None else None
        return known.dispatches.get(dispatch_id) if known is not None else None

    def _describe(self, room: Room, dispatch_id: str) -> Iterator[dispatch_pb.AgentDispatch]:
        known = self._dispatcher.room(room.sid)
        info = room.info()
        for dispatch in known.dispatches.values() if known is not None else ():
            if dispatch_id in {"", dispatch.id}:
                yield self._message(dispatch, info, self._dispatcher.listed_jobs(dispatch))

    def _message(self, dispatch: Dispatch, room: models.Room, jobs: Iterable[Job]) -> dispatch_pb.AgentDispatch:
        return dispatch_message(
            dispatch,
            [
                job_message(
                    job,
                    room,
                    self._runner.participant(job),
                    state=job_state(job, self._dispatcher.waits_for(job)),
                    enable_recording=self._runner.enable_recording,
                )
                for job in jobs
            ],
        )

    async def _departure(self, seats: list[str]) -> None:
        """Return when all of ``seats`` are empty, or after :data:`LEAVE_TIMEOUT`."""
        gone = {seat: asyncio.Event() for seat in seats}
        for seat, event in gone.items():
            self._departures.setdefault(seat, set()).add(event)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                for event in gone.values():
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            for seat, event in gone.items():
                self._departures[seat].discard(event)
                if not self._departures[seat]:
                    del self._departures[seat]
