"""Caps are exact: whoever asks holds a place from then on."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from greenroom.config import ApiKey
from greenroom.pool._model import AgentSpec, CodeOptions, Manifest
from greenroom.pool._settings import AgentSettings, PoolSettings
from greenroom.pool.admission import Caps, Desk, Place, Reason, Refusal, caps_of, hot_applied

pytestmark = pytest.mark.unit

AGENTS = ("dental", "sales")
TENANTS = ("acme", "globex")


def reason_of(answer: Place | Refusal) -> Reason | None:
    return answer.reason if isinstance(answer, Refusal) else None


@pytest.mark.parametrize(
    ("caps", "reason", "message"),
    [
        (Caps(total=1), Reason.FULL, "The pool has all 1 sessions that it may."),
        (Caps(agents={"dental": 1}), Reason.FULL_AGENT, "Agent 'dental' has all 1 sessions that it may."),
        (Caps(tenants={"acme": 1}), Reason.FULL_TENANT, "Tenant 'acme' has all 1 sessions that it may."),
    ],
)
def test_each_cap_refuses_with_its_reason_until_a_place_is_free(caps: Caps, reason: Reason, message: str) -> None:
    desk = Desk(caps)
    assert isinstance(desk.reserve("1", "dental", "acme", 0), Place)
    assert desk.reserve("2", "dental", "acme", 0) == Refusal(reason=reason, message=message)
    assert desk.release("1")
    assert isinstance(desk.reserve("2", "dental", "acme", 0), Place)


def test_a_cap_binds_only_whom_it_names() -> None:
    desk = Desk(Caps(agents={"dental": 0}, tenants={"acme": 0}))
    assert reason_of(desk.reserve("1", "dental", "globex", 0)) is Reason.FULL_AGENT
    assert reason_of(desk.reserve("2", "sales", "acme", 0)) is Reason.FULL_TENANT
    assert reason_of(desk.reserve("3", "sales", "globex", 0)) is None
    assert desk.total == 1


@pytest.mark.parametrize(("table", "own", "places"), [(2, None, 2), (None, 2, 2), (3, 2, 2), (2, 3, 2), (2, 0, 0)])
def test_of_a_tenants_two_caps_the_smaller_counts(table: int | None, own: int | None, places: int) -> None:
    desk = Desk(Caps(tenants={} if table is None else {"acme": table}))
    answers = [desk.reserve(str(number), "sales", "acme", 0, tenant_cap=own) for number in range(4)]
    assert sum(isinstance(answer, Place) for answer in answers) == places


def test_to_ask_again_for_the_same_takes_no_second_place() -> None:
    desk = Desk(Caps(total=1))
    first = desk.reserve("1", "dental", "acme", 0)
    assert desk.reserve("1", "dental", "acme", 1) is first
    assert (desk.total, desk.by_agent(), desk.by_tenant()) == (1, {"dental": 1}, {"acme": 1})


def test_a_job_that_is_offered_for_another_agent_gives_up_its_first_place() -> None:
    desk = Desk(Caps(total=1, agents={"sales": 0}))
    desk.reserve("1", "dental", "acme", 0)
    assert isinstance(desk.reserve("1", "dental", "globex", 0), Place)
    assert (desk.by_agent(), desk.by_tenant()) == ({"dental": 1}, {"globex": 1})
    assert reason_of(desk.reserve("1", "sales", "globex", 0)) is Reason.FULL_AGENT
    assert (desk.total, desk.by_agent(), desk.by_tenant()) == (0, {}, {})


def test_a_job_that_runs_is_not_taken_twice() -> None:
    desk = Desk(Caps())
    desk.reserve("1", "dental", "acme", 0)
    assert desk.confirm("1")
    assert reason_of(desk.reserve("1", "dental", "acme", 0)) is Reason.RUNNING
    assert desk.total == 1


def test_to_confirm_or_release_what_is_not_there_says_so() -> None:
    desk = Desk(Caps())
    assert not desk.confirm("1")
    assert not desk.release("1")
    desk.reserve("1", "dental", "acme", 0)
    assert desk.release("1")
    assert not desk.release("1")
    assert desk.total == 0


def test_what_is_never_assigned_is_given_back_after_a_while() -> None:
    desk = Desk(Caps(total=2), patience=15)
    desk.reserve("kept", "dental", "acme", 0)
    desk.confirm("kept")
    desk.reserve("lost", "dental", "acme", 5)
    assert desk.expire(19.9) == ()
    assert desk.expire(20) == ("lost",)
    assert not desk.confirm("lost")
    assert desk.by_agent() == {"dental": 1}
    assert desk.expire(1e9) == ()


def test_other_caps_hold_at_once_and_take_no_place_away() -> None:
    desk = Desk(Caps(total=3))
    for number in range(3):
        desk.reserve(str(number), "dental", "acme", 0)
    desk.apply(Caps(total=1))
    assert (desk.total, desk.full, desk.load) == (3, True, 1.0)
    desk.release("0")
    desk.release("1")
    assert reason_of(desk.reserve("3", "dental", "acme", 0)) is Reason.FULL
    desk.apply(Caps(total=4))
    assert (desk.full, desk.load) == (False, 0.25)
    assert isinstance(desk.reserve("3", "dental", "acme", 0), Place)


def test_a_pool_may_be_told_to_take_nothing() -> None:
    desk = Desk(Caps(total=0))
    assert (desk.full, desk.load) == (True, 1.0)
    assert reason_of(desk.reserve("1", "dental", "acme", 0)) is Reason.FULL


def test_of_100_000_racing_offers_no_more_than_the_cap_is_ever_taken() -> None:
    desk, dice = Desk(Caps(tenants={"acme": 1})), random.Random(5)
    held: str | None = None
    taken = 0
    for number in range(100_000):
        if isinstance(desk.reserve(str(number), "dental", "acme", number), Place):
            assert held is None
            held = str(number)
            taken += 1
        assert desk.by_tenant() == {"acme": 1}
        if dice.random() < 0.01 and held is not None:
            desk.release(held)
            held = None
    assert taken > 900


class Racing(RuleBasedStateMachine):
    """Offers, assignments, ends and other caps in any order, against a list of who has a place."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.caps = Caps(total=3)
        self.desk = Desk(self.caps, patience=10)
        self.now = 0.0
        self.held: dict[str, tuple[str, str, float, bool]] = {}

    @rule(
        target=jobs,
        number=st.integers(0, 9),
        agent=st.sampled_from(AGENTS),
        tenant=st.sampled_from(TENANTS),
        own=st.none() | st.integers(0, 2),
    )
    def offer(self, number: int, agent: str, tenant: str, own: int | None) -> object:
        job_id = str(number)
        before = self.held.get(job_id)
        answer = self.desk.reserve(job_id, agent, tenant, self.now, tenant_cap=own)
        if before is not None and before[3]:
            assert reason_of(answer) is Reason.RUNNING
            return multiple()
        if before is not None and before[:2] == (agent, tenant):
            assert isinstance(answer, Place)
            return multiple()
        self.held.pop(job_id, None)
        agents, tenants = self._counts()
        room = (
            len(self.held) < self.caps.total
            and agents[agent] < self.caps.agents.get(agent, 99)
            and tenants[tenant] < min(self.caps.tenants.get(tenant, 99), 99 if own is None else own)
        )
        assert isinstance(answer, Place) == room
        if not room:
            return multiple()
        self.held[job_id] = (agent, tenant, self.now, False)
        return job_id

    @rule(job_id=jobs)
    def assign(self, job_id: str) -> None:
        held = self.held.get(job_id)
        assert self.desk.confirm(job_id) == (held is not None)
        if held is not None:
            self.held[job_id] = (*held[:3], True)

    @rule(job_id=consumes(jobs))
    def end(self, job_id: str) -> None:
        assert self.desk.release(job_id) == (self.held.pop(job_id, None) is not None)

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = [job for job, (*_, since, sure) in self.held.items() if not sure and self.now - since >= 10]
        assert sorted(self.desk.expire(self.now)) == sorted(late)
        for job in late:
            del self.held[job]

    @rule(
        total=st.integers(0, 6),
        agents=st.dictionaries(st.sampled_from(AGENTS), st.integers(0, 3)),
        tenants=st.dictionaries(st.sampled_from(TENANTS), st.integers(0, 3)),
    )
    def change(self, total: int, agents: dict[str, int], tenants: dict[str, int]) -> None:
        self.caps = Caps(total=total, agents=agents, tenants=tenants)
        self.desk.apply(self.caps)

    @invariant()
    def nothing_leaks(self) -> None:
        agents, tenants = self._counts()
        assert self.desk.total == len(self.held)
        assert self.desk.by_agent() == dict(agents)
        assert self.desk.by_tenant() == dict(tenants)
        assert self.desk.full == (len(self.held) >= self.caps.total)
        assert 0 <= self.desk.load <= 1

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        return Counter(agent for agent, *_ in self.held.values()), Counter(who for _, who, *_ in self.held.values())


