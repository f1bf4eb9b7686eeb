"""The event loop of a forked process: made, and let go of."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

_PATIENCE: Final = 2.0


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's where it is installed, unless ``OPENRTC_UVLOOP=0``."""
    if os.environ.get("OPENRTC_UVLOOP", "") not in {"0", "false", "no"}:
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415 - not installed everywhere

            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


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
