"""What every serving command does alike: the log, the event loop and the ready line."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from greenroom.cli._configuration import Configuration
from greenroom.cli._logs import configure_logging
from greenroom.cli._schema import LogSection

_Result = TypeVar("_Result")


def begin_log(said: Configuration) -> None:
    """Write the log as the configuration says."""
    section = said.section("log", LogSection)
    configure_logging(level=section.level, form=section.format)


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run ``main`` on a uvloop event loop."""
    import uvloop  # noqa: PLC0415 - not for commands that only print

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def announce_ready(url: str) -> None:
    """Print the one line on stdout that programs wait for."""
    print(f"ready {url}", flush=True)
