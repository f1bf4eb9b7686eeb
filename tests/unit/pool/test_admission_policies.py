"""When a call is ended by rule, and in which words."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pool._settings import PolicyOverrides, PolicySettings
from greenroom.pool.admission import Policies, Policy, PolicyEnd, PolicyWatch, policies_of

pytestmark = pytest.mark.unit


def test_what_is_nearer_to_the_call_goes_before_the_rest_field_by_field() -> None:
    pool = PolicySettings(silent=10, solo=20, max_duration=30, max_cost=4)
    agent = PolicyOverrides(solo=21, max_duration=31, max_cost="never")
    tenant = PolicyOverrides(max_duration=32)
    assert policies_of(pool, agent, tenant) == Policies(silent=10, solo=21, max_duration=32, max_cost=None)
    assert policies_of(pool, None, None) == Policies(silent=10, solo=20, max_duration=30, max_cost=4)
    assert policies_of(PolicySettings()) == Policies(solo=60)
    assert policies_of(PolicySettings(solo="never")) == Policies()
    assert policies_of(PolicySettings(solo="never"), PolicyOverrides(solo=5)) == Policies(solo=5)


@pytest.mark.parametrize("kind", [PolicySettings, PolicyOverrides])
def test_a_file_without_a_word_for_nothing_can_say_never(kind: type) -> None:
    assert msgspec.convert({"solo": "never", "max_cost": "never"}, kind).solo == "never"
    for wrong in ({"solo": "always"}, {"solo": 0}, {"max_cost": -1}, {"slow": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, kind)


class TestSilence:
    @staticmethod
    def watch() -> PolicyWatch:
        return PolicyWatch(Policies(silent=10), began_at=0)

    def test_there_is_none_before_the_agent_has_connected(self) -> None:
        watch = self.watch()
        assert watch.wake_at() is None
        assert watch.due(1e6) is None

    def test_it_ends_a_call_in_which_nobody_says_anything(self) -> None:
        watch = self.watch()
        watch.fact("connected", 1, 5)
        assert watch.wake_at() == 15
        assert watch.due(14.9) is None
        assert watch.due(15) == PolicyEnd(policy=Policy.SILENT, reason="nobody said anything for 10 s")

    @pytest.mark.parametrize("who", ["user", "agent"])
    def test_whoever_speaks_begins_it_anew(self, who: str) -> None:
        watch = self.watch()
        watch.fact("connected", 1, 0)
        watch.fact("spoke", who, 9)
        assert watch.wake_at() == 19

    @pytest.mark.parametrize("kind", ["agent_state", "user_state"])
    def test_as_long_as_somebody_speaks_there_is_none(self, kind: str) -> None:
        watch = self.watch()
        watch.fact("connected", 1, 0)
        watch.fact(kind, "listening", 8)
        assert watch.wake_at() == 10
        watch.fact(kind, "speaking", 9)
        assert watch.wake_at() is None
        assert watch.due(100) is None
        watch.fact(kind, "listening", 100)
        watch.fact(kind, "away", 105)
        assert watch.wake_at() == 110

    def test_it_waits_for_both_to_stop(self) -> None:
        watch = self.watch()
        watch.fact("connected", 1, 0)
        watch.fact("agent_state", "speaking", 1)
        watch.fact("user_state", "speaking", 2)
        watch.fact("agent_state", "thinking", 3)
        assert watch.wake_at() is None
        watch.fact("user_state", "listening", 4)
        assert watch.wake_at() == 14


class TestSolitude:
    @staticmethod
    def watch() -> PolicyWatch:
        return PolicyWatch(Policies(solo=60), began_at=0)

    def test_nobody_is_missing_as_long_as_nobody_counted(self) -> None:
        watch = self.watch()
        watch.fact("connected", 1, 0)
        assert watch.wake_at() is None

    def test_it_ends_a_call_that_nobody_is_in(self) -> None:
        watch = self.watch()
        watch.fact("participants", 0, 5)
        watch.fact("participants", 0, 10)
        assert watch.wake_at() == 65
        assert watch.due(64.9) is None
        assert watch.due(65) == PolicyEnd(policy=Policy.SOLO, reason="nobody was in the room for 60 s")

    def test_who_comes_back_in_time_keeps_the_call(self) -> None:
        watch = self.watch()
        watch.fact("participants", 1, 0)
        assert watch.wake_at() is None
        watch.fact("participants", 0, 10)
        watch.fact("participants", 2, 60)
        assert watch.wake_at() is None
        watch.fact("participants", 0, 70)
        assert watch.wake_at() == 130

    def test_an_unknown_number_says_nothing(self) -> None:
        watch = self.watch()
        watch.fact("participants", 0, 5)
        watch.fact("participants", None, 6)
        assert watch.wake_at() == 65


def test_a_call_ends_when_it_took_as_long_as_it_may() -> None:
    watch = PolicyWatch(Policies(max_duration=100), began_at=7)
    assert watch.wake_at() == 107
    assert watch.due(106.9) is None
    assert watch.due(107) == PolicyEnd(policy=Policy.MAX_DURATION, reason="it took 100 s, which is all that is allowed")


def test_a_call_ends_as_soon_as_it_cost_what_it_may() -> None:
    assert not PolicyWatch(Policies(silent=1), began_at=0).limits_cost
    watch = PolicyWatch(Policies(max_cost=0.5), began_at=0)
    assert watch.limits_cost
    watch.fact("cost", 0.49, 1)
    watch.fact("cost", None, 1)
    assert watch.wake_at() is None
    assert watch.due(1) is None
    watch.fact("cost", 0.5, 2)
    assert watch.due(2) == PolicyEnd(policy=Policy.MAX_COST, reason="it cost 0.5000 USD, 0.5 are allowed")


def test_what_a_call_cost_is_not_unspent() -> None:
    watch = PolicyWatch(Policies(max_cost=1), began_at=0)
    watch.fact("cost", 0.8, 1)
    watch.fact("cost", 0.1, 2)
    watch.apply(Policies(max_cost=0.7))
    assert watch.due(3) is not None


def test_a_call_that_goes_on_in_another_shard_is_told_of_anew_but_keeps_what_it_cost() -> None:
    watch = PolicyWatch(Policies(silent=10, solo=10, max_duration=100, max_cost=1), began_at=0)
    watch.fact("connected", 1, 0)
    watch.fact("participants", 0, 0)
    watch.fact("user_state", "speaking", 1)
    watch.fact("cost", 0.6, 1)
    watch.moved()
    assert watch.wake_at() == 100
    watch.fact("connected", 1, 20)
    assert watch.wake_at() == 30
    watch.fact("cost", 0.3, 21)
    assert watch.due(21) is None
    watch.fact("cost", 0.4, 22)
    end = watch.due(22)
    assert end is not None
    assert end.policy is Policy.MAX_COST


def test_a_call_is_ended_once_and_for_what_came_first() -> None:
    watch = PolicyWatch(Policies(silent=10, solo=5, max_duration=12), began_at=0)
    watch.fact("connected", 1, 0)
    watch.fact("participants", 0, 4)
    assert watch.wake_at() == 9
    end = watch.due(100)
    assert end is not None
    assert end.policy is Policy.SOLO
    assert watch.wake_at() is None
    assert watch.due(101) is None


def test_other_policies_hold_at_once() -> None:
    watch = PolicyWatch(Policies(), began_at=0)
    watch.fact("connected", 1, 0)
    watch.apply(Policies(silent=5))
    assert watch.wake_at() == 5


def test_facts_that_no_policy_is_made_of_change_nothing() -> None:
    watch = PolicyWatch(Policies(silent=10), began_at=0)
    watch.fact("connected", 1, 0)
    watch.fact("usage", {"tokens": 1}, 5)
    watch.fact("provider_ok", "x", 6)
    assert watch.wake_at() == 10


facts = st.one_of(
    st.tuples(st.just("connected"), st.just(1)),
    st.tuples(st.just("participants"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["agent_state", "user_state"]), st.sampled_from(["speaking", "listening"])),
    st.tuples(st.just("spoke"), st.sampled_from(["user", "agent"])),
    st.tuples(st.just("cost"), st.floats(0, 3)),
)
limits = st.none() | st.integers(1, 30)


@given(
    policies=st.builds(Policies, silent=limits, solo=limits, max_duration=limits, max_cost=limits),
    steps=st.lists(st.tuples(st.floats(0, 10), facts), max_size=30),
)
def test_whoever_wakes_when_told_and_after_each_fact_misses_no_end(
    policies: Policies, steps: list[tuple[float, tuple[str, object]]]
) -> None:
    watch = PolicyWatch(policies, began_at=0)
    now = 0.0
    for wait, (kind, value) in steps:
        at = watch.wake_at()
        if at is not None and at <= now + wait:
            if at > now:
                assert watch.due((now + at) / 2) is None
            assert watch.due(at) is not None
            return
        now += wait
        assert watch.due(now) is None
        watch.fact(kind, value, now)
        if watch.due(now) is not None:
            assert policies.max_cost is not None
            return
