"""What the instruments use of livekit-agents' own parts: a job's shutdown, its tools, what it uploads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from livekit import rtc
from livekit.agents import job as _job_module
from livekit.agents.job import JobContext, get_job_context
from livekit.agents.telemetry import trace_types
from livekit.agents.telemetry import traces as _traces_module
from livekit.agents.voice import AgentSession
from livekit.agents.voice.tool_executor import _ToolExecutor

from greenroom.pool.context import SCOPE
from greenroom.pool.shard._scope import scope_fields

if TYPE_CHECKING:
    import logging

#: The name of the tool whose code runs, empty outside of tools.
TOOL: Final[ContextVar[str]] = ContextVar("greenroom_tool", default="")
#: Upstream's own tool for hanging up, which does so after it has returned.
END_CALL_TOOL: Final = "end_call"
_MARK: Final = "_greenroom"
#: Words of upstream's with which a job begins to shut down, see ``_JobProc`` and ``JobContext``.
ROOM_DISCONNECTED: Final = "room disconnected"
JOB_CRASHED: Final = "job crashed"
SIMULATION_COMPLETED: Final = "simulation completed"

#: Untyped, since what is private is not declared.
upstream: Final[Any] = _job_module
_traces: Final[Any] = _traces_module
#: What upstream tells of the process that it uploads from, and is true of one job only.
_OF_ONE_JOB: Final = frozenset({"room_id", "job_id", trace_types.ATTR_AGENT_NAME})

_USED: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "_ToolExecutor.execute": (_ToolExecutor.execute, ("run_ctx",)),
    "JobContext.delete_room": (JobContext.delete_room, ("room_name",)),
    "AgentSession._is_closing": (AgentSession._is_closing, ()),
    "_resource": (_traces_module._resource, ("attributes",)),
    "_MetadataSpanProcessor.set_metadata": (_traces_module._MetadataSpanProcessor.set_metadata, ("metadata",)),
    "_MetadataLogProcessor.set_metadata": (_traces_module._MetadataLogProcessor.set_metadata, ("metadata",)),
    "JobContext._otel_metadata": (JobContext._otel_metadata, ("options", "redaction_enabled")),
}


def probe() -> Iterator[str]:
    """Yield the name of each private part that is used and no longer there."""
    for name, (found, parameters) in _USED.items():
        known = inspect.signature(found).parameters
        yield from (f"{name}({parameter}=)" for parameter in parameters if parameter not in known)
    if "_on_shutdown" not in JobContext.__init__.__code__.co_names:
        yield "JobContext._on_shutdown"
    if not hasattr(upstream, "_BufferingHandler"):
        yield "livekit.agents.job._BufferingHandler"
    source = inspect.getsource(upstream) + inspect.getsource(inspect.getmodule(_runner()) or upstream)
    yield from (words for words in (ROOM_DISCONNECTED, JOB_CRASHED, SIMULATION_COMPLETED) if f'"{words}"' not in source)


def _runner() -> Any:
    from livekit.agents.ipc.job_proc_lazy_main import _JobProc  # noqa: PLC0415 - only the probe needs it

    return _JobProc


def install() -> None:
    """Have upstream keep the sessions of one process apart where it does not. Again does no harm."""
    if hasattr(upstream._BufferingHandler, _MARK):
        return
    _keep_buffers_apart()
    _stamp_uploads()
    _upload_nobody_s_as_nobody_s()
    _name_tools()


def _keep_buffers_apart() -> None:
    # Each job that is recorded keeps the process's log lines until it knows where to upload them: every job's.
    class OwnLines(upstream._BufferingHandler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._scope = SCOPE.get()

        def emit(self, record: logging.LogRecord) -> None:
            if SCOPE.get() is self._scope:
                super().emit(record)

    setattr(OwnLines, _MARK, True)
    upstream._BufferingHandler = OwnLines


def _stamp_uploads() -> None:
    original = JobContext._otel_metadata

    @functools.wraps(original)
    def stamped(self: JobContext, *arguments: Any, **named: Any) -> dict[str, Any] | None:
        found = {**(original(self, *arguments, **named) or {}), **scope_fields(SCOPE.get())}
        return found or None

    JobContext._otel_metadata = stamped  # type: ignore[method-assign]


def _upload_nobody_s_as_nobody_s() -> None:
    # With one job in a process, what belongs to none is the last job's, and the process is the job. Not here.
    for processor in (_traces._MetadataSpanProcessor, _traces._MetadataLogProcessor):
        processor.set_metadata = _no_metadata
    original = _traces._resource

    @functools.wraps(original)
    def resource(attributes: Any) -> Any:
        return original({name: value for name, value in attributes.items() if name not in _OF_ONE_JOB})

    _traces._resource = resource


def _no_metadata(_processor: Any, metadata: Any) -> None:
    del metadata


def _name_tools() -> None:
    original = _ToolExecutor.execute

    @functools.wraps(original)
    async def execute(self: _ToolExecutor, *, run_ctx: Any, **named: Any) -> Any:
        token = TOOL.set(run_ctx.function_call.name)
        try:
            return await original(self, run_ctx=run_ctx, **named)
        finally:
            TOOL.reset(token)

    _ToolExecutor.execute = execute  # type: ignore[method-assign]


def follow_job(on_shutdown: Callable[[str, str], None], on_delete: Callable[[str], None]) -> None:
    """Follow the program of the current job, if there is one, in what it does to end the call.

    :param on_shutdown: gets the reason and the tool that asked for it, empty when no tool did.
    :param on_delete: gets the tool likewise, when the program deletes the room.
    """
    job = get_job_context(required=False)
    if job is None:
        return
    shut_down, delete = job._on_shutdown, job.delete_room

    def shutdown(reason: str) -> None:
        on_shutdown(reason, TOOL.get())
        shut_down(reason)

    def delete_room(room_name: str | None = None) -> Any:
        if room_name is None or room_name == job.job.room.name:
            on_delete(TOOL.get())
        return delete(room_name)

    job._on_shutdown = shutdown
    job.delete_room = delete_room  # type: ignore[method-assign]


def is_closing(session: AgentSession[Any]) -> bool:
    """Return whether a session has begun to close, which is before it says so."""
    return session._is_closing()


def follow_event(session: AgentSession[Any], event: str, callback: Callable[[Any], None]) -> Callable[[], None]:
    """Follow an event of a session, and return what stops that.

    Not through the session's own ``on``, which warns of events that are no longer meant for programs.
    """
    emitter: Any = rtc.EventEmitter
    emitter.on(session, event, callback)
    return lambda: emitter.off(session, event, callback)
