"""A shard dies with calls in it: each goes on elsewhere with what was said, and the others notice nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from support.pool_chaos import LONG, SLOWNESS, Person, all_of, chaos_stage, desk, gap, kill, remembered, said, told_of

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

CALLS = 32 if LONG else 8
#: What is promised: nobody waits longer for the agent to be back.
RESCUED_WITHIN = 2.0


async def talks(person: Person) -> list[object]:
    """Say something twice; return what the agent remembers."""
    for words in ("I am called " + person.room, "my number is 1234"):
        await person.ask("say", words, within=30.0)
    return said(await person.ask("history"))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_the_calls_of_a_shard_that_dies_go_on_elsewhere_with_what_was_said(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with chaos_stage(desk(tmp_path / "desk.py"), shards=2, max_sessions=100) as stage:
        people = await stage.crowd(2 * CALLS)
        before = await all_of(talks(person) for person in people)
        assert all(len(history) == 4 for history in before)
        victim = stage.shard_of(people[0])
        pid = stage.pid_of(victim)
        hit = [person for person in people if stage.shard_of(person) == victim]
        spared = [person for person in people if person not in hit]
        assert hit
        assert spared
        pids = {person.room: (await person.ask("ping"))["pid"] for person in spared}
        await remembered()
        for person in spared:
            person.caller.log.clear()
        at = kill(pid, number)
        gaps = await all_of(gap(person, at, pid) for person in hit)
        print(f"{signal.Signals(number).name}: {len(hit)} calls hit, {told_of(gaps)}")
        assert max(gaps) < RESCUED_WITHIN * SLOWNESS
        after = await all_of(person.ask("history") for person in people)
        assert [said(history) for history in after] == before
        assert all(person.there() for person in people)
        for person in spared:
            assert (await person.ask("ping"))["pid"] == pids[person.room]
            assert not person.caller.seen("participant_disconnected")
        now = stage.pool.snapshot()
        assert now.rescued == len(hit)
        assert now.shards_lost == 1
        assert len(now.sessions) == len(people)
        assert {each.rescues for each in now.sessions if each.room in {person.room for person in hit}} == {1}
        # They go on as before: what is said now comes after what was said then.
        await all_of(person.ask("say", "are you there?", within=30.0) for person in hit)
        for person, history in zip(hit, [said(await person.ask("history")) for person in hit], strict=True):
            assert history[:4] == before[people.index(person)]
            assert len(history) == 6


async def test_a_call_that_kills_its_shard_each_time_is_given_up_and_the_others_survive(tmp_path: Path) -> None:
    async with chaos_stage(desk(tmp_path / "desk.py"), shards=1) as stage:
        people = await stage.crowd(3)
        await stage.comes("deadly", metadata=json.dumps({"do": "crash"}))
        await stage.until(lambda now: now.ended.get("killed") == 1)
        now = await stage.until(lambda now: len(now.sessions) == len(people) and now)
        print(f"rescued {now.rescued}, shards lost {now.shards_lost}")
        assert {each.room for each in now.sessions} == {person.room for person in people}
        await all_of(person.reaches() for person in people)
        # The first death takes all; with the second the call is alone, and nobody shares the third.
        assert all(each.rescues <= 2 for each in now.sessions)
        assert all(person.there() for person in people)
        assert await stage.served_person("after")
