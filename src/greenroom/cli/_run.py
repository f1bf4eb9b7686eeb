"""What every serving command does alike: the event loop and the ready line."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run ``main`` on a uvloop event loop."""
    import uvloop  # noqa: PLC0415 - not for commands that only print

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def announce_ready(url: str) -> None:
    """Print the one line on stdout that programs wait for."""
    print(f"ready {url}", flush=True)
