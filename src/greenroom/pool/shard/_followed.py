"""One session as its instruments see it: what it tells, how it ended, with what it could go on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from livekit.agents import llm, stt, tts
from livekit.protocol import agent as agent_protocol
from livekit.protocol import models

from greenroom.pool._model import EndKind, Memo
from greenroom.pool._wire import Checkpoint, Ended, Fact, Launch
from greenroom.pool.context import SCOPE, Scope
from greenroom.pool.shard._ending import Ending
from greenroom.pool.shard._facts import Facts
from greenroom.pool.shard._memo import Recorder, restore
from greenroom.pool.shard._scope import forget_output
from greenroom.pool.shard._upstream_session import END_CALL_TOOL, TOOL, follow_event, follow_job, is_closing

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents.voice import Agent, AgentSession

#: When a job is taken away, the room may have ended: for so many seconds it is awaited that the server says so.
_DOUBT = 0.5
_THERE = frozenset({"listening", "thinking", "speaking"})
#: Metrics that a provider's answer comes with. A VAD's and the like come on their own.
_ANSWERS = frozenset({"llm_metrics", "stt_metrics", "tts_metrics", "realtime_model_metrics"})
_PROVIDERS = (stt.STT, llm.LLM, llm.RealtimeModel, tts.TTS)


class SessionInstruments:
    """The instruments of one session, from before its entrypoint until everything of it is closed.

    :param on_close: called once, when nothing is told of the session any more.
    :ivar context: for every task of the session: ``loop.create_task(..., context=context)``.
    """

    def __init__(
        self,
        launch: Launch,
        send: Callable[[Fact | Checkpoint], None],
        on_close: Callable[[SessionInstruments], None],
    ) -> None:
        self._launch = launch
        self._send = send
        self._on_close = on_close
        self.scope = Scope(
            session=launch.job_id,
            agent=launch.agent,
            tenant=launch.tenant,
            room=agent_protocol.Job.FromString(launch.job).room.name,
            environment=launch.environment,
            resumed=launch.memo is not None,
        )
        self.context: contextvars.Context = contextvars.copy_context()
        self.context.run(SCOPE.set, self.scope)
        self._ending = Ending()
        self._facts = Facts(launch.job_id, self._say)
        self._recorder: Recorder | None = None
        self._session: AgentSession[Any] | None = None
        self._undo: list[Callable[[], None]] = []
        self._ended: Ended | None = None
        self._closed = False

    # --- what the shard tells

    def on_room(self, room: rtc.Room) -> None:
        """Follow the room of the job, made and not yet connected. In the job's own context, once."""
        follow_job(self._ending.asked_by_program, self._ending.deleting)
        if self._launch.fake:
            return
        connect, disconnect = room.connect, room.disconnect
        gone = asyncio.Event()

        async def connected(*arguments: Any, **named: Any) -> None:
            await connect(*arguments, **named)
            self._ending.connected()
            self._facts.tell("connected", 1)
            self._facts.count(room)

        async def disconnected(*arguments: Any, **named: Any) -> None:
            if self._ending.in_doubt and room.isconnected():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), _DOUBT)
            await disconnect(*arguments, **named)

        def left(reason: Any) -> None:
            gone.set()
            self._ending.disconnected(models.DisconnectReason.Name(reason))

        room.connect = connected  # type: ignore[method-assign]
        room.disconnect = disconnected  # type: ignore[method-assign]
        room.on("participant_connected", lambda _participant: self._facts.count(room))
        room.on("participant_disconnected", lambda _participant: self._facts.count(room))
        room.on("disconnected", left)

    async def on_session(self, session: AgentSession[Any], agent: Agent) -> None:
        """Follow the job's primary session, restoring what it knew elsewhere. Await it just before its start."""
        again = session is self._session
        self._unfollow()
        self._session = session
        if self._launch.memo is not None and not again and self._recorder is None:
            await restore(self._launch.memo, session, agent)
        self._recorder = Recorder(session, self._checkpoint)
        for event, callback in {
            "agent_state_changed": self._agent_state,
            "user_state_changed": self._user_state,
            "user_input_transcribed": self._transcribed,
            "conversation_item_added": self._conversed,
            "function_tools_executed": self._conversed,
            "tool_execution_updated": self._tool,
            "session_usage_updated": lambda event: self._facts.usage(event.usage),
            # Those of turns are no provider's, and bear no label.
            "metrics_collected": lambda event: self._facts.provider_ok(
                getattr(event.metrics, "label", ""), time.monotonic()
            ),
            "error": self._error,
            "close": self._close,
        }.items():
            self._undo.append(follow_event(session, event, callback))

    def entry_failed(self, problem: BaseException) -> None:
        """Tell that the entrypoint, or what stands before it, raised."""
        self._ending.entry_failed(problem, closing=self._session is not None and is_closing(self._session))

    def asked_to_end(self, kind: EndKind, reason: str) -> None:
        """Tell that the session is about to be ended from outside, and of what."""
        self._ending.asked(kind, reason)

    def shutdown(self, reason: str, user_initiated: bool) -> None:
        """Tell with which words the job began to shut down."""
        self._ending.shutting_down(reason, user_initiated)

    async def quiet(self, patience: float) -> bool:
        """Wait until nobody speaks and nothing is generated; return whether that came within ``patience`` seconds."""
        if self._session is None or self._ending.ended:
            return True
        try:
            async with asyncio.timeout(patience):
                await self._session.wait_for_idle()
        except TimeoutError:
            return False
        except RuntimeError:
            # It has not begun to listen, or it is closing: nobody is cut off in a sentence.
            return True
        return True

    def conclude(self) -> Ended:
        """Return how the session ended; the same each time."""
        if self._ended is None:
            self._facts.flush()
            cause = self._ending.result()
            goes_on = cause.kind is EndKind.MOVED
            self._ended = Ended(
                job_id=self._launch.job_id,
                kind=cause.kind,
                ok=cause.ok,
                reason=cause.reason,
                error=cause.error,
                provider=cause.provider,
                memo=self._memo() if goes_on else None,
            )
        return self._ended

    def close(self) -> None:
        """Let go of everything that is held for the session; nothing is told of it any more."""
        if self._closed:
            return
        self._closed = True
        self._unfollow()
        self._facts.flush()
        forget_output(self.scope)
        self._session = None
        self._recorder = None
        self._on_close(self)

    # --- what the session tells

    def _agent_state(self, event: Any) -> None:
        if event.new_state in _THERE:
            self._ending.began()
        self._facts.tell("agent_state", event.new_state)
        if event.new_state == "speaking":
            self._facts.spoke("agent")

    def _user_state(self, event: Any) -> None:
        self._facts.tell("user_state", event.new_state)
        if event.new_state == "speaking":
            self._facts.spoke("user")

    def _transcribed(self, event: Any) -> None:
        if event.is_final and event.transcript:
            self._facts.spoke("user")

    def _conversed(self, _event: Any) -> None:
        if self._recorder is not None:
            self._recorder.changed()

    def _tool(self, event: Any) -> None:
        update = event.update
        if update.type == "tool_call_started" and update.function_call.name == END_CALL_TOOL:
            self._ending.hangs_up(END_CALL_TOOL)

    def _answered(self, event: Any) -> None:
        if event.metrics.type in _ANSWERS:
            self._facts.provider_ok(event.metrics.label, time.monotonic())

    def _error(self, event: Any) -> None:
        error = event.error
        label = str(getattr(error, "label", "") or getattr(event.source, "label", ""))
        if not label and not isinstance(event.source, _PROVIDERS):
            return
        recoverable = bool(getattr(error, "recoverable", False))
        self._facts.provider_error(label, recoverable=recoverable)
        if not recoverable:
            self._ending.provider_failed(getattr(error, "type", ""), label, _words(error))

    def _close(self, event: Any) -> None:
        error = event.error
        self._ending.closed(
            event.reason.value,
            error_type=getattr(error, "type", ""),
            provider=str(getattr(error, "label", "")),
            error=_words(error),
            tool=TOOL.get(),
        )

    # --- inside

    def _say(self, fact: Fact) -> None:
        if not self._closed:
            self._send(fact)

    def _checkpoint(self, memo: Memo) -> None:
        if not self._closed:
            self._send(Checkpoint(job_id=self._launch.job_id, memo=memo))

    def _memo(self) -> Memo | None:
        return self._recorder.memo() if self._recorder is not None else self._launch.memo

    def _unfollow(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        while self._undo:
            self._undo.pop()()


def _words(error: Any) -> str:
    cause = getattr(error, "error", None)
    return f"{type(cause).__name__}: {cause}" if cause is not None else ""
