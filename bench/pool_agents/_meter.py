"""What an executor is like from inside: how late its loop turns, how late audio comes, how long the collector holds it.

Every process of every executor has the same meter. It says what it saw once a second, by UDP, to whom
``BENCH_REPORT`` names. The loop is only watched closely while the file that ``BENCH_WATCH`` names exists: a task that
wakes up a hundred times a second costs something, and it would cost most where there is a process for each call.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import time
import weakref
from contextvars import Context
from pathlib import Path
from typing import Any

TICK = 0.01
#: Whoever delivers audio may take a moment to find its pace.
SETTLING = 2.0
#: The earliest frame of so many is the one that came in time.
WINDOW = 100
#: Pauses of the collector that are worth telling, in seconds.
PAUSE = 0.001

_HOST, _, _PORT = os.environ.get("BENCH_REPORT", "127.0.0.1:9").partition(":")
_is_watched = Path(os.environ.get("BENCH_WATCH", "/nonexistent")).exists
_outlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def tell(kind: str, **fields: Any) -> None:
    """Say something to the bench; nobody need listen."""
    fields |= {"kind": kind, "pid": os.getpid(), "at": time.monotonic()}
    try:
        _outlet.sendto(json.dumps(fields).encode(), (_HOST, int(_PORT)))
    except OSError:
        return


class Meter:
    """One loop of one process."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._late: list[float] = []
        self._pauses: list[float] = []
        self._collecting = 0.0
        gc.callbacks.append(self._collector)
        # Not a task of the call that happens to be first: it would end with that.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def frame(self, late: float) -> None:
        """Note by how many seconds a frame of audio came too late."""
        self._late.append(late)

    async def _run(self) -> None:
        while True:
            if _is_watched():
                await self._watch(1.0)
            else:
                await asyncio.sleep(1.0)
            seen = {"lags": self._lags, "late": self._late, "pauses": self._pauses}
            tell("second", **{name: [round(value * 1e5) for value in values] for name, values in seen.items()})
            self._lags, self._late, self._pauses = [], [], []

    async def _watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            await asyncio.sleep(TICK)
            self._lags.append(time.monotonic() - now - TICK)

    def _collector(self, phase: str, _info: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "start":
            self._collecting = now
        elif now - self._collecting > PAUSE:
            self._pauses.append(now - self._collecting)


class Punctual:
    """How late each frame of one stream of audio is, against the earliest of the last ones."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._due = 0.0
        self._began: float | None = None
        self._earliest: list[float] = []

    def frame(self, duration: float) -> None:
        """A frame has come now."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self._due += duration
        ahead = now - self._due
        self._earliest.append(ahead)
        del self._earliest[:-WINDOW]
        if now - self._began > SETTLING:
            self._meter.frame(ahead - min(self._earliest))


_meters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Meter] = weakref.WeakKeyDictionary()


def meter() -> Meter:
    """Return the meter of this loop, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    found = _meters.get(loop)
    if found is None:
        found = _meters[loop] = Meter()
    return found
