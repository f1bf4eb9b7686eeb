"""Runs upstream's own job runner, many of them on one loop.

livekit-agents starts a process for each job. In it a ``_JobProc`` reads messages from the worker, runs the
entrypoint, and takes everything down in order. Here each job gets a ``_JobProc`` in a ``contextvars.Context`` of its
own, its executor type THREAD, as several share a process; what it sends to its worker, the session interprets.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from livekit.agents.ipc import proto
from livekit.agents.ipc.job_proc_lazy_main import _JobProc
from livekit.agents.ipc.mock_room import create_mock_room
from livekit.agents.job import (
    JobAcceptArguments,
    JobExecutorType,
    JobProcess,
    RunningJobInfo,
    get_job_context,
)
from livekit.agents.telemetry import loop_monitor
from livekit.agents.telemetry.traces import _resource
from livekit.agents.utils import aio, http_context
from livekit.agents.voice import AgentSession
from livekit.protocol import agent as agent_protocol
from livekit.rtc import _ffi_client

from greenroom.pool._wire import Launch
from greenroom.pool.shard._program import Program

if TYPE_CHECKING:
    from livekit.agents import JobContext

#: Called with a job's primary session and its first agent, just before the session starts.
BeforeStart = Callable[[Any, Any], Awaitable[None]]
_before_start: Final[ContextVar[BeforeStart | None]] = ContextVar("greenroom_before_start", default=None)


def make_process(http_proxy: str | None) -> JobProcess:
    """Return a ``JobProcess``, for a program's set-up and all of its sessions in this shard."""
    return JobProcess(executor_type=JobExecutorType.THREAD, user_arguments=None, http_proxy=http_proxy)


def prepare_nursery() -> None:
    """Do once for all processes what each would do otherwise, on its loop, when its first session starts."""
    http_context._set_default_cert_env()
    # It reads every certificate of the machine: that may take 100 ms.
    http_context._create_ssl_context()


def prepare_process() -> None:
    """Do once in a new process what upstream does in each of its own."""
    # Detecting resources starts and joins threads; on the loop that would hold up every session.
    _resource({})
    # When its native part has panicked, livekit-rtc sends its own process SIGTERM, which a shard ignores as upstream's
    # job processes do: no session of it would ever hear of its room again. It dies instead, and its calls are saved.
    vars(_ffi_client)["signal"] = _Deadly


class _Deadly:
    SIGTERM = signal.SIGABRT


@contextlib.contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have upstream report what blocks the loop, as in its own job processes."""
    monitor = loop_monitor.start_monitoring(loop, name="job")
    if monitor is not None:
        # Each job makes the reports its own. Here many share the loop: a report would bear the name of
        # whichever began last, and not of the one that blocks.
        monitor.set_report_context = lambda ctx: None  # type: ignore[method-assign]  # noqa: ARG005
    try:
        yield
    finally:
        loop_monitor.stop_monitoring(loop)


@contextlib.contextmanager
def hooked_sessions() -> Iterator[None]:
    """Inside, ``AgentSession.start`` of a job's primary session first awaits what the job was given for that."""
    original = AgentSession.start

    @functools.wraps(original)
    async def start(self: AgentSession[Any], *arguments: Any, **named: Any) -> Any:
        hook = _before_start.get()
        context = get_job_context(required=False) if hook is not None else None
        if hook is not None and context is not None and context._primary_agent_session in {None, self}:
            agent = arguments[0] if arguments else named.get("agent")
            if agent is not None:
                await hook(self, agent)
        return await original(self, *arguments, **named)

    AgentSession.start = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        AgentSession.start = original  # type: ignore[method-assign]


def started_session(context: JobContext) -> Any:
    """Return the job's primary ``AgentSession``, ``None`` when none was started."""
    return context._primary_agent_session


class _Runner(_JobProc):
    """Upstream's runner, which waits for ever when a job cannot even be made: a full disk is enough."""

    unmade: Exception | None = None

    def _start_job(self, msg: proto.StartJobRequest) -> None:
        if msg.running_job.fake_job:
            # One mock would serve every such job of the process, and remember all of them.
            create_mock_room.cache_clear()
        try:
            super()._start_job(msg)
        except Exception as error:
            self.unmade = error
            self._exit_proc_flag.set()
            raise