TestRacing = Racing.TestCase
TestRacing.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)


def settings(**fields: object) -> PoolSettings:
    return PoolSettings(url="ws://h", key=ApiKey(key="k", secret="s"), paths=(Path("a.py"),), **fields)


def test_a_setting_goes_before_code_and_what_names_one_agent_before_a_table() -> None:
    manifest = Manifest(
        agents=(
            AgentSpec(name="a", max_sessions=1),
            AgentSpec(name="b", max_sessions=1),
            AgentSpec(name="c", max_sessions=1),
            AgentSpec(name="d", max_sessions=1),
            AgentSpec(name="e"),
        ),
        options=CodeOptions(
            max_sessions=20,
            max_sessions_per_agent={"b": 2, "c": 2, "d": 2},
            max_sessions_per_tenant={"acme": 2},
        ),
    )
    assert caps_of(settings(), Manifest()) == Caps(total=50)
    assert caps_of(settings(), manifest) == Caps(total=20, agents={"a": 1, "b": 2, "c": 2, "d": 2}, tenants={"acme": 2})
    told = settings(
        max_sessions=30,
        max_sessions_per_agent={"c": 3, "d": 3},
        max_sessions_per_tenant={"globex": 3},
        agents={"d": AgentSettings(max_sessions=4), "a": AgentSettings()},
    )
    assert caps_of(told, manifest) == Caps(total=30, agents={"a": 1, "b": 2, "c": 3, "d": 4}, tenants={"globex": 3})


def test_a_pool_that_runs_takes_other_caps_at_once_and_another_port_at_its_next_start() -> None:
    now = settings(max_sessions=5, port=8081, agents={"a": AgentSettings(max_sessions=1)})
    told = settings(max_sessions=9, port=9090, dev=True, agents={"a": AgentSettings(max_sessions=2)})
    held, waiting = hot_applied(now, told)
    assert held == settings(max_sessions=9, port=8081, agents={"a": AgentSettings(max_sessions=2)})
    assert waiting == ("dev", "port")
    assert hot_applied(now, now) == (now, ())
