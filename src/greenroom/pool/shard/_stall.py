"""Sees when the event loop does not turn, from a thread of its own, and whose code keeps it."""

from __future__ import annotations

import asyncio
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import greenroom
from greenroom.pool._wire import Stalled
from greenroom.pool.shard._upstream_loop import running

TICK: Final = 0.05
AGAIN: Final = 1.0
_FRAMES: Final = 20
#: Of a time in which nobody could see anything, so much must have been used by this process to be its own doing.
_BUSY: Final = 0.5
_OURS: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(greenroom.__file__).parent), "<frozen"}
)


class Where:
    """What the loop's thread runs at one moment.

    :ivar callback: tells one callback from the next.
    """

    def __init__(self, frame: FrameType | None, account: Any, number: int) -> None:
        self.session: str = account.session if account is not None else ""
        self.callback = (self.session, number)
        frames = []
        while frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
            frame = frame.f_back
        theirs = next((each for each in frames if not each[0].startswith(_OURS)), None)
        file, line, _ = theirs or (frames[0] if frames else ("", 0, ""))
        self.line = f"{file}:{line}" if file else ""
        newest_last = reversed(frames[:_FRAMES])
        self.stack = "\n".join(f'File "{file}", line {line}, in {name}' for file, line, name in newest_last)


class Lateness:
    """How late the loop is, judged from its own ticks and from the watcher's, which run on different threads.

    Both are late when the machine is short of time; that is nobody's stall.
    """

    def __init__(self, now: float) -> None:
        self._ticked = now
        self._looked = now
        self._used = 0.0
        self._missed = 0.0

    def ticked(self, now: float) -> float:
        """The loop turned; return how late."""
        late = max(0.0, now - self._ticked - TICK)
        self._ticked, self._missed = now, 0.0
        return late

    def looked(self, now: float, used: float) -> float:
        """The watcher looks; ``used`` is the CPU time of the process so far. Return for how long the loop stands."""
        asleep = now - self._looked - TICK
        if asleep > TICK and used - self._used < _BUSY * asleep:
            self._missed += asleep
        self._looked, self._used = now, used
        return max(0.0, now - self._ticked - TICK - self._missed)


class StallWatch:
    """Watches one loop.

    :param send: gets what is seen, on the watcher's thread.
    :param threshold: seconds.
    :param on_tick: called on the loop at each tick.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Stalled], None],
        threshold: float,
        on_tick: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._send = send
        self._threshold = threshold
        self._on_tick = on_tick
        self._lateness = Lateness(time.monotonic())
        self._lags: list[float] = []
        self._turned = 0
        self._latest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; on the loop's thread."""
        self._loop_thread = threading.get_ident()
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        """End. Waits for the thread."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def lags(self) -> tuple[float, ...]:
        """Return how late the loop was at each tick since the last call, in seconds."""
        lags, self._lags = self._lags, []
        return tuple(lags)

    def _tick(self) -> None:
        late = self._lateness.ticked(time.monotonic())
        self._lags.append(late)
        self._latest = max(self._latest, late)
        self._turned += 1
        self._timer = self._loop.call_later(TICK, self._tick)
        self._on_tick()

    def _watch(self) -> None:
        told: _Told | None = None
        suspect: tuple[int, tuple[str, int]] | None = None
        while not self._stop.wait(TICK):
            turned = self._turned
            late = self._lateness.looked(time.monotonic(), time.process_time())
            if told is not None and turned != told.turned:
                self._send(told.over(self._latest))
                told = None
            if late < self._threshold / 2:
                self._latest = 0.0
                continue
            where = Where(*running(self._loop_thread))
            before, suspect = suspect, (turned, where.callback)
            if before is None or before[0] != turned:
                # Whose doing it is shows at the second look: whether it is the same callback still.
                continue
            if late >= self._threshold and turned == self._turned and (told is None or told.again(late)):
                told = _Told(turned, late, where, where.session if before == suspect else "")
                self._send(told.message())


class _Told:
    def __init__(self, turned: int, late: float, where: Where, session: str) -> None:
        self.turned = turned
        self._late = late
        self._where = where
        self._session = session

    def again(self, late: float) -> bool:
        return late - self._late >= AGAIN

    def message(self) -> Stalled:
        return Stalled(seconds=self._late, line=self._where.line, stack=self._where.stack, job_id=self._session)

    def over(self, seconds: float) -> Stalled:
        return Stalled(seconds=max(self._late, seconds), line=self._where.line, job_id=self._session, over=True)
