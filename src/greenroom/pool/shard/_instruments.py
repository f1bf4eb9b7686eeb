"""What a shard knows of itself and of the sessions that it runs, told to the supervisor as it happens."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from greenroom.pool._wire import Beat, Checkpoint, Ended, Fact, Launch, ShardSettings, Stalled
from greenroom.pool.shard import _ffi, _upstream_session, _upstream_vad
from greenroom.pool.shard._followed import SessionInstruments
from greenroom.pool.shard._gc import Collections, GcPolicy
from greenroom.pool.shard._memory import proportional_and_unique
from greenroom.pool.shard._scope import OUTPUT, on_loop_error
from greenroom.pool.shard._spans import install_spans
from greenroom.pool.shard._spent import Meter, ScopedExecutor
from greenroom.pool.shard._stall import StallWatch

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Instruments", "Send", "SessionInstruments", "Told"]

Told: TypeAlias = Beat | Checkpoint | Ended | Fact | Stalled
#: Sends a message to the supervisor. Called from any thread; must not wait for the event loop.
Send: TypeAlias = Callable[[Told], None]
#: PSS and USS are read once in so many beats.
_WEIGHED: Final = 20


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
        self._meter = Meter(settings.window)
        self._collections = Collections()
        self._policy = GcPolicy(loop, lambda: len(self._sessions))
        self._watch = StallWatch(loop, send, settings.stall, self._meter.tick)
        self._executor = ScopedExecutor(self._meter)
        self._unroute: Callable[[], None] | None = None
        self._threaded_vad: Callable[[], None] | None = None
        self._beats = 0
        self._weighing: Future[tuple[int, int] | None] | None = None
        self._weight: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin to watch the loop, and put the policies of the settings into force."""
        install_spans()
        _upstream_session.install()
        # The supervisor asks for this when the loop's thread keeps every other from running.
        faulthandler.register(signal.SIGUSR1, file=OUTPUT, all_threads=True)
        if not faulthandler.is_enabled():
            faulthandler.enable(file=OUTPUT)
        self._loop.set_exception_handler(on_loop_error)
        self._loop.set_default_executor(self._executor)
        self._meter.install(self._loop)
        self._collections.install()
        if self._settings.ffi_routing:
            self._unroute = _ffi.route()
        if self._settings.gc_policy:
            self._policy.start()
        if self._settings.inline_vad:
            self._threaded_vad = _upstream_vad.install()
        self._watch.start()

    def stop(self) -> None:
        """Take back what :meth:`start` did."""
        self._watch.stop()
        self._loop.set_exception_handler(None)
        self._meter.stop()
        self._policy.stop()
        self._collections.uninstall()
        if self._unroute is not None:
            self._unroute()
        if self._threaded_vad is not None:
            self._threaded_vad()
        self._executor.shutdown(wait=False, cancel_futures=True)
        faulthandler.unregister(signal.SIGUSR1)

    def beat(self) -> Beat:
        """Return a sign of life with what was measured since the last one. Sending it is the caller's."""
        cpu, sessions = self._meter.beat()
        lags = self._watch.lags()
        pss, uss = self._weigh() or (None, None)
        return Beat(
            lag=max(lags, default=0.0),
            lags=lags,
            rss=self._meter.resident(),
            pss=pss,
            uss=uss,
            cpu=cpu,
            collected=self._collections.worst(),
            sessions=sessions,
        )

    def begin(self, launch: Launch) -> SessionInstruments:
        """Return the instruments of a session that is about to run."""
        session = SessionInstruments(launch, self._send, self._ended)
        self._meter.open(session.scope)
        self._sessions[launch.job_id] = session
        return session

    def _ended(self, session: SessionInstruments) -> None:
        self._meter.close(session.scope)
        if self._sessions.pop(session.scope.session, None) is not None:
            self._policy.session_ended()

    def _weigh(self) -> tuple[int, int] | None:
        if self._weighing is not None and self._weighing.done():
            self._weight, self._weighing = self._weighing.result(), None
        if self._weighing is None and self._beats % _WEIGHED == 0:
            self._weighing = self._executor.submit(proportional_and_unique)
        self._beats += 1
        return self._weight
