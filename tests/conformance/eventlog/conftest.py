"""Every store passes these tests. A new one is added to ``STORES``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from greenroom.eventlog import EventLog

Opener: TypeAlias = Callable[..., Awaitable[EventLog]]


def sqlite(directory: Path) -> Opener:
    """A log in SQLite: the same one each time it is opened."""

    async def opened(**options: Any) -> EventLog:
        return await EventLog.open(directory / "log.db", **options)

    return opened


STORES = {"sqlite": sqlite}


@pytest.fixture(params=sorted(STORES))
async def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the test's log; what it opened is closed at the end, and verifies."""
    opener = STORES[request.param](tmp_path)
    async with contextlib.AsyncExitStack() as stack:

        async def opened(**options: Any) -> EventLog:
            return await stack.enter_async_context(await opener(**options))

        yield opened
    async with await opener() as log:
        assert (await log.verify()).problems == ()


@pytest.fixture
async def log(open_log: Opener) -> EventLog:
    """The test's log."""
    return await open_log()
