"""Carries out what the dispatcher decides: messages to workers, log lines, and its next alarm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, assert_never

from livekit.protocol import agent, models

from greenroom.config import ServerConfig
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._effects import Assign, Disconnect, Effect, Evict, Log, Offer, Terminate, Welcome
from greenroom.server.agents._link import WorkerLink
from greenroom.server.agents._messages import agent_token, job_message, offered_state
from greenroom.server.agents._model import Job

if TYPE_CHECKING:
    from greenroom.server.room import RoomManager

_log = logging.getLogger("greenroom.server.agents")


class Runner:
    """Applies effects in order, on the event loop, without awaiting anything.

    :param clock: seconds since the epoch.
    """

    def __init__(
        self, config: ServerConfig, rooms: RoomManager, dispatcher: Dispatcher, clock: Callable[[], float]
    ) -> None:
        self.links: dict[str, WorkerLink] = {}
        self.clock = clock
        self.enable_recording = bool(config.observability_url)
        self._rooms = rooms
        self._dispatcher = dispatcher
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self.stopped = False
        #: Set by whatever happens next, and then replaced.
        self.news = asyncio.Event()

    def run(self, effects: Iterable[Effect]) -> None:
        """Carry out ``effects`` and set the timer for what comes next."""
        for effect in effects:
            self._apply(effect)
        self._arm()
        self._tell()

    def stop(self) -> None:
        """Let no more time pass. Idempotent."""
        self.stopped = True
        self._tell()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self.news, news = asyncio.Event(), self.news
        news.set()

    def participant(self, job: Job) -> models.ParticipantInfo | None:
        """Return whom the job is for as it is now, ``None`` for a job of the room or somebody who left."""
        if job.sample is not None:
            return job.sample.participant if job.sample.HasField("participant") else None
        room = self._rooms.get(job.room.name)
        somebody = room.participants.get(job.participant) if room is not None and job.participant else None
        return somebody.info() if somebody is not None else None

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Welcome(worker):
                response = agent.RegisterWorkerResponse(worker_id=worker.id, server_info=self._rooms.server_info)
                self._send(worker.id, agent.ServerMessage(register=response))
            case Offer(worker, job):
                request = agent.AvailabilityRequest(job=self._job(job), resuming=job.assignments > 0)
                self._send(worker.id, agent.ServerMessage(availability=request))
            case Assign():
                self._assign(effect)
            case Terminate(worker_id, job_id):
                self._send(worker_id, agent.ServerMessage(termination=agent.JobTermination(job_id=job_id)))
            case Disconnect(worker_id, code, reason):
                link = self.links.get(worker_id)
                if link is not None:
                    link.close(code, reason)
            case Evict(room, identity):
                live = self._rooms.get(room.name)
                if live is not None and live.sid == room.sid:
                    self._rooms.remove_participant(live, identity, models.DisconnectReason.PARTICIPANT_REMOVED)
            case Log(message, fields, level):
                _log.log(level, message, extra=dict(fields))
            case _:
                assert_never(effect)

    def _assign(self, effect: Assign) -> None:
        worker, job = effect.worker, effect.job
        token = agent_token(
            worker.grant.key,
            room=job.room.name,
            agent_name=job.key.agent_name,
            answer=effect.answer,
            permission=worker.permission,
            now=self.clock(),
        )
        assignment = agent.JobAssignment(job=self._job(job), token=token)
        self._send(worker.id, agent.ServerMessage(assignment=assignment))

    def _job(self, job: Job) -> agent.Job:
        room = self._rooms.get(job.room.name)
        info = room.info() if room is not None else job.sample.room if job.sample is not None else None
        state = offered_state(job.worker_id, self.clock())
        state.participant_identity = job.identity
        return job_message(job, info, self.participant(job), state=state, enable_recording=self.enable_recording)

    def _send(self, worker_id: str, message: agent.ServerMessage) -> None:
        link = self.links.get(worker_id)
        if link is not None:
            link.send(message)

    def _arm(self) -> None:
        due = self._dispatcher.next_wake()
        if due is None or self.stopped or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        delay = max(0.0, due - self.clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.run(self._dispatcher.wake(self.clock()))
