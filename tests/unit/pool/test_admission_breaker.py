"""A provider that fails gets no calls of a tenant, until one has shown that it works again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pool._settings import BreakerSettings
from greenroom.pool.admission import Breakers, BreakerState, Reason, Refusal

pytestmark = pytest.mark.unit

SETTINGS = BreakerSettings(samples=5, failures=0.5, window=60, cooldown=30)
LLM = "openai/gpt-5"
OPEN = {f"acme/{LLM}": BreakerState.OPEN}
HALF_OPEN = {f"acme/{LLM}": BreakerState.HALF_OPEN}


def begun(
    breakers: Breakers, *jobs: str, now: float = 0, tenant: str = "acme", providers: tuple[str, ...] = (LLM,)
) -> Refusal | None:
    answers = [breakers.begin(job, tenant, "desk", providers, now) for job in jobs]
    return next((answer for answer in answers if answer is not None), None)


def broken(now: float = 0, settings: BreakerSettings = SETTINGS) -> Breakers:
    breakers = Breakers(settings)
    for job in map(str, range(5)):
        assert begun(breakers, job, now=now) is None
        breakers.failed(job, LLM, now)
        breakers.end(job)
    assert breakers.states(now) == OPEN
    return breakers


def test_it_opens_when_calls_fail_that_had_begun_well() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(12)]
    assert begun(breakers, *jobs) is None
    for job in jobs:
        breakers.ok(job, LLM, 1)
    opened = [breakers.failed(job, LLM, 10) for job in jobs]
    assert opened.index(True) == 6
    assert breakers.states(10) == OPEN
    refusal = begun(breakers, "13", now=11)
    assert refusal == Refusal(reason=Reason.BREAKER, message=f"Provider '{LLM}' of tenant 'acme' fails.")


def test_it_counts_calls_and_not_how_often_one_tried() -> None:
    breakers = Breakers(SETTINGS)
    assert begun(breakers, "1", "2", "3", "4") is None
    for _ in range(10):
        for job in ("1", "2", "3", "4"):
            assert not breakers.failed(job, LLM, 1)
    assert breakers.states(1) == {}


def test_what_is_tried_again_is_no_failure() -> None:
    breakers = Breakers(SETTINGS)
    for job in map(str, range(20)):
        assert begun(breakers, job) is None
        assert not breakers.failed(job, LLM, 1, recoverable=True)
    assert breakers.states(1) == {}


def test_a_call_that_failed_stays_failed_when_a_later_turn_works() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(5)]
    assert begun(breakers, *jobs) is None
    for job in jobs[:4]:
        breakers.failed(job, LLM, 1)
        breakers.ok(job, LLM, 2)
    assert breakers.failed(jobs[4], LLM, 3)


@pytest.mark.parametrize(
    ("good", "bad", "opens"), [(5, 5, False), (5, 6, True), (0, 4, False), (0, 5, True), (4, 5, True)]
)
def test_more_than_the_share_of_enough_calls_opens_it(good: int, bad: int, opens: bool) -> None:
    breakers = Breakers(SETTINGS)
    for number in range(good):
        begun(breakers, f"good{number}")
        breakers.ok(f"good{number}", LLM, 1)
    for number in range(bad):
        begun(breakers, f"bad{number}")
        breakers.failed(f"bad{number}", LLM, 1)
    assert (breakers.states(1) == OPEN) is opens


def test_where_all_may_fail_it_opens_only_when_all_do() -> None:
    breakers = Breakers(BreakerSettings(samples=3, failures=1.0))
    begun(breakers, "good", "1", "2", "3")
    breakers.ok("good", LLM, 0)
    assert [breakers.failed(job, LLM, 1) for job in ("1", "2", "3")] == [False, False, False]
    assert broken(settings=BreakerSettings(failures=1.0)).states(1) == OPEN


def test_what_is_older_than_the_window_does_not_count() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(5)]
    begun(breakers, *jobs)
    for job in jobs[:4]:
        breakers.failed(job, LLM, 0)
    assert not breakers.failed(jobs[4], LLM, 60)
    breakers = Breakers(SETTINGS)
    begun(breakers, *jobs)
    for job in jobs[:4]:
        breakers.failed(job, LLM, 0)
    assert breakers.failed(jobs[4], LLM, 59.9)


def test_other_tenants_and_other_providers_are_let_through() -> None:
    breakers = broken()
    assert begun(breakers, "a", now=1, tenant="globex") is None
    assert begun(breakers, "b", now=1, providers=("openai/gpt-4",)) is None
    assert begun(breakers, "c", now=1, providers=("openai/gpt-4", LLM)) is not None


def test_one_call_at_a_time_sees_whether_it_works_again() -> None:
    breakers = broken(now=100)
    assert begun(breakers, "early", now=129.9) is not None
    assert breakers.states(130) == HALF_OPEN
    assert begun(breakers, "probe", now=130) is None
    assert begun(breakers, "second", now=131) is not None
    assert begun(breakers, "probe", now=131) is None
    breakers.ok("probe", LLM, 132)
    assert breakers.states(132) == {}
    assert begun(breakers, "third", "fourth", now=132) is None


def test_a_probe_that_fails_opens_it_for_another_while() -> None:
    breakers = broken(now=100)
    begun(breakers, "probe", now=130)
    assert breakers.failed("probe", LLM, 140)
    assert begun(breakers, "next", now=169.9) is not None
    breakers.ok("probe", LLM, 170)
    assert breakers.states(170) == HALF_OPEN
    assert begun(breakers, "next", now=170) is None


def test_calls_that_began_before_decide_nothing_while_it_is_half_open() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(7)]
    begun(breakers, *jobs)
    for job in jobs[:5]:
        breakers.failed(job, LLM, 0)
    begun(breakers, "probe", now=30)
    breakers.ok("5", LLM, 31)
    assert not breakers.failed("6", LLM, 31)
    assert breakers.states(31) == HALF_OPEN
    breakers.ok("probe", LLM, 31)
    assert breakers.states(31) == {}


def test_nothing_that_happens_while_it_is_open_makes_it_wait_longer() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(12)]
    begun(breakers, *jobs)
    for job in jobs[:5]:
        breakers.failed(job, LLM, 0)
    for job in jobs[5:]:
        assert not breakers.failed(job, LLM, 20)
    assert breakers.states(30) == HALF_OPEN
    for job in jobs[5:]:
        assert not breakers.failed(job, LLM, 31)
    assert breakers.states(31) == HALF_OPEN


@pytest.mark.parametrize("ended", [True, False])
def test_a_probe_that_proves_nothing_makes_room_for_another(ended: bool) -> None:
    breakers = broken()
    begun(breakers, "probe", now=30)
    begun(breakers, "else", now=30, providers=("tts",))
    breakers.end("else")
    assert begun(breakers, "next", now=31) is not None
    if ended:
        breakers.end("probe")
        assert begun(breakers, "next", now=31) is None
    else:
        assert begun(breakers, "next", now=59.9) is not None
        assert begun(breakers, "next", now=60) is None


def test_a_refusal_takes_no_probe_of_another_provider() -> None:
    breakers = broken()
    for job in map(str, range(10, 15)):
        begun(breakers, job, now=10, providers=("tts",))
        breakers.failed(job, "tts", 10)
    assert begun(breakers, "both", now=31, providers=(LLM, "tts")) is not None
    assert begun(breakers, "probe", now=31) is None


def test_what_an_agent_used_last_is_known_of_its_next_call() -> None:
    breakers = Breakers(SETTINGS)
    jobs = [str(number) for number in range(5)]
    assert begun(breakers, *jobs, providers=()) is None
    for job in jobs:
        breakers.failed(job, LLM, 1)
        breakers.end(job)
    assert begun(breakers, "next", now=2, providers=()) is not None
    assert begun(breakers, "other", now=2, tenant="globex", providers=()) is None
    begun(breakers, "silent", now=31, providers=())
    breakers.end("silent")
    assert begun(breakers, "probe", "second", now=31, providers=()) is not None
    breakers.forget_agent("other")
    assert begun(breakers, "next", now=31, providers=()) is not None
    breakers.forget_agent("desk")
    assert begun(breakers, "next", now=2, providers=()) is None


def test_a_call_that_used_other_providers_forgets_the_former() -> None:
    breakers = Breakers(SETTINGS)
    for job in map(str, range(5)):
        begun(breakers, job, providers=())
        breakers.failed(job, LLM, 0)
        breakers.end(job)
    assert begun(breakers, "probe", now=30, providers=()) is None
    assert begun(breakers, "second", now=30, providers=()) is not None
    breakers.ok("probe", "openai/gpt-4", 31)
    breakers.end("probe")
    assert begun(breakers, "next", "after", now=32, providers=()) is None


def test_a_call_with_other_declared_providers_is_not_held_to_the_former() -> None:
    breakers = Breakers(SETTINGS)
    for job in map(str, range(5)):
        begun(breakers, job, providers=("stt",))
        breakers.failed(job, LLM, 0)
        breakers.end(job)
    assert begun(breakers, "same", now=1, providers=("stt",)) is not None
    assert begun(breakers, "other", now=1, providers=("stt", "tts")) is None


def test_without_breakers_every_call_is_let_through() -> None:
    breakers = Breakers(BreakerSettings(enabled=False))
    for job in map(str, range(20)):
        assert begun(breakers, job) is None
        assert not breakers.failed(job, LLM, 0)
    assert breakers.states(0) == {}
    breakers = broken()
    breakers.apply(BreakerSettings(enabled=False))
    assert breakers.states(0) == {}
    assert begun(breakers, "next") is None
    breakers = Breakers(SETTINGS)
    begun(breakers, *map(str, range(5)))
    breakers.apply(BreakerSettings(enabled=False))
    assert not any(breakers.failed(job, LLM, 0) for job in map(str, range(5)))
    assert breakers.states(0) == {}


def test_other_settings_hold_at_once() -> None:
    breakers = broken()
    breakers.apply(BreakerSettings(cooldown=5))
    assert breakers.states(5) == HALF_OPEN


def test_what_says_nothing_any_more_is_dropped() -> None:
    breakers = Breakers(SETTINGS)
    begun(breakers, "1")
    breakers.ok("1", LLM, 0)
    breakers.end("1")
    breakers.tidy(59)
    assert breakers._breakers
    breakers.tidy(60)
    assert not breakers._breakers
    still = broken()
    still.tidy(1e9)
    assert still.states(1e9) == HALF_OPEN


def test_a_fact_of_a_call_that_nobody_began_is_passed_over() -> None:
    breakers = Breakers(SETTINGS)
    breakers.ok("1", LLM, 0)
    assert not breakers.failed("1", LLM, 0)
    breakers.end("1")
    begun(breakers, "1")
    assert not breakers.failed("1", "", 0)
    assert breakers.states(0) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "ok", "failed", "end"]), st.integers(0, 12), st.floats(0, 20)), max_size=120
    )
)
def test_while_it_is_not_closed_at_most_one_call_per_cooldown_is_let_through(
    steps: list[tuple[str, int, float]],
) -> None:
    breakers = Breakers(SETTINGS)
    now, probes = 0.0, list[tuple[float, str]]()
    for step, number, later in steps:
        now, job = now + later, str(number)
        state = breakers.states(now).get(f"acme/{LLM}", BreakerState.CLOSED)
        match step:
            case "begin":
                let = begun(breakers, job, now=now) is None
                assert let or state is not BreakerState.CLOSED
                assert not let or state is not BreakerState.OPEN
                if let and state is BreakerState.HALF_OPEN:
                    waiting = [who for at, who in probes if now - at < SETTINGS.cooldown and who != job]
                    assert not waiting
                    probes = [(now, job)]
            case "ok":
                breakers.ok(job, LLM, now)
            case "failed":
                breakers.failed(job, LLM, now)
            case _:
                breakers.end(job)
                probes = [each for each in probes if each[1] != job]
        if state is not BreakerState.HALF_OPEN or breakers.states(now).get(f"acme/{LLM}") is not BreakerState.HALF_OPEN:
            probes = []
