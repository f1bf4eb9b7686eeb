"""What is done about a shard whose loop does not turn, and what becomes of the calls of one that died."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pool._settings import WatchdogSettings
from greenroom.pool._wire import Stalled
from greenroom.pool.admission import Fate, Kill, Rescue, RescueBudget, Resume, Say, StopPlacing, Watchdog
from greenroom.pool.admission._watchdog import Effect

pytestmark = pytest.mark.unit

SETTINGS = WatchdogSettings(stall=0.2, unfed=2, kill=10)


class Scene:
    """A pool on a clock of whole beats: who of its shards beats, and all that was to be done."""

    def __init__(self, *alive: int, settings: WatchdogSettings = SETTINGS) -> None:
        self.dog = Watchdog(settings, beat=0.5)
        self.now = 1000.0
        self.alive = set(alive)
        self.did: list[tuple[float, Effect]] = []
        for number in alive:
            self.dog.started(number, self.now)

    def note(self, effects: tuple[Effect, ...]) -> None:
        self.did += [(round(self.now - 1000, 3), effect) for effect in effects]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            for number in sorted(self.alive):
                self.note(self.dog.beat(number, self.now))
            self.note(self.dog.tick(self.now))

    def tell(
        self, number: int, seconds: float, *, line: str = "a.py:7", job_id: str = "AJ_1", over: bool = False
    ) -> None:
        message = Stalled(seconds=seconds, line=line, stack="stack", job_id=job_id, over=over)
        self.note(self.dog.stalled(number, message, self.now))

    def kinds(self) -> list[tuple[float, str]]:
        return [(at, type(effect).__name__) for at, effect in self.did]


def test_nothing_is_done_about_shards_that_live() -> None:
    scene = Scene(1, 2)
    scene.run(60)
    assert scene.did == []


def test_a_stall_is_told_at_once_with_its_place_and_its_end() -> None:
    scene = Scene(1)
    scene.run(1)
    scene.now += 0.2
    scene.alive.clear()
    scene.tell(1, 0.2)
    scene.now += 0.6
    scene.note(scene.dog.beat(1, scene.now))
    assert scene.did == [
        (1.2, Say(number=1, seconds=pytest.approx(0.2), where="a.py:7", stack="stack", job_id="AJ_1")),
        (1.8, Say(number=1, seconds=pytest.approx(0.8), where="a.py:7", job_id="AJ_1", over=True)),
    ]


def test_what_is_shorter_than_a_stall_is_not_told() -> None:
    scene = Scene(1)
    scene.now += 0.1
    scene.tell(1, 0.1)
    scene.note(scene.dog.beat(1, scene.now))
    assert scene.did == []


def test_a_shard_that_goes_on_stalling_is_not_fed_and_then_killed() -> None:
    scene = Scene(1, 2)
    scene.run(1)
    scene.alive.remove(1)
    scene.now += 0.2
    scene.tell(1, 0.2)
    for second in range(1, 12):
        scene.run(1)
        scene.tell(1, 0.2 + second, line=f"a.py:{second}")
    assert [(at, kind) for at, kind in scene.kinds()] == [(1.2, "Say"), (3.2, "StopPlacing"), (11.2, "Kill")]
    assert scene.did[1][1] == StopPlacing(number=1)
    assert scene.did[2][1] == Kill(number=1, seconds=pytest.approx(10.2), where="a.py:9", job_id="AJ_1")
    assert scene.dog.culprit(1) == "AJ_1"
    assert scene.dog.culprit(2) == ""
    scene.dog.gone(1)
    assert scene.dog.culprit(1) == ""


def test_a_shard_that_says_nothing_at_all_is_told_of_not_fed_and_killed() -> None:
    scene = Scene(1)
    scene.run(1)
    scene.alive.clear()
    scene.run(20)
    assert scene.kinds() == [(3.5, "Say"), (3.5, "StopPlacing"), (11.5, "Kill")]
    assert scene.did[0][1] == Say(number=1, seconds=2.0)


@pytest.mark.parametrize("sign", ["beat", "over"])
def test_one_that_turns_again_is_fed_again(sign: str) -> None:
    scene = Scene(1)
    scene.alive.clear()
    scene.now += 0.2
    scene.tell(1, 0.2)
    scene.run(5)
    scene.did.clear()
    if sign == "beat":
        scene.note(scene.dog.beat(1, scene.now))
    else:
        scene.tell(1, 5.2, over=True)
    assert scene.kinds() == [(5.2, "Say"), (5.2, "Resume")]
    assert scene.did[1][1] == Resume(number=1)
    scene.alive.add(1)
    scene.run(60)
    assert len(scene.did) == 2


def test_stalls_that_each_end_never_add_up() -> None:
    scene = Scene(1)
    for _ in range(20):
        scene.alive.clear()
        scene.run(2)
        scene.note(scene.dog.beat(1, scene.now))
    assert scene.did == []


@pytest.mark.parametrize("gap", [3.0, 60.0, 86_400.0])
def test_a_machine_that_was_suspended_kills_nobody(gap: float) -> None:
    scene = Scene(1, 2)
    scene.run(5)
    scene.now += gap
    scene.tell(2, gap)
    scene.note(scene.dog.tick(scene.now))
    scene.run(60)
    assert {type(effect) for _, effect in scene.did} <= {Say}


def test_one_that_was_stalled_before_the_machine_slept_has_its_time_left() -> None:
    scene = Scene(1)
    scene.alive.clear()
    scene.run(5)
    scene.did.clear()
    scene.now += 3600
    scene.note(scene.dog.tick(scene.now))
    assert scene.did == []
    scene.run(5)
    assert scene.kinds() == [(3609.5, "Kill")]


def test_a_clock_that_goes_back_kills_nobody() -> None:
    scene = Scene(1)
    scene.now -= 3600
    scene.run(5)
    scene.now += 3600
    scene.run(5)
    assert scene.did == []


def test_a_shard_that_was_to_be_killed_is_left_alone() -> None:
    scene = Scene(1)
    scene.alive.clear()
    scene.run(11)
    scene.did.clear()
    scene.note(scene.dog.beat(1, scene.now))
    scene.tell(1, 11)
    scene.run(60)
    assert scene.did == []


def test_one_that_is_gone_or_was_never_there_is_not_watched() -> None:
    scene = Scene(1)
    scene.dog.gone(1)
    scene.dog.gone(1)
    scene.alive.clear()
    scene.tell(1, 5)
    scene.note(scene.dog.beat(2, scene.now))
    scene.run(60)
    assert scene.did == []


def test_other_limits_hold_at_once() -> None:
    scene = Scene(1)
    scene.alive.clear()
    scene.run(1.5)
    scene.dog.apply(WatchdogSettings(stall=0.1, unfed=0.5, kill=1))
    scene.note(scene.dog.tick(scene.now))
    assert scene.kinds() == [(1.5, "Say"), (1.5, "StopPlacing"), (1.5, "Kill")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["beat", "stalled", "over", "tick"]), st.integers(1, 2), st.floats(0, 4)), max_size=80
    )
)
def test_a_shard_is_killed_only_after_it_was_unfed_and_silent_for_long_enough(
    steps: list[tuple[str, int, float]],
) -> None:
    scene = Scene(1, 2)
    silent = dict.fromkeys((1, 2), scene.now)
    unfed: set[int] = set()
    for step, number, later in steps:
        scene.now += later
        before = len(scene.did)
        match step:
            case "beat":
                scene.note(scene.dog.beat(number, scene.now))
                silent[number] = scene.now
            case "tick":
                scene.note(scene.dog.tick(scene.now))
            case _:
                scene.tell(number, later, over=step == "over")
                if step == "over":
                    silent[number] = scene.now
        for _, effect in scene.did[before:]:
            match effect:
                case StopPlacing(number=found):
                    assert found not in unfed
                    unfed.add(found)
                case Resume(number=found):
                    unfed.remove(found)
                case Kill(number=found):
                    assert found in unfed
                    assert scene.now - silent[found] >= SETTINGS.kill - 1e-6
    assert len({effect.number for _, effect in scene.did if isinstance(effect, Kill)}) == sum(
        isinstance(effect, Kill) for _, effect in scene.did
    )


class TestRescue:
    def test_a_call_goes_on_anywhere_then_alone_and_then_not_at_all(self) -> None:
        budget = RescueBudget()
        assert budget.plan(["a"], 0) == (Rescue(job_id="a", fate=Fate.RELAUNCH, count=1),)
        assert budget.plan(["a", "b"], 10) == (
            Rescue(job_id="a", fate=Fate.ALONE, count=2, why="it lost a shard before"),
            Rescue(job_id="b", fate=Fate.RELAUNCH, count=1),
        )
        assert budget.plan(["a"], 20) == (
            Rescue(job_id="a", fate=Fate.GIVE_UP, count=2, why="it was alone in its shard, and that died too"),
        )

    def test_one_whose_code_held_up_the_shard_goes_on_alone_at_once(self) -> None:
        budget = RescueBudget()
        assert budget.plan(["a", "b"], 0, culprit="a") == (
            Rescue(job_id="a", fate=Fate.ALONE, count=1, why="its code held up the shard"),
            Rescue(job_id="b", fate=Fate.RELAUNCH, count=1),
        )
        assert budget.plan(["a"], 1, culprit="a")[0].fate is Fate.GIVE_UP

    def test_one_call_that_kills_whatever_it_is_in_ends_two_shared_shards_at_most(self) -> None:
        budget = RescueBudget()
        calls = {f"good{number}" for number in range(30)} | {"bad"}
        shared = 0
        fates = budget.plan(sorted(calls), 0)
        while any(each.job_id == "bad" and each.fate is not Fate.GIVE_UP for each in fates):
            shared += 1
            bad = next(each for each in fates if each.job_id == "bad")
            with_it = ["bad"] if bad.fate is Fate.ALONE else sorted(calls)
            fates = budget.plan(with_it, shared)
        assert shared == 2
        assert all(each.fate is not Fate.GIVE_UP for each in budget.plan(["good1"], 700))

    def test_the_budget_may_be_smaller_or_nothing(self) -> None:
        assert RescueBudget(most=0).plan(["a"], 0) == (
            Rescue(job_id="a", fate=Fate.GIVE_UP, count=0, why="it was rescued 0 times before"),
        )
        budget = RescueBudget(most=1)
        budget.plan(["a"], 0)
        assert budget.plan(["a"], 1)[0].fate is Fate.GIVE_UP

    def test_what_is_long_ago_is_forgiven(self) -> None:
        budget = RescueBudget(forgiven=600)
        budget.plan(["a"], 0)
        assert budget.plan(["a"], 600)[0].fate is Fate.RELAUNCH
        assert budget.plan(["a"], 1199.9)[0].fate is Fate.ALONE

    def test_a_call_that_ended_is_forgotten(self) -> None:
        budget = RescueBudget()
        budget.plan(["a"], 0)
        budget.forget("a")
        budget.forget("a")
        assert budget.plan(["a"], 1)[0].fate is Fate.RELAUNCH
