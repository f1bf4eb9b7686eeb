"""Runs a pool as a program: signals drain it and stop it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from greenroom.errors import GreenroomError
from greenroom.pool._settings import PoolSettings
from greenroom.pool.supervisor._output import Output
from greenroom.pool.supervisor._pool import Pool

_log = logging.getLogger("greenroom.pool")

_REREAD_EVERY: Final = 1.0


async def run_pool(
    settings: PoolSettings,
    on_ready: Callable[[str], None],
    *,
    on_output: Callable[[Output], None] | None = None,
    cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
    discover: Callable[[], Sequence[Path]] | None = None,
    reread: Callable[[], PoolSettings | None] | None = None,
) -> int:
    """Run until told to stop, and return the exit status.

    The first SIGTERM or SIGINT drains, the second stops; in development SIGINT stops at once.

    :param on_ready: called with the URL of the pool's HTTP port once calls can come in.
    :param reread: asked now and then, returns other settings when somebody has saved some; blocking.
    :raises GreenroomError: for what a person has to mend.
    """
    pool = Pool(settings, on_output=on_output, cost_of=cost_of, discover=discover)
    retold: asyncio.Task[None] | None = None
    with _signals(dev=settings.dev) as (drain, stop):
        try:
            if await _unless(stop, drain, pool.start()):
                on_ready(pool.url)
                retold = asyncio.create_task(_keep_told(pool, reread)) if reread is not None else None
                await _first(drain.wait(), stop.wait(), pool.drained())
                if not stop.is_set():
                    await _unless(stop, None, pool.drain())
        finally:
            if retold is not None:
                retold.cancel()
            await pool.stop()
    return 0


async def _keep_told(pool: Pool, reread: Callable[[], PoolSettings | None]) -> None:
    """Tell a pool what is saved while it runs. What is broken changes nothing."""
    while True:
        await asyncio.sleep(_REREAD_EVERY)
        try:
            told = await asyncio.to_thread(reread)
            waiting = pool.apply(told) if told is not None else None
        except GreenroomError as error:
            _log.warning("settings unchanged: what was saved is broken", extra={"problem": str(error)})
            continue
        except Exception:
            _log.exception("settings unchanged: what was saved could not be taken")
            continue
        if waiting is not None:
            _log.info("other settings hold", extra={"from_the_next_start": list(waiting)})


@contextlib.contextmanager
def _signals(*, dev: bool) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Turn signals into the wish to drain, and then to stop."""
    loop = asyncio.get_running_loop()
    drain, stop = asyncio.Event(), asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if drain.is_set() or (dev and number is signal.SIGINT):
            stop.set()
        drain.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield drain, stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _unless(stop: asyncio.Event, drain: asyncio.Event | None, work: Any) -> bool:
    """Do something unless told to stop meanwhile; return whether it was done."""
    task = asyncio.ensure_future(work)
    waits = [asyncio.ensure_future(event.wait()) for event in (stop, drain) if event is not None]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        for each in (task, *waits):
            each.cancel()
        await asyncio.gather(task, *waits, return_exceptions=True)


async def _first(*works: Any) -> None:
    """Wait for the first of several."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