class Job:
    """One job, run by upstream's runner.

    :param process: shared by the sessions of the program.
    :param context: in which every task of the job is made.
    :param on_room: gets the room, before the entrypoint runs and before it is connected.
    :param on_shutdown: gets the reason with which the job began to shut down, and whether the program asked for it.
    :param on_failure: gets what the entrypoint raised.
    :param infer: asks the inference process: a method, its data and a number to answer under.
    """

    def __init__(
        self,
        launch: Launch,
        program: Program,
        process: JobProcess,
        context: contextvars.Context,
        *,
        now: float,
        session_end_timeout: float,
        on_room: Callable[[Any], None],
        on_entry: Callable[[], None],
        on_shutdown: Callable[[str, bool], None],
        on_failure: Callable[[BaseException], None],
        on_closing: Callable[[], None],
        before_start: BeforeStart,
        infer: Callable[[str, str, bytes], None],
    ) -> None:
        self._context = context
        self._on_shutdown = on_shutdown
        self._on_closing = on_closing
        self._infer = infer
        self._messages: Any = aio.Chan()

        async def entrypoint(job: JobContext) -> None:
            self._runner._shutdown_fut.add_done_callback(self._shutting_down)
            on_room(job.room)
            on_entry()
            try:
                await program.entrypoint(job)
            except Exception as error:
                on_failure(error)
                raise
            except SystemExit as error:
                # It ends the session. On its way through the loop it would end the process, with every other.
                failure = RuntimeError(f"the entrypoint called sys.exit({error.code!r})")
                on_failure(failure)
                raise failure from error

        self._runner = _Runner(
            lambda _process: None,
            entrypoint,
            program.session_end,
            session_end_timeout=session_end_timeout,
            executor_type=JobExecutorType.THREAD,
            simulation_end_fnc=program.simulation_end,
        )
        self._runner.initialize(proto.InitializeRequest(http_proxy=program.http_proxy or ""), self)  # type: ignore[arg-type]
        self._runner._job_proc = process
        self._context.run(_before_start.set, before_start)

        # Before anything else that it may be told: a job that is ended while it starts still runs, as with stock.
        request = proto.StartJobRequest()
        request.running_job = _running(launch, now)
        self._messages.send_nowait(request)

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """Run the job; the task ends once everything that upstream takes down is down."""
        return loop.create_task(self._runner.entrypoint(self._messages), name="job", context=self._context)

    @property
    def unmade(self) -> Exception | None:
        """Why the job could not be made, so that no entrypoint ran."""
        return self._runner.unmade

    def shut_down(self, reason: str) -> None:
        """Ask for an orderly end, as the worker asks when the server takes the job away."""
        self._tell(proto.ShutdownRequest(reason=reason))

    def inferred(self, request_id: str, data: bytes | None, problem: str) -> None:
        """Hand over what the inference process answered."""
        self._tell(proto.InferenceResponse(request_id=request_id, data=data, error=problem))

    def close(self) -> None:
        """Let nothing be told any more, and let go of what would keep the job alive."""
        self._messages.close()

    async def send(self, message: Any) -> None:
        """Take what the runner says to its worker."""
        if isinstance(message, proto.InferenceRequest):
            self._infer(message.request_id, message.method, message.data)
        elif isinstance(message, proto.ShuttingDown):
            self._on_closing()

    def _tell(self, message: Any) -> None:
        with contextlib.suppress(aio.ChanClosed):
            self._messages.send_nowait(message)

    def _shutting_down(self, decided: asyncio.Future[Any]) -> None:
        if not decided.cancelled():
            self._on_shutdown(decided.result().reason, decided.result().user_initiated)


def _running(launch: Launch, now: float) -> RunningJobInfo:
    return RunningJobInfo(
        accept_arguments=JobAcceptArguments(
            name=launch.name,
            identity=launch.identity,
            metadata=launch.metadata,
            attributes=launch.attributes or None,
        ),
        job=agent_protocol.Job.FromString(launch.job),
        url=launch.url,
        token=launch.token,
        worker_id=launch.worker_id,
        fake_job=launch.fake,
        received_at=launch.received_at,
        accepted_at=launch.accepted_at,
        assigned_at=launch.assigned_at,
        launched_at=now,
    )
