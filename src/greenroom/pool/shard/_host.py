"""A shard: one event loop, as many sessions as the supervisor launches, until it is retired."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from greenroom.pool._model import EndKind
from greenroom.pool._wire import (
    DrainAsked,
    End,
    Ended,
    Infer,
    Inferred,
    Launch,
    Move,
    Ready,
    Retire,
    ShardSettings,
    ToShard,
    to_shard,
)
from greenroom.pool.api import set_host
from greenroom.pool.shard._instruments import Instruments
from greenroom.pool.shard._loop import finish, new_loop, run_through
from greenroom.pool.shard._pipe import LoopPipe
from greenroom.pool.shard._program import Catalog, Program
from greenroom.pool.shard._session import Session, note_tasks
from greenroom.pool.shard._upstream_job import hooked_sessions, make_process, prepare_process, watched

if TYPE_CHECKING:
    from livekit.agents import JobProcess

logger = logging.getLogger("greenroom.pool")

_LAST_WORDS: Final = 2.0
_DEFAULTS: Final = ShardSettings()


class SetUpError(Exception):
    """A program's set-up function failed; the text says how, with the line."""


class _Overdue(BaseException):
    """Set-up takes too long. No ``Exception``: programs that catch all of those shall not catch this."""


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    # Set-up functions are synchronous and want the main thread: only a signal can interrupt them.
    def overdue(_number: int, _frame: FrameType | None) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def set_up(program: Program) -> JobProcess:
    """Run a program's set-up, in time, and return the process that its sessions share.

    :raises SetUpError: what it raised, or that it took too long.
    """
    process = make_process(program.http_proxy)
    if program.setup is None:
        return process
    try:
        with _within(program.setup_timeout):
            program.setup(process)
    except _Overdue:
        raise SetUpError(f"its set-up took longer than {program.setup_timeout:g} s") from None
    except (Exception, SystemExit) as error:
        logger.exception("an agent's set-up failed", extra={"agent": program.spec.name})
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise SetUpError(
            f"its set-up failed: {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        ) from error
    return process


class Shard:
    """What a shard does with what it is told."""

    def __init__(self, catalog: Catalog, settings: ShardSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._catalog = catalog
        self._settings = settings
        self._loop = loop
        self._processes: dict[str, JobProcess] = {}
        self._failed: dict[str, str] = {}
        self._sessions: dict[str, Session] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._questions: dict[int, tuple[str, str]] = {}
        self._question = 0
        self._retired = False
        self._over = asyncio.Event()
        self._pipe: LoopPipe[ToShard] | None = None
        self._instruments = Instruments(self._tell, settings, loop)

    def set_up(self) -> None:
        """Run the set-up of every program, before the loop does."""
        shared: dict[int, JobProcess] = {}
        for name, program in self._catalog.programs.items():
            key = id(program.shares) if program.shares is not None else id(program)
            try:
                if key not in shared:
                    shared[key] = set_up(program)
                self._processes[name] = shared[key]
            except SetUpError as error:
                self._failed[name] = str(error)

    async def run(self, end: socket.socket) -> None:
        """Serve until retired, or until the supervisor is gone."""
        note_tasks(self._loop)
        set_host(_Host(self._tell))
        self._pipe = LoopPipe(end, to_shard, self._loop, self._hear, self._orphaned)
        self._instruments.start()
        beating = self._loop.create_task(self._beat())
        self._tell(Ready(failed=self._failed))
        try:
            await self._over.wait()
        finally:
            beating.cancel()
            self._instruments.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pipe.flush(), _LAST_WORDS)
            self._pipe.close()

    def _tell(self, message: Any) -> None:
        if self._pipe is not None:
            self._pipe.send(message)

    async def _beat(self) -> None:
        while True:
            self._tell(self._instruments.beat())
            await asyncio.sleep(self._settings.beat)

    def _hear(self, message: ToShard) -> None:
        match message:
            case Launch():
                self._launch(message)
            case End():
                self._on_session(message.job_id, lambda session: session.end(message.kind, message.reason))
            case Move():
                self._on_session(message.job_id, lambda session: session.move(message.patience))
            case Inferred():
                self._inferred(message)
            case Retire():
                self._retired = True
                self._perhaps_over()
            case _:
                logger.error("a shard was told what only others do", extra={"told": type(message).__name__})

    def _on_session(self, job_id: str, do: Callable[[Session], None]) -> None:
        session = self._sessions.get(job_id)
        if session is None:
            # It ended in the same moment: that it did is on its way.
            logger.debug("no such session", extra={"job_id": job_id})
        else:
            do(session)

    def _launch(self, message: Launch) -> None:
        if message.job_id in self._sessions:
            logger.error("a session was launched twice", extra={"job_id": message.job_id})
            return
        program = self._catalog.programs.get(message.agent)
        process = self._processes.get(message.agent)
        if program is None or process is None:
            problem = self._failed.get(message.agent) or f"there is no agent '{message.agent}' in this shard"
            self._refuse(message, problem)
            return
        instruments = self._instruments.begin(message)
        try:
            session = Session(
                message,
                program,
                process,
                instruments,
                tell=self._tell,
                infer=lambda *question: self._infer(message.job_id, *question),
                session_end_timeout=self._session_end_timeout(program),
                shutdown_timeout=self._settings.shutdown_timeout,
            )
        except Exception as error:
            logger.exception("a session could not be made", extra={"job_id": message.job_id})
            instruments.close()
            self._refuse(message, f"{type(error).__name__}: {error}")
            return
        self._sessions[message.job_id] = session
        task = self._loop.create_task(self._run(session))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _session_end_timeout(self, program: Program) -> float:
        # What is configured goes before what the program says; the default of both is the same.
        configured = self._settings.session_end_timeout
        return configured if configured != _DEFAULTS.session_end_timeout else program.session_end_timeout

    async def _run(self, session: Session) -> None:
        job_id = session.launch.job_id
        try:
            ended = await session.run()
        except Exception as error:
            logger.exception("a session's end failed", extra={"job_id": job_id})
            ended = Ended(job_id=job_id, kind=EndKind.CODE, ok=False, error=f"{type(error).__name__}: {error}")
        finally:
            del self._sessions[job_id]
            self._questions = {
                number: question for number, question in self._questions.items() if question[0] != job_id
            }
        self._tell(ended)
        self._perhaps_over()

    def _refuse(self, message: Launch, problem: str) -> None:
        self._tell(Ended(job_id=message.job_id, kind=EndKind.SETUP, ok=False, reason="not started", error=problem))

    def _infer(self, job_id: str, request_id: str, method: str, data: bytes) -> None:
        self._question += 1
        self._questions[self._question] = (job_id, request_id)
        self._tell(Infer(number=self._question, method=method, data=data))

    def _inferred(self, message: Inferred) -> None:
        job_id, request_id = self._questions.pop(message.number, ("", ""))
        session = self._sessions.get(job_id)
        if session is not None:
            session.inferred(request_id, message.data, message.problem)

    def _perhaps_over(self) -> None:
        if self._retired and not self._sessions:
            self._over.set()

    def _orphaned(self) -> None:
        """End every call in good order: nobody is there who could answer for them."""
        logger.error("the supervisor is gone", extra={"sessions": len(self._sessions)})
        self._retired = True
        for session in [*self._sessions.values()]:
            session.end(EndKind.DRAINED, "the pool is gone")
        self._loop.call_later(self._settings.shutdown_timeout, self._give_up)
        self._perhaps_over()

    def _give_up(self) -> None:
        for session in [*self._sessions.values()]:
            session.kill()
        self._loop.call_later(_LAST_WORDS, self._over.set)


class _Host:
    """What a program's ``pool.begin_drain()`` reaches in a shard."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self.draining = False

    def drain(self) -> None:
        """Ask the supervisor, whose pool it is."""
        self.draining = True
        self._tell(DrainAsked())


def run_shard(end: socket.socket, catalog: Catalog, settings: ShardSettings) -> None:
    """Be a shard, until retired."""
    prepare_process()
    loop = new_loop()
    asyncio.set_event_loop(loop)
    shard = Shard(catalog, settings, loop)
    started = time.monotonic()
    shard.set_up()
    logger.debug("shard set up", extra={"seconds": round(time.monotonic() - started, 3)})
    try:
        with hooked_sessions(), watched(loop):
            run_through(loop, shard.run(end))
    finally:
        finish(loop)
