"""Watches what runs: worker lists into events, calls to the observer, and the states of agents nobody listens to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from greenroom.eventlog import EventLog, EventLogError, NewEvent
from greenroom.ingest._worker_book import WORKERS, WorkerBook
from greenroom.link import (
    AgentStateChanged,
    AgentStatus,
    Call,
    JobInfo,
    LinkError,
    LiveKit,
    NotServedError,
    Observer,
    RoomRounds,
    WorkerList,
    agents_seen,
)

_log = logging.getLogger(__name__)

_CONCURRENT: Final = 8


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often is looked, in seconds.

    :param rest: between two worker lists.
    :param rounds: between two rounds through the rooms of a server that has no worker list.
    :param states: between two looks at the states of agents that nobody listens to.
    """

    rest: float = 0.5
    rounds: float = 5.0
    states: float = 3.0
    longest_backoff: float = 30.0


class LiveWatch:
    """Keeps the log and the observer up to date with what runs. Start with :meth:`start`.

    :param observer: told of every call; ``None``: nobody is.
    :param clock: seconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        livekit: LiveKit,
        observer: Observer | None = None,
        *,
        settings: WatchSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._events = log
        self._livekit = livekit
        self._observer = observer
        self._settings = settings or WatchSettings()
        self._clock = clock
        self._book: WorkerBook | None = None
        self._rounds: RoomRounds | None = None
        self._calls: dict[str, Call] = {}
        self._states: dict[str, str] = {}
        self._statuses: dict[str, AgentStatus] = {}
        self._tasks: list[asyncio.Task[None]] = []
        #: The latest list; what a page shows. ``None`` before the first.
        self.latest: WorkerList | None = None
        #: When the latest list came, and since when there has been none, if there is none now.
        self.seen_at: float | None = None
        self.failing_since: float | None = None

    async def start(self) -> None:
        """Read what the log holds, then watch. Raises :class:`EventLogError`."""
        self._book = await self._restore()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._watch_states())]

    async def aclose(self) -> None:
        """Stop watching. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _restore(self) -> WorkerBook:
        book, after = WorkerBook(), 0
        while records := await self._events.read(after, streams=(WORKERS,)):
            book.restore(records)
            after = records[-1].position
        return book

    @property
    def calls(self) -> dict[str, Call]:
        """The calls whose agents are in their rooms, by job id."""
        return dict(self._calls)

    @property
    def has_worker_list(self) -> bool:
        """Whether the server tells of its workers."""
        return self._rounds is None

    # Workers and jobs

    async def _watch(self) -> None:
        version, backoff = "", 1.0
        while True:
            try:
                found = await self._look(version)
                await self.take(found)
            except (LinkError, EventLogError) as error:
                if self.failing_since is None:
                    self.failing_since = self._clock()
                    _log.warning("workers cannot be watched", extra={"why": error.message, "fix": error.fix})
                version, backoff = "", await self._rest(backoff)
                continue
            except Exception:
                # A list that cannot be understood must not be the last that is looked at.
                _log.exception("a worker list could not be taken in")
                version, backoff = "", await self._rest(backoff)
                continue
            if self.failing_since is not None:
                _log.info("workers are watched again")
            version, backoff, self.failing_since = found.version, 1.0, None
            await asyncio.sleep(self._settings.rest if self._rounds is None else self._settings.rounds)

    async def _rest(self, backoff: float) -> float:
        """Wait, and return how long to wait the next time."""
        await asyncio.sleep(backoff)
        return min(2 * backoff, self._settings.longest_backoff)

    async def _look(self, version: str) -> WorkerList:
        if self._rounds is None:
            try:
                return await self._livekit.workers(version)
            except NotServedError:
                _log.info("the LiveKit server has no worker list: its rooms are looked through instead")
                self._rounds = RoomRounds(self._livekit)
        return await self._rounds.look()

    async def take(self, found: WorkerList) -> None:
        """Append what a list adds and tell the observer. Raises :class:`EventLogError`."""
        now = self._clock()
        book = self._book = self._book or await self._restore()
        by_stream: dict[str, list[NewEvent]] = {}
        for stream, event in book.compare(found, now):
            by_stream.setdefault(stream, []).append(event)
        # Together, so that they wait for the disk once.
        appends = (self._events.append(stream, events) for stream, events in by_stream.items())
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        if failed := [outcome for outcome in outcomes if isinstance(outcome, BaseException)]:
            # The book believes what the log does not hold: with the next list it starts from the log again.
            self._book = None
            raise failed[0]
        self.latest, self.seen_at = found, now
        self._tell_observer(found)
        if self._rounds is not None:
            for job_id, state in list(self._rounds.states.items()):
                await self._tell_state(job_id, state)
            for job_id, status in list(self._rounds.statuses.items()):
                await self._tell_status(job_id, status)

    def _tell_observer(self, found: WorkerList) -> None:
        calls = {job.id: _call(job) for job in found.jobs if job.present and job.agent_identity and not job.waits}
        for job_id in self._calls.keys() - calls.keys():
            self._states.pop(job_id, None)
            self._statuses.pop(job_id, None)
            if self._observer is not None:
                self._observer.ended(job_id)
        for call in calls.values():
            if self._observer is not None:
                self._observer.began(call)
        self._calls = calls

    # States of agents

    async def _watch_states(self) -> None:
        while True:
            await asyncio.sleep(self._settings.states)
            if self._rounds is not None:
                continue
            try:
                await self.look_at_states()
            except (LinkError, EventLogError):
                continue
            except Exception:
                _log.exception("the states of agents could not be taken in")

    async def look_at_states(self) -> None:
        """Ask what the agents do, and say that they do. Raises :class:`LinkError`, :class:`EventLogError`."""
        rooms: dict[str, list[Call]] = {}
        for call in self._calls.values():
            rooms.setdefault(call.room, []).append(call)
        gate = asyncio.Semaphore(_CONCURRENT)

        async def look(room: str, calls: list[Call]) -> None:
            async with gate:
                seen = await agents_seen(self._livekit, room)
            for call in calls:
                found = seen.get(call.agent_identity)
                if found is not None:
                    await self._tell_state(call.job_id, found.state)
                    await self._tell_status(call.job_id, found.status)

        await asyncio.gather(*(look(room, calls) for room, calls in rooms.items()))

    async def _tell_state(self, job_id: str, state: str) -> None:
        if self._observer is not None and job_id in self._observer.observed:
            # Who is listened to says more; what is polled after that is news again.
            self._states.pop(job_id, None)
            return
        if not state or self._states.get(job_id) == state or job_id not in self._calls:
            return
        changed = NewEvent(AgentStateChanged(state=state, polled=True), self._clock())
        await self._events.append(f"session:{job_id}", [changed])
        self._states[job_id] = state

    async def _tell_status(self, job_id: str, status: AgentStatus | None) -> None:
        if status is None or self._statuses.get(job_id) == status or job_id not in self._calls:
            return
        await self._events.append(f"session:{job_id}", [NewEvent(status, self._clock())])
        self._statuses[job_id] = status


def _call(job: JobInfo) -> Call:
    return Call(job_id=job.id, room=job.room, agent_identity=job.agent_identity, room_sid=job.room_sid)
