"""One agent's life in virtual time."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from greenroom.dev._agent import Agent, Effect, Say, Spawn, Status, Terminate

pytestmark = pytest.mark.unit


class Stage:
    """Applies what an agent decides to nothing, and remembers it."""

    def __init__(self, *, reload: bool = True) -> None:
        self.agent = Agent("desk", reload=reload)
        self.now = 100.0
        self.effects: list[Effect] = []

    def did(self, effects: Iterable[Effect]) -> None:
        self.effects += effects

    def start(self, problem: str = "") -> None:
        self.did(self.agent.start(self.now, problem))

    def save(self, problem: str = "") -> None:
        self.did(self.agent.saved(self.now, problem))

    def register(self, run: int, name: str = "front-desk") -> None:
        self.did(self.agent.registered(run, name, self.now))

    def exit(self, run: int, reason: str = "stopped with exit code 1") -> None:
        self.did(self.agent.exited(run, reason, self.now))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.agent.next_wakeup) is not None and due <= end:
            self.now = max(self.now, due)
            self.did(self.agent.tick(self.now))
        self.now = end

    @property
    def said(self) -> list[str]:
        return [effect.message for effect in self.effects if isinstance(effect, Say)]

    @property
    def spawned(self) -> list[int]:
        return [effect.run for effect in self.effects if isinstance(effect, Spawn)]

    @property
    def terminated(self) -> list[Terminate]:
        return [effect for effect in self.effects if isinstance(effect, Terminate)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_it_says_how_long_registering_took(stage: Stage) -> None:
    stage.start()
    stage.pass_time(2.1)
    stage.register(1)
    assert stage.said == ["starting desk…", "agent front-desk registered in 2.1 s"]
    assert (stage.agent.status, stage.agent.agent_name) == (Status.READY, "front-desk")


def test_progress_is_said_while_it_is_slow_and_not_after(stage: Stage) -> None:
    stage.start()
    stage.pass_time(11)
    assert stage.said[1:] == ["starting desk… 3 s", "starting desk… 6 s", "starting desk… 10 s"]
    stage.register(1)
    stage.pass_time(100)
    assert len(stage.said) == 5


def test_an_agent_without_a_name_is_for_every_room(stage: Stage) -> None:
    stage.start()
    stage.register(1, "")
    assert stage.said[-1] == "agent for every room registered in 0.0 s"


def test_the_old_version_serves_until_the_new_one_is_registered(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save()
    assert stage.spawned == [1, 2]
    assert stage.terminated == []
    assert stage.agent.status is Status.READY
    stage.register(2)
    assert stage.terminated == [Terminate(1, successor=2)]
    stage.exit(1, "killed by signal 15")
    assert stage.agent.runs == (2,)
    assert "killed" not in " ".join(stage.said)


def test_a_second_save_replaces_the_version_that_was_still_starting(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save()
    stage.save()
    assert stage.terminated == [Terminate(2)]
    stage.exit(2)
    stage.register(2)
    stage.register(3)
    assert stage.agent.runs == (3,)


def test_a_save_that_does_not_parse_keeps_what_runs(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save("desk.py:3: invalid syntax")
    assert stage.said[-1] == ("desk.py:3: invalid syntax; the version before it keeps running, save again to retry")
    assert (stage.agent.runs, stage.agent.status) == ((1,), Status.READY)


def test_a_new_version_that_dies_keeps_what_runs(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save()
    stage.exit(2, "desk.py:1: NameError: x")
    assert stage.said[-1].startswith("desk.py:1: NameError: x; the version before it keeps running")
    assert stage.agent.runs == (1,)


def test_a_version_that_never_worked_waits_for_the_next_save(stage: Stage) -> None:
    stage.start()
    stage.exit(1, "desk.py:1: NameError: x")
    stage.pass_time(1000)
    assert stage.spawned == [1]
    assert stage.said[-1] == "desk.py:1: NameError: x; save the file to try again"
    assert stage.agent.status is Status.WAITING
    stage.save()
    assert stage.spawned == [1, 2]


def test_a_file_that_does_not_parse_is_not_started(stage: Stage) -> None:
    stage.start("desk.py:3: invalid syntax")
    assert stage.spawned == []
    stage.save()
    assert stage.spawned == [1]


def test_a_version_that_worked_is_restarted_after_growing_pauses(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    for run, pause in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)):
        stage.exit(run)
        assert stage.said[-1] == f"stopped with exit code 1; restarting in {pause} s"
        assert stage.agent.status is Status.BACKOFF
        stage.pass_time(pause - 0.1)
        assert stage.spawned[-1] == run
        stage.pass_time(0.1)
        assert stage.spawned[-1] == run + 1


def test_a_worker_that_ran_for_long_is_restarted_soon(stage: Stage) -> None:
    stage.start()
    for run in (1, 2, 3):
        stage.register(run)
        stage.pass_time(100)
        stage.exit(run)
        assert stage.said[-1].endswith("restarting in 1 s")
        stage.pass_time(1)


def test_a_save_does_not_wait_for_the_pause(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.exit(1)
    stage.save()
    assert stage.spawned == [1, 2]
    stage.pass_time(60)
    assert stage.spawned == [1, 2]


def test_a_crash_while_the_next_version_starts_needs_no_restart(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save()
    stage.exit(1, "killed by signal 9")
    stage.pass_time(2)
    assert stage.spawned == [1, 2]
    stage.register(2)
    assert stage.agent.status is Status.READY


def test_without_reloading_what_never_worked_has_failed() -> None:
    stage = Stage(reload=False)
    stage.start()
    stage.exit(1, "desk.py:1: NameError: x")
    assert stage.agent.failed
    assert stage.said[-1] == "desk.py:1: NameError: x"


def test_stopping_ends_every_run_and_nothing_is_said_of_it(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.save()
    said = stage.said
    stage.did(stage.agent.stop())
    stage.exit(1)
    stage.exit(2)
    stage.pass_time(100)
    assert stage.terminated == [Terminate(1), Terminate(2)]
    assert (stage.said, stage.spawned) == (said, [1, 2])
    assert stage.agent.next_wakeup is None


def test_a_worker_that_reconnects_says_so(stage: Stage) -> None:
    stage.start()
    stage.register(1)
    stage.register(1)
    assert stage.said[-1] == "agent front-desk registered again"
    assert [effect.level for effect in stage.effects if isinstance(effect, Say)] == [logging.INFO] * 3
