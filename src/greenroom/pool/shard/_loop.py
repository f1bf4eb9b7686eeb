"""The event loop of a forked process: made, and let go of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
from typing import Any, Final

logger = logging.getLogger("greenroom.pool")

_PATIENCE: Final = 2.0


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's where it is installed, unless ``OPENRTC_UVLOOP=0``."""
    if os.environ.get("OPENRTC_UVLOOP", "") not in {"0", "false", "no"}:
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415 - not installed everywhere

            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def run_through(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end, whoever wants to end the process: ``sys.exit()`` in one session is not for all.

    A task that raises ``SystemExit`` stops its loop, with whatever else runs on it.
    """
    task = loop.create_task(work)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            logger.error("a session's code tried to end the process", extra={"problem": repr(error)})


def finish(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of a loop as ``asyncio.run`` does, but without waiting for ever."""
    try:
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_PATIENCE))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
