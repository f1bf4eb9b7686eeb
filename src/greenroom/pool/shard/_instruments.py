"""What a shard knows of itself and of the sessions that it runs, told to the supervisor as it happens."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from livekit.protocol import agent as agent_protocol

from greenroom.pool._model import EndKind
from greenroom.pool._wire import Beat, Checkpoint, Ended, Fact, Launch, ShardSettings, Stalled
from greenroom.pool.context import PROVIDERS, SCOPE, Scope

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents.voice import Agent, AgentSession

Told: TypeAlias = Beat | Checkpoint | Ended | Fact | Stalled
#: Sends a message to the supervisor. Called from any thread; must not wait for the event loop.
Send: TypeAlias = Callable[[Told], None]


class Instruments:
    """The instruments of one shard. Made, started and stopped on its event loop.

    :param send: called from the loop's thread and from the one that watches it, whatever state the loop is in. It
        writes or queues, and returns at once.
    """

    def __init__(self, send: Send, settings: ShardSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._settings = settings
        self._loop = loop
        self._sessions: dict[str, SessionInstruments] = {}

    def start(self) -> None:
        """Begin to watch the loop, and put the policies of the settings into force."""

    def stop(self) -> None:
        """Take back what :meth:`start` did."""

    def beat(self) -> Beat:
        """Return a sign of life with what was measured since the last one. Sending it is the caller's."""
        return Beat()

    def begin(self, launch: Launch) -> SessionInstruments:
        """Return the instruments of a session that is about to run."""
        session = SessionInstruments(self._send, launch)
        self._sessions[launch.job_id] = session
        return session


class SessionInstruments:
    """The instruments of one session, from before its entrypoint until everything of it is closed.

    :ivar context: for every task of the session: ``loop.create_task(..., context=context)``.
    """

    context: contextvars.Context

    def __init__(self, send: Send, launch: Launch) -> None:
        job = agent_protocol.Job.FromString(launch.job)
        self._send = send
        self._launch = launch
        self.context = contextvars.copy_context()
        self.context.run(
            SCOPE.set,
            Scope(
                session=launch.job_id,
                agent=launch.agent,
                tenant=launch.tenant,
                room=job.room.name,
                environment=launch.environment,
                resumed=launch.memo is not None,
            ),
        )
        self.context.run(PROVIDERS.set, launch.providers)
        self._ended: Ended | None = None

    def on_room(self, room: rtc.Room) -> None:
        """Follow the room of the job, made and not yet connected. On the loop, once."""

    async def on_session(self, session: AgentSession[Any], agent: Agent) -> None:
        """Follow the job's primary session, restoring what it knew elsewhere. Await it just before its start."""

    def entry_failed(self, problem: BaseException) -> None:
        """Tell that the entrypoint, or what stands before it, raised."""

    def asked_to_end(self, kind: EndKind, reason: str) -> None:
        """Tell that the session is about to be ended from outside, and of what."""

    def shutdown(self, reason: str, user_initiated: bool) -> None:
        """Tell with which words the job began to shut down."""

    async def quiet(self, patience: float) -> bool:
        """Wait until nobody speaks and nothing is generated; return whether that came within ``patience`` seconds."""
        del patience
        return True

    def conclude(self) -> Ended:
        """Return how the session ended; the same each time."""
        if self._ended is None:
            self._ended = Ended(job_id=self._launch.job_id, kind=EndKind.USER)
        return self._ended

    def close(self) -> None:
        """Let go of everything that is held for the session; nothing is told of it any more."""
