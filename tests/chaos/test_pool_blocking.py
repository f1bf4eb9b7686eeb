"""One call blocks its shard: that is told with the line, others notice nothing, and what lasts is ended and rescued."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from greenroom.pool.settings import WatchdogSettings
from support.pool_chaos import LONG, SLOWNESS, Chaos, Person, all_of, chaos_stage, desk, gap, remembered, said, told_of

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

CALLS = 16 if LONG else 6
BLOCKED = 3.0
#: A call elsewhere may be this late while another shard stands, on a machine of its own.
LAG = 0.02


def line_that_blocks(program: Path) -> str:
    """Return ``file:line`` of the sleep."""
    lines = program.read_text().splitlines()
    return f"{program}:{next(n for n, line in enumerate(lines, 1) if 'the line that blocks' in line)}"


def shared_with(stage: Chaos, people: list[Person], who: Person) -> tuple[list[Person], list[Person]]:
    """Return who is in somebody's shard beside them, and who is elsewhere."""
    mine = stage.shard_of(who)
    beside = [person for person in people if person is not who and stage.shard_of(person) == mine]
    return beside, [person for person in people if stage.shard_of(person) != mine]


def blocked_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the pool told of blocked loops."""
    return [record for record in caplog.records if record.getMessage() == "a shard's event loop is blocked"]


async def test_a_block_is_told_with_its_line_and_other_shards_do_not_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = desk(tmp_path / "desk.py")
    async with chaos_stage(program, shards=2) as stage:
        people = await stage.crowd(CALLS)
        culprit = people[0]
        beside, elsewhere = shared_with(stage, people, culprit)
        assert beside
        assert elsewhere
        await all_of(person.ask("lag") for person in people)
        (number,) = {stage.shard_of(person) for person in elsewhere}
        caplog.clear()
        await culprit.ask("do", f"block {BLOCKED}")
        await stage.until(lambda now: any(shard.where for shard in now.shards))
        # While the one stands the other answers.
        answers = await all_of(person.ask("ping", within=BLOCKED) for person in elsewhere)
        assert {answer["pid"] for answer in answers} == {stage.pid_of(number)}
        assert any(shard.where for shard in stage.pool.snapshot().shards), "it had ended by then"
        await stage.until(lambda now: not any(shard.where for shard in now.shards))
        theirs = max(await all_of(person.ask("lag") for person in elsewhere))
        ours = max(await all_of(person.ask("lag") for person in beside))
        print(f"worst lag while a call blocked for {BLOCKED} s: beside it {ours:.3f} s, elsewhere {theirs:.3f} s")
        assert ours > BLOCKED * 0.9
        assert theirs < max(LAG * SLOWNESS, BLOCKED / 4)
        records = blocked_records(caplog)
        assert {vars(record)["where"] for record in records} == {line_that_blocks(program)}
        assert all("in told" in vars(record)["stack"] for record in records)
        assert vars(records[-1])["job_id"] == stage.job(culprit.room).id
        assert vars(records[0])["seconds"] < 1.0
        assert stage.pool.snapshot().rescued == 0
        assert all(person.there() for person in people)


async def test_a_shard_that_stands_for_too_long_is_killed_and_its_other_calls_are_rescued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = desk(tmp_path / "desk.py")
    watchdog = WatchdogSettings(stall=0.2, unfed=1.0, kill=4.0)
    async with chaos_stage(program, shards=2, watchdog=watchdog) as stage:
        people = await stage.crowd(CALLS)
        culprit = people[0]
        beside, elsewhere = shared_with(stage, people, culprit)
        pid, number = stage.pid_of(stage.shard_of(culprit)), stage.shard_of(culprit)
        await all_of(person.ask("say", "remember this", within=30.0) for person in beside)
        before = await all_of(person.ask("history") for person in beside)
        await remembered()
        caplog.clear()
        await culprit.ask("do", "block 3600")
        stalled = await stage.until(
            lambda now: next((s for s in now.shards if s.number == number and s.state == "stalled"), None)
        )
        assert stalled.pid == pid
        # A call that comes now is placed where it can run.
        newcomer = await stage.served_person("newcomer")
        assert stage.shard_of(newcomer) != number
        gone = await stage.until(lambda now: now.shards_lost == 1 and now)
        assert gone.rescued == len(beside) + 1
        killed = next(record for record in caplog.records if record.getMessage() == "a process of the pool has ended")
        since = time.monotonic() - (time.time() - killed.created)
        gaps = await all_of(gap(person, since, pid) for person in [*beside, culprit])
        print(f"{len(gaps)} calls of a killed shard: {told_of(gaps)} after it was killed")
        after = await all_of(person.ask("history") for person in beside)
        assert [said(history) for history in after] == [said(history) for history in before]
        assert "its loop did not turn" in vars(killed)["why"]
        # Whoever blocked it is not put together with others again.
        mine = stage.shard_of(culprit)
        assert [each.room for each in stage.pool.snapshot().sessions if each.shard == mine] == [culprit.room]
        assert line_that_blocks(program) in {vars(record)["where"] for record in blocked_records(caplog)}
        assert {each.rescues for each in stage.pool.snapshot().sessions if each.room in _rooms(elsewhere)} == {0}
        assert all(person.there() for person in people)


def _rooms(people: list[Person]) -> set[str]:
    return {person.room for person in people}
