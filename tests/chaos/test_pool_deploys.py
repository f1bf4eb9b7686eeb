"""The code is replaced again and again while calls come and go: each ends because its caller hangs up."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from support.pool_chaos import DESK, LONG, Chaos, Person, chaos_stage
from support.pool_supervised import settings_of
from support.program import greenroom

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

DEPLOYS = 500 if LONG else 20
CALLERS = 12 if LONG else 5
SEED = int(os.environ.get("GREENROOM_SEED", "5"))


class Code:
    """A directory with the agent's file and a module that it takes its version from, saved in every way."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        path.mkdir()
        self.version = 0
        self._agent = path / "desk.py"
        self._helper = path / "edition.py"
        self._extra = path / "extra.py"
        self._dice = dice
        self._helper.write_text(self._edition())
        self._agent.write_text(self._source())

    def save(self) -> str:
        """Save another version somehow; return how."""
        self.version += 1
        how = self._dice.choice([self._in_place, self._over, self._again, self._aside, self._broken_first, self._more])
        file, text = self._dice.choice([(self._agent, self._source()), (self._helper, self._edition())])
        # Whichever file is saved, the version is told by the helper.
        if file is self._agent:
            self._helper.write_text(self._edition())
        how(file, text)
        return f"{how.__name__.strip('_')} {file.name}"

    def _source(self) -> str:
        # The version is in the text itself, so that each save is another.
        source = DESK.format(version="").replace('VERSION = ""', "from edition import VERSION")
        return f"# {self.version}\n{source}"

    def _edition(self) -> str:
        return f'VERSION = "{self.version}"\n'

    def _in_place(self, file: Path, text: str) -> None:
        file.write_text(text)

    def _over(self, file: Path, text: str) -> None:
        beside = file.with_suffix(".tmp")
        beside.write_text(text)
        beside.replace(file)

    def _again(self, file: Path, text: str) -> None:
        file.unlink()
        file.write_text(text)

    def _aside(self, file: Path, text: str) -> None:
        # As editors do that keep a backup: the old file is renamed, a new one written.
        backup = file.with_name(file.name + "~")
        file.rename(backup)
        file.write_text(text)
        backup.unlink()

    def _broken_first(self, file: Path, text: str) -> None:
        file.write_text(text + "\ndef (")
        file.write_text(text)

    def _more(self, file: Path, text: str) -> None:
        if self._extra.exists():
            self._extra.unlink()
        else:
            self._extra.write_text(DESK.format(version="extra").replace('agent_name="desk"', 'agent_name="extra"'))
        file.write_text(text)


class Callers:
    """People who call, ask all along whether the agent is there, and hang up when they like."""

    def __init__(self, stage: Chaos, dice: random.Random) -> None:
        self._stage = stage
        self._dice = dice
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()
        self.answers = 0
        self.ended = 0
        self.versions: Counter[str] = Counter()

    def start(self) -> None:
        """Let them begin."""
        self._tasks = [asyncio.create_task(self._calls(number)) for number in range(CALLERS)]

    async def stop(self) -> None:
        """Let each finish the call that it is in; fails when one of them was cut off."""
        self._leaving.set()
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Fail at once when somebody was cut off."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _calls(self, number: int) -> None:
        turn = 0
        while not self._leaving.is_set():
            turn += 1
            person = await self._stage.served_person(f"caller-{number}-{turn}")
            for _ in range(self._dice.randrange(3, 40)):
                await self._asks(person)
                await asyncio.sleep(0.1)
            await self._asks(person)
            assert person.there()
            self._stage.people.remove(person)
            await person.caller.close()
            self.ended += 1

    async def _asks(self, person: Person) -> None:
        # Should it not be there, nor be back soon with newer code, it was cut.
        answer = await person.reaches()
        self.answers += 1
        self.versions[answer["version"]] += 1


async def second_pool(stage: Chaos, path: Path, dice: random.Random, over: asyncio.Event) -> int:
    """Run another pool beside, drained by a signal and started anew until ``over``; return how often."""
    drained = 0
    at = ("--url", stage.url.replace("http", "ws", 1), "--key", "devkey:secret", "--port", "0", "--shards", "1")
    while not over.is_set():
        async with greenroom("agents", str(path), *at, cwd=path.parent) as program:
            await program.ready()
            await asyncio.sleep(dice.uniform(1, 5))
            program.process.send_signal(signal.SIGTERM)
            # Callers hang up within a few seconds; nobody is asked to.
            assert await program.ended() == 0, program.lines[-20:]
            ends = [line for line in program.lines if "call ended" in line]
            assert all("kind=user" in line for line in ends), ends
            drained += 1
    return drained


async def test_no_call_is_cut_by_any_deploy(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    code = Code(tmp_path / "code", dice)
    beside = Code(tmp_path / "beside", dice)
    assert beside.version == 0
    path = tmp_path / "code"
    async with chaos_stage(path, shards=1, watch=True, max_sessions=100) as stage:
        people = Callers(stage, random.Random(SEED + 1))
        people.start()
        over = asyncio.Event()
        other = asyncio.create_task(second_pool(stage, tmp_path / "beside", random.Random(SEED + 2), over))
        swaps = 0
        for _ in range(DEPLOYS):
            swap = dice.random() < 0.5
            swaps += swap
            assert stage.pool.apply(settings_of(stage.url, [path], watch=True, swap=swap, max_sessions=100)) == ()
            generation = stage.pool.snapshot().generation
            how = code.save()
            if dice.random() < 0.5:
                await stage.until(lambda now, before=generation: now.generation > before)
            else:
                await asyncio.sleep(dice.random())
            people.check()
            assert not other.done() or other.result(), how
        over.set()
        # What was saved last is in service in the end.
        async with asyncio.timeout(60):
            while True:
                person = await stage.served_person(f"last-{random.random()}")
                answer = await person.ask("ping")
                await person.caller.close()
                if answer["version"] == str(code.version):
                    break
        await people.stop()
        drained = await other
        await stage.until(lambda now: not now.sessions)
        now = stage.pool.snapshot()
        print(
            f"{DEPLOYS} saves, {now.generation} generations, {swaps} with swap, {drained} pools drained beside: "
            f"{people.ended} calls, {people.answers} answers by {len(people.versions)} versions, ends {now.ended}"
        )
        assert now.ended.keys() <= {"user", "moved"}
        assert (now.shards_lost, now.rescued) == (0, 0)
        assert people.ended >= CALLERS
        assert len(people.versions) > 3
        assert now.ended.get("moved", 0) > 0
