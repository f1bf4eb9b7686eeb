"""The observer: listens to the sessions of agents, wherever the policy says so, and puts what it hears into the log.

Its process only carries messages; what they mean is decided here, by :class:`Observation`, and only here is
anything written. A process that dies costs a second: the sessions are joined again, and what they said
meanwhile is in the history they are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec
from livekit.protocol.agent_pb import agent_session as session_pb

from greenroom.errors import MissingExtraError
from greenroom.eventlog import EventLogError, NewEvent
from greenroom.link._api import LiveKit
from greenroom.link._attendance import Attendance, ObservePolicy, When
from greenroom.link._errors import LinkError, NotFoundError
from greenroom.link._observation import Observation, request_id
from greenroom.link._observer_process import ObserverProcess, require_sdk
from greenroom.link._pipe import Arrived, Attach, Attached, Detach, Heard, Left, Report, Say, Stated
from greenroom.link._status import status_of_text

_log = logging.getLogger("greenroom.link.observer")

Append: TypeAlias = Callable[[str, Sequence[NewEvent]], Awaitable[object]]

ANSWER_TIMEOUT: Final = 60.0
FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 30.0
_QUEUE: Final = 10_000
_BATCH: Final = 200


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs, and where to find its agent."""

    job_id: str
    room: str
    agent_identity: str
    room_sid: str = ""


class _Waiting:
    """Somebody waits for an answer, from the room ``number`` once the question is on its way."""

    def __init__(self, answer: asyncio.Future[session_pb.SessionResponse]) -> None:
        self.answer = answer
        self.number = -1


class _Session:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.number = 0
        self.observation: Observation | None = None
        self.ready = asyncio.Event()
        self.over = False
        self.retry_at = 0.0
        self.backoff = FIRST_BACKOFF


