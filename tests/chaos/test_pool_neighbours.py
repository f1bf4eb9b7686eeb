"""Many calls of one tenant fail in every way: healthy calls beside them notice nothing, and nobody else is refused."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from greenroom.pool.settings import BreakerSettings
from support.pool_chaos import LONG, Chaos, Person, all_of, chaos_stage, desk, said

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

HEALTHY = 12 if LONG else 4
FAILING = 200 if LONG else 8
AT_ONCE = 4
ORDINARY = 50
#: LiveKit's Rust SDK says so when a room is closed by the server, on stock as well.
_SDKS_OWN = "dropping pass-through signal"


async def hold_on(person: Person) -> list[object]:
    """Say something; return what the agent remembers."""
    await person.ask("say", "still here", within=30.0)
    return said(await person.ask("history"))


async def calls(stage: Chaos, room: str, tenant: str, *words: str, raises: bool = False) -> None:
    """Call as a tenant, say something, and hang up unless the call has ended by itself."""
    metadata = json.dumps({"tenant": tenant, **({"do": "raise"} if raises else {})})
    if raises:
        stage.dispatch(room, "desk", metadata=metadata)
        await stage.served(lambda: any(job.state.ended_at for job in stage.jobs(room, "desk")))
        await stage.server.rooms.delete(room)
        return
    person = await stage.served_person(room, metadata=metadata)
    for each in words:
        # Whoever is cut off in the middle of an answer gets none.
        await person.tells(each)
    await stage.leaves(person)


async def test_calls_that_fail_take_no_healthy_call_with_them_and_break_only_their_own_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = tmp_path / "outage"
    monkeypatch.setenv("OUTAGE", str(outage))
    breaker = BreakerSettings(samples=5, cooldown=5.0)
    async with chaos_stage(desk(tmp_path / "desk.py"), shards=1, breaker=breaker, max_sessions=500) as stage:
        healthy = await stage.crowd(HEALTHY, "healthy")
        answers = [await person.ask("ping") for person in healthy]
        for first in range(0, FAILING, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            await all_of(calls(stage, f"setup-{n}", "bad", raises=True) for n in numbers)
            await all_of(calls(stage, f"tool-{n}", "bad", "use the tool") for n in numbers)
        assert stage.pool.snapshot().breakers == {}, "neither is a provider's fault"
        outage.touch()
        number = 0
        while not stage.pool.snapshot().breakers:
            await calls(stage, f"provider-{number}", "bad", "needs the model")
            number += 1
            assert number < 20
        (broken,) = stage.pool.snapshot().breakers
        assert broken.startswith("bad/")
        print(f"{HEALTHY} healthy calls beside {2 * FAILING + number} that failed; broken: {broken}")
        # The tenant is refused, others are not, not even with the same provider.
        stage.dispatch("refused", "desk", metadata=json.dumps({"tenant": "bad"}))
        await stage.until(lambda now: now.refused.get("breaker"))
        await calls(stage, "good", "good", "hello")
        outage.unlink()
        # After the fix the next call shows that it works again.
        await stage.server.rooms.delete("refused")
        await stage.until(lambda now: now.breakers[broken] == "half_open")
        await calls(stage, "probe", "bad", "needs the model")
        await stage.until(lambda now: not now.breakers)
        await calls(stage, "well", "bad", "needs the model")
        # Nobody of the healthy was lost, moved or forgotten.
        histories = await all_of(hold_on(person) for person in healthy)
        assert {len(history) for history in histories} == {2}
        assert [await person.ask("ping") for person in healthy] == answers
        assert all(person.there() for person in healthy)
        now = stage.pool.snapshot()
        assert (now.shards_lost, now.rescued) == (0, 0)
        assert now.ended["setup"] == FAILING
        assert {each.room for each in now.sessions} == {person.room for person in healthy}


async def test_fifty_ordinary_calls_are_nothing_to_warn_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with chaos_stage(desk(tmp_path / "desk.py"), shards=2) as stage:
        caplog.clear()
        for first in range(0, ORDINARY, 5):
            await all_of(calls(stage, f"room-{n}", "acme", "hello", "goodbye") for n in range(first, first + 5))
        now = stage.pool.snapshot()
        assert now.ended == {"user": ORDINARY}
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING and _is_the_pools(record)]
    assert [record.getMessage() for record in warned if not _starved(record.getMessage())] == []
    loud = [line.text for line in stage.output if line.record is None or line.record["level"] not in {"DEBUG", "INFO"}]
    assert [text for text in loud if not _starved(text) and _SDKS_OWN not in text] == []


def _is_the_pools(record: logging.LogRecord) -> bool:
    # The callers' own SDK runs in this process, too.
    return record.name.startswith("greenroom")


def _starved(text: str) -> bool:
    # On a machine that has more to do than it can, loops are late through nobody's fault.
    return "event loop" in text and os.getloadavg()[0] > (os.cpu_count() or 1)
