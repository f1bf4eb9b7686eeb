"""One session in a shard: upstream's runner with its instruments, from launch until nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

from greenroom.pool._model import EndKind
from greenroom.pool._wire import Ended, Launch, Started
from greenroom.pool.api import _host_face
from greenroom.pool.context import PROVIDERS
from greenroom.pool.shard._program import Program
from greenroom.pool.shard._upstream_job import Job

if TYPE_CHECKING:
    import msgspec
    from livekit.agents import JobProcess

    from greenroom.pool.shard._instruments import SessionInstruments

logger = logging.getLogger("greenroom.pool")

_STRAY_PATIENCE: Final = 2.0
#: What upstream waits for in turn, beside the program's on_session_end: the entrypoint, the agent session, an upload.
_UPSTREAM_PATIENCE: Final = 15.0 + 60.0 + 60.0
_owner: Final[ContextVar[set[weakref.ref[asyncio.Task[Any]]] | None]] = ContextVar("greenroom_tasks", default=None)


def note_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have ``loop`` note for each session which tasks were made in it.

    In a process of its own a job takes its tasks with it when it ends; here they have to be known.
    """
    before = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        task: Any = asyncio.Task(work, loop=loop, **options) if before is None else before(loop, work, **options)
        context: Context | None = options.get("context")
        owned = context.get(_owner) if context is not None else _owner.get()
        if owned is not None:
            owned.add(weakref.ref(task, owned.discard))
        return task

    loop.set_task_factory(make)


class Session:
    """A session that runs.

    :param tell: sends a message to the supervisor.
    :param infer: asks the inference process on behalf of the session: a request's id, the method, its data.
    :param shutdown_timeout: seconds for what comes after the program's ``on_session_end``: leaving the room,
        shutdown callbacks.
    """

    def __init__(
        self,
        launch: Launch,
        program: Program,
        process: JobProcess,
        instruments: SessionInstruments,
        *,
        tell: Callable[[msgspec.Struct], None],
        infer: Callable[[str, str, bytes], None],
        session_end_timeout: float,
        shutdown_timeout: float,
    ) -> None:
        self.launch = launch
        self._instruments = instruments
        self._tell = tell
        self._session_end_timeout = session_end_timeout
        self._shutdown_timeout = shutdown_timeout
        self._ending = False
        self._moving: asyncio.Task[None] | None = None
        self._closing = False
        self._deadlines: list[asyncio.TimerHandle] = []
        self._abandoned: asyncio.Future[None] | None = None
        self._job_task: asyncio.Task[None] | None = None
        self._tasks: set[weakref.ref[asyncio.Task[Any]]] = set()
        instruments.context.run(_owner.set, self._tasks)
        instruments.context.run(PROVIDERS.set, launch.providers)
        self._job = Job(
            launch,
            program,
            process,
            instruments.context,
            now=time.time(),
            session_end_timeout=session_end_timeout,
            on_room=instruments.on_room,
            on_entry=lambda: tell(Started(job_id=launch.job_id)),
            on_shutdown=instruments.shutdown,
            on_failure=instruments.entry_failed,
            on_closing=self._closes,
            before_start=instruments.on_session,
            infer=infer,
        )

    async def run(self) -> Ended:
        """Run the session to its end, let go of everything that belongs to it, and return how it ended."""
        loop = asyncio.get_running_loop()
        self._abandoned = loop.create_future()
        self._job_task = self._job.start(loop)
        try:
            await asyncio.wait({self._job_task, self._abandoned}, return_when=asyncio.FIRST_COMPLETED)
            if not self._job_task.done():
                logger.error("a session cannot be ended", extra={"job_id": self.launch.job_id})
            elif not self._job_task.cancelled() and (error := self._job_task.exception() or self._job.unmade):
                self._instruments.entry_failed(error)
        finally:
            self._job_task.cancel()
            for deadline in self._deadlines:
                deadline.cancel()
            if self._moving is not None:
                self._moving.cancel()
            self._job.close()
            await self._end_strays()
            try:
                ended = self._instruments.conclude()
            finally:
                self._instruments.close()
        await _host_face.concluded(self.launch.job_id, ended.kind)
        return ended

    def end(self, kind: EndKind, reason: str) -> None:
        """End the session in good order. Only the first call counts."""
        if self._ending:
            return
        self._ending = True
        self._instruments.asked_to_end(kind, reason)
        self._job.shut_down(reason)
        # As stock's worker has it: bounded is what comes after the program's on_session_end. And all of it, as here
        # no process is killed in the end that holds nothing but this session.
        if self._closing:
            self._overdue_in(self._shutdown_timeout)
        self._overdue_in(_UPSTREAM_PATIENCE + self._session_end_timeout + self._shutdown_timeout)

    def move(self, patience: float) -> None:
        """End the session as soon as nobody speaks, to go on elsewhere."""
        if self._ending or self._moving is not None:
            return
        self._moving = asyncio.get_running_loop().create_task(self._move(patience), context=self._instruments.context)

    def kill(self) -> None:
        """End the session without asking the program. What even then does not end is left to itself. Idempotent."""
        if self._job_task is not None and self._abandoned is not None:
            self._job_task.cancel()
            abandon = asyncio.get_running_loop().call_later(_STRAY_PATIENCE, _give_up, self._abandoned)
            self._deadlines.append(abandon)

    def inferred(self, request_id: str, data: bytes | None, problem: str) -> None:
        """Hand over what the inference process answered."""
        self._job.inferred(request_id, data, problem)

    async def _move(self, patience: float) -> None:
        try:
            await asyncio.wait_for(self._instruments.quiet(patience), patience + 1)
        except TimeoutError:
            logger.warning("a call that should move is never quiet", extra={"job_id": self.launch.job_id})
        if _host_face.is_job_pinned(self.launch.job_id):
            logger.info("a call is pinned to its code, and ends on it", extra={"job_id": self.launch.job_id})
            return
        self.end(EndKind.MOVED, "the call goes on with newer code")

    def _closes(self) -> None:
        self._closing = True
        if self._ending:
            self._overdue_in(self._shutdown_timeout)

    def _overdue_in(self, seconds: float) -> None:
        self._deadlines.append(asyncio.get_running_loop().call_later(seconds, self._overdue))

    def _overdue(self) -> None:
        logger.error("a session did not shut down in time", extra={"job_id": self.launch.job_id})
        self.kill()

    async def _end_strays(self) -> None:
        """Cancel what the program left running, as the end of its own process would."""
        mine = {asyncio.current_task(), self._moving, self._job_task}
        left = {task for each in [*self._tasks] if (task := each()) is not None and not task.done()} - mine
        for task in left:
            task.cancel()
        if not left:
            return
        _, stubborn = await asyncio.wait(left, timeout=_STRAY_PATIENCE)
        if stubborn:
            logger.warning(
                "tasks of an ended session do not end",
                extra={"job_id": self.launch.job_id, "tasks": [task.get_name() for task in stubborn]},
            )
        for task in left - stubborn:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                task.result()


def _give_up(abandoned: asyncio.Future[None]) -> None:
    if not abandoned.done():
        abandoned.set_result(None)
