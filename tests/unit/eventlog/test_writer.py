"""The writer's thread: what it does with a store that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from greenroom.eventlog import Appended, Blobs, EventLog, EventLogError, LogFullError, _log
from greenroom.eventlog._chain import Append
from greenroom.eventlog._sqlite import SqliteStore
from support.logs import said

pytestmark = pytest.mark.unit


class Failing(SqliteStore):
    """Fails with ``error`` whenever a batch holds the key ``poison``."""

    error: Exception

    def commit(self, appends: Sequence[Append], **options: Any) -> Any:
        if any(found.key == "poison" for append in appends for found in append.events):
            raise self.error
        return super().commit(appends, **options)


async def appended(path: Path, error: Exception) -> list[object]:
    store = Failing(path / "log.db")
    store.error = error
    async with EventLog(store, Blobs(path / "blobs")) as log:
        keys = ["", "", "poison", "", ""]
        tried = (log.append(f"session:{n}", [said(key=key)]) for n, key in enumerate(keys))
        results = await asyncio.gather(*tried, return_exceptions=True)
        assert (await log.append("session:after", [said()])).first_seq == 1
        assert (await log.verify()).ok
        return list(results)


async def test_what_one_append_breaks_costs_no_other(tmp_path: Path) -> None:
    results = await appended(tmp_path, RuntimeError("a defect"))
    assert [isinstance(result, Appended) for result in results] == [True, True, False, True, True]
    assert isinstance(results[2], EventLogError)
    assert "RuntimeError" in results[2].message


async def test_what_befalls_the_store_befalls_all_that_wait(tmp_path: Path) -> None:
    results = await appended(tmp_path, LogFullError("full"))
    assert isinstance(results[2], LogFullError)
    assert all(isinstance(result, Appended | LogFullError) for result in results)


async def test_producers_wait_when_too_much_is_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "_MOST_WAITING", 500)
    async with await EventLog.open(tmp_path / "log.db") as log:
        appends = [asyncio.ensure_future(log.append("session:a", [said("x" * 200)])) for _ in range(50)]
        await asyncio.sleep(0)
        assert log._waiting_bytes < 1000
        assert sorted(done.last_seq for done in await asyncio.gather(*appends)) == list(range(1, 51))
        assert log._waiting_bytes == 0
