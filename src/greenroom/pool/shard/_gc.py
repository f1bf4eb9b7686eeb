"""When garbage is collected: rarely while people talk, thoroughly when nobody would notice."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from contextvars import Context, Token
from typing import Any, Final

from greenroom.pool.context import SCOPE, Scope

THRESHOLDS: Final = (20_000, 50, 100)
#: A full collection that is expected to take longer, in seconds, waits until there are fewer sessions,
BUDGET: Final = 0.008
#: or until so many more of them have ended.
PATIENCE: Final = 32


class Collections:
    """Tells how long collections take, and keeps what they finalize from being taken for a session's own doing."""

    def __init__(self) -> None:
        self._started = 0.0
        self._worst = 0.0
        self._token: Token[Scope | None] | None = None

    def install(self) -> None:
        """Begin to listen."""
        gc.callbacks.append(self._heard)

    def uninstall(self) -> None:
        """Listen no longer."""
        if self._heard in gc.callbacks:
            gc.callbacks.remove(self._heard)

    def worst(self) -> float:
        """Return the longest pause since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _heard(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = time.perf_counter()
            self._token = SCOPE.set(None)
            return
        self._worst = max(self._worst, time.perf_counter() - self._started)
        token, self._token = self._token, None
        if token is not None:
            SCOPE.reset(token)


class GcPolicy:
    """Keeps long collections out of calls.

    What was loaded is set aside, so that a full collection looks at what sessions made and at nothing else. It runs
    when a call has ended. Where even that takes too long it waits until no call is left, though not for ever: what
    ended calls leave behind is memory.

    :param sessions: how many there are now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sessions: Callable[[], int]) -> None:
        self._loop = loop
        self._sessions = sessions
        self._before: tuple[int, int, int] | None = None
        self._due = False
        self._per_session = 0.0
        self._postponed = 0

    def start(self) -> None:
        """Set aside what was loaded, and collect rarely from now on."""
        self._before = gc.get_threshold()
        self._collect()
        gc.freeze()
        self._per_session = 0.0
        gc.set_threshold(*THRESHOLDS)

    def stop(self) -> None:
        """Collect as before. What was set aside stays so: at a process's end nothing is won by looking at it."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            self._before = None

    def session_ended(self) -> None:
        """Collect what a session left, as soon as its last callbacks are through."""
        if self._before is not None and not self._due:
            self._due = True
            self._loop.call_soon(self._run, context=Context())

    def _run(self) -> None:
        self._due = False
        if self._sessions() * self._per_session <= BUDGET or self._postponed >= PATIENCE:
            self._collect()
        else:
            self._postponed += 1
            gc.collect(1)

    def _collect(self) -> None:
        started = time.perf_counter()
        gc.collect()
        if sessions := self._sessions():
            self._per_session = (time.perf_counter() - started) / sessions
        self._postponed = 0