class Observer:
    """Listens to calls and speaks for people to their agents. Belongs to the event loop; close with :meth:`aclose`.

    :param append: puts events into the stream of a session.
    :param clock: seconds since 1970.
    """

    def __init__(
        self,
        livekit: LiveKit,
        append: Append,
        policy: ObservePolicy | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._livekit = livekit
        self._append = append
        self._policy = policy or ObservePolicy()
        self._clock = clock
        self._attendance = Attendance(self._policy)
        self._sessions: dict[str, _Session] = {}
        self._by_number: dict[int, _Session] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}
        self._process = ObserverProcess(self._on_report, self._on_up, self._on_down)
        self._events: asyncio.Queue[tuple[str, list[NewEvent]]] = asyncio.Queue(_QUEUE)
        self._writer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._able: bool | None = None

    # Calls

    def began(self, call: Call) -> None:
        """A job runs; again, when its agent has another identity now."""
        known = self._sessions.get(call.job_id)
        if known is not None and known.call == call:
            return
        if known is not None:
            self._let_go(known, "left")
        self._sessions[call.job_id] = _Session(call)
        self._review()

    def ended(self, job_id: str) -> None:
        """A job is over."""
        session = self._sessions.pop(job_id, None)
        self._attendance.forget(job_id)
        if session is not None:
            self._let_go(session, "left")
            self._review()

    @property
    def observed(self) -> frozenset[str]:
        """The jobs whose sessions are being listened to."""
        return frozenset(job_id for job_id, session in self._sessions.items() if session.ready.is_set())

    def partial(self, job_id: str) -> str:
        """Return what a user is saying, as far as it has been understood; never in the log."""
        session = self._sessions.get(job_id)
        return session.observation.partial if session is not None and session.observation is not None else ""

    @property
    def pid(self) -> int | None:
        """The id of the observer's process while there is one."""
        return self._process.pid

    # Watching

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[None]:
        """Listen to a session while somebody looks at it, and a little longer.

        :raises NotFoundError: no such job runs. :raises MissingExtraError: LiveKit's SDK is not installed.
        """
        if job_id not in self._sessions:
            raise NotFoundError(f"No job '{job_id}' runs")
        require_sdk()
        self._attendance.watch(job_id)
        self._review()
        try:
            yield
        finally:
            self._attendance.unwatch(job_id, self._clock())
            self._review()

    async def ask(
        self,
        job_id: str,
        request: session_pb.SessionRequest,
        *,
        timeout: float = ANSWER_TIMEOUT,  # noqa: ASYNC109 - one bound around several steps
    ) -> session_pb.SessionResponse:
        """Ask a session for something and return its answer; its ``request_id`` is set here.

        :raises LinkError: it did not answer in time, or with an error.
        """
        if self._policy.when is When.NEVER:
            raise LinkError("The observer is switched off, and it speaks to agents", fix="Set its policy to 'watched'")
        request.request_id = request_id(_mint)
        payload = session_pb.AgentSessionMessage(request=request).SerializeToString()
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        with self.watching(job_id):
            self._waiting[request.request_id] = waiting
            try:
                async with asyncio.timeout(timeout):
                    await self._sessions[job_id].ready.wait()
                    session = self._sessions.get(job_id)
                    if session is None or not self._process.send(Say(session.number, payload)):
                        raise LinkError("The call ended before its agent could be asked")
                    waiting.number = session.number
                    response = await waiting.answer
            except TimeoutError:
                raise LinkError(
                    f"The agent did not answer within {timeout:g} s", fix="Look whether its session is still running"
                ) from None
            finally:
                del self._waiting[request.request_id]
        if response.error:
            raise LinkError(f"The agent refused: {response.error}")
        return response

    async def flush(self) -> None:
        """Return when everything heard so far is in the log."""
        await self._events.join()

    async def aclose(self) -> None:
        """Leave every room and end the process. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for session in self._sessions.values():
            self._let_go(session, "unwatched")
        await self._process.aclose()
        if self._writer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._events.join()
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    # Who is listened to

    def _review(self) -> None:
        """Join and leave rooms as the policy says now, and look again when that may change."""
        if self._closed:
            return
        now = self._clock()
        wanted = self._attendance.choose([each for each, session in self._sessions.items() if not session.over], now)
        for job_id, session in self._sessions.items():
            if job_id not in wanted:
                self._let_go(session, "unwatched")
        if wanted and not self._is_able():
            return
        self._process.want(bool(wanted))
        for job_id, reason in wanted.items():
            session = self._sessions[job_id]
            if not session.number and session.retry_at <= now:
                self._join(session, reason)
        retries = [self._sessions[job_id].retry_at for job_id in wanted if not self._sessions[job_id].number]
        changes = [at for at in (*retries, self._attendance.next_change()) if at is not None and at > now]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if changes:
            delay = min(changes) - now
            self._timer = asyncio.get_running_loop().call_later(delay, self._review)

    def _is_able(self) -> bool:
        """Whether there is anything to listen with; says so once."""
        if self._able is None:
            try:
                require_sdk()
            except MissingExtraError as error:
                _log.warning("sessions cannot be listened to", extra={"why": error.message, "fix": error.fix})
                self._able = False
            else:
                self._able = True
        return self._able

    def _join(self, session: _Session, reason: str) -> None:
        call, livekit = session.call, self._livekit
        number = next(self._numbers)
        token = livekit.token(
            identity=f"greenroom-observer-{secrets.token_hex(6)}",
            room=call.room,
            kind="agent",
            hidden=True,
            can_publish=False,
            can_publish_data=True,
            can_subscribe=True,
            can_manage_agent_session=True,
        )
        if not self._process.send(Attach(number, livekit.websocket_url, token, call.agent_identity)):
            return
        session.number = number
        self._by_number[number] = session
        if session.observation is None:
            session.observation = Observation(
                call.job_id, call.agent_identity, reason, mint_id=_mint, content=self._policy.content
            )

    def _let_go(self, session: _Session, reason: str) -> None:
        if session.number:
            self._process.send(Detach(session.number))
            self._forget_number(session)
        if session.observation is not None:
            self._put(session, session.observation.end(reason, self._clock()))
            session.observation = None

    def _forget_number(self, session: _Session) -> None:
        for waiting in self._waiting.values():
            if waiting.number == session.number and not waiting.answer.done():
                # It may have been heard: asking again is for a person to decide.
                waiting.answer.set_exception(LinkError("The connection to the call was lost before its agent answered"))
        self._by_number.pop(session.number, None)
        session.number = 0
        session.ready.clear()

    # What the process tells

    def _on_up(self) -> None:
        self._review()

    def _on_down(self) -> None:
        for session in list(self._by_number.values()):
            self._forget_number(session)
        self._review()

    async def _on_report(self, report: Report) -> None:
        session = self._by_number.get(report.number)
        if session is None or session.observation is None:
            return
        if isinstance(report, Heard):
            await self._hear(session, session.observation, report.payload)
        elif isinstance(report, Stated):
            if (status := status_of_text(report.text)) is not None:
                await self._tell(session, [NewEvent(status, self._clock())])
        elif isinstance(report, Attached | Arrived):
            if isinstance(report, Attached) and not report.present:
                return
            session.backoff = FIRST_BACKOFF
            for payload in session.observation.questions():
                self._process.send(Say(session.number, payload))
            session.ready.set()
        elif isinstance(report, Left):
            self._on_left(session, report)

    async def _hear(self, session: _Session, observation: Observation, payload: bytes) -> None:
        events = observation.hear(payload, self._clock())
        for asked, response in observation.answers.items():
            waiting = self._waiting.get(asked)
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result(response)
        observation.answers.clear()
        if events:
            await self._tell(session, events)

    async def _tell(self, session: _Session, events: list[NewEvent]) -> None:
        self._start_writer()
        # Waiting here holds up the process, and that the rooms: a log that is slow loses nothing.
        await self._events.put((session.call.job_id, events))

    def _on_left(self, session: _Session, report: Left) -> None:
        self._forget_number(session)
        if report.reason == "ended":
            session.over = True
        if report.reason in {"ended", "left"}:
            self._let_go(session, report.reason)
        else:
            _log.info(
                "the observer lost a session", extra={"job": session.call.job_id, "why": report.detail or report.reason}
            )
        # An agent that left may come back: its worker may have been restarted.
        session.retry_at = self._clock() + session.backoff
        session.backoff = min(2 * session.backoff, LONGEST_BACKOFF)
        self._review()

    # The log

    def _put(self, session: _Session, events: list[NewEvent]) -> None:
        if not events:
            return
        self._start_writer()
        try:
            self._events.put_nowait((session.call.job_id, events))
        except asyncio.QueueFull:
            _log.error("what a session said last is lost: the log is too slow", extra={"job": session.call.job_id})

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while True:
            taken = [await self._events.get()]
            while len(taken) < _BATCH and not self._events.empty():
                taken.append(self._events.get_nowait())
            by_job: dict[str, list[NewEvent]] = {}
            for job_id, events in taken:
                by_job.setdefault(job_id, []).extend(events)
            try:
                await asyncio.gather(*(self._store(job_id, events) for job_id, events in by_job.items()))
            finally:
                for _ in taken:
                    self._events.task_done()

    async def _store(self, job_id: str, events: list[NewEvent]) -> None:
        try:
            await self._append(f"session:{job_id}", events)
        except EventLogError as error:
            if len(events) > 1:
                # One that is too large must not take the others along.
                for event in events:
                    await self._store(job_id, [event])
                return
            _log.error("what a session said could not be stored", extra={"job": job_id, "why": error.message})


def _mint() -> str:
    return secrets.token_hex(8)
