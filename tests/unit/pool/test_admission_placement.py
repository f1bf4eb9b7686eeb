"""In which process a call runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pool._model import AgentSpec, Placement
from greenroom.pool._settings import AgentSettings
from greenroom.pool.admission import (
    NeedShard,
    NoPlace,
    Placed,
    PlacementLimits,
    ShardKind,
    ShardState,
    ShardView,
    WaitFor,
    configured,
    kind_for,
    place,
)

pytestmark = pytest.mark.unit

SHARED = ShardKind()
ACME = ShardKind(placement=Placement.TENANT, tenant="acme")
GLOBEX = ShardKind(placement=Placement.TENANT, tenant="globex")
ALONE = ShardKind(placement=Placement.DEDICATED)
TWO = PlacementLimits(shared=2)


def shard(number: int, kind: ShardKind = SHARED, **fields: object) -> ShardView:
    return ShardView(number=number, kind=kind, **fields)


@pytest.mark.parametrize(
    ("shards", "number"),
    [
        ([shard(1, sessions=3), shard(2, sessions=2)], 2),
        ([shard(1, sessions=2, lag=0.3), shard(2, sessions=2, lag=0.1)], 2),
        ([shard(2), shard(1)], 1),
        ([shard(1, sessions=9, generation=2), shard(2, generation=1)], 1),
        ([shard(1, state=ShardState.STALLED), shard(2, sessions=9)], 2),
        ([shard(1, state=ShardState.RETIRING), shard(2, sessions=9)], 2),
        ([shard(1, state=ShardState.STARTING), shard(2, sessions=9)], 2),
        ([shard(1, limited=True), shard(2, sessions=9)], 2),
        ([shard(1, ACME), shard(2, ALONE), shard(3, sessions=9)], 3),
        ([shard(1, sessions=9, generation=1), shard(2, generation=2, state=ShardState.STARTING)], 1),
    ],
)
def test_a_shared_call_goes_to_the_freest_healthy_shard_of_the_newest_code(
    shards: list[ShardView], number: int
) -> None:
    assert place(shards, SHARED, TWO) == Placed(number=number)


def test_a_full_shard_takes_no_more() -> None:
    limits = PlacementLimits(shared=2, capacity=5)
    assert place([shard(1, sessions=5, generation=2), shard(2, sessions=4)], SHARED, limits) == Placed(number=2)
    assert place([shard(1, sessions=5), shard(2, sessions=5)], SHARED, limits) == NoPlace(why="shards: 2 full")


def test_as_many_shared_shards_are_forked_as_there_may_be() -> None:
    assert place([], SHARED, TWO) == NeedShard(kind=SHARED)
    assert place([shard(1, state=ShardState.STALLED)], SHARED, TWO) == NeedShard(kind=SHARED)
    assert place([shard(1, state=ShardState.RETIRING), shard(2, limited=True)], SHARED, TWO) == NeedShard(kind=SHARED)
    both = [shard(1, state=ShardState.STALLED), shard(2, limited=True)]
    assert place(both, SHARED, TWO) == NoPlace(why="shards: 1 stalled, 1 at their memory limit")


def test_shards_of_old_code_do_not_stand_in_the_way_of_new_ones() -> None:
    old = [shard(1, limited=True), shard(2, limited=True)]
    new = [shard(3, generation=1, limited=True)]
    assert place([*old, *new], SHARED, TWO) == NeedShard(kind=SHARED)


def test_a_call_waits_for_a_shard_that_starts_rather_than_for_one_more() -> None:
    starting = shard(1, state=ShardState.STARTING)
    assert place([starting], SHARED, TWO) == WaitFor(number=1)
    assert place([shard(1, ACME, state=ShardState.STARTING)], ACME, TWO) == WaitFor(number=1)
    assert place([shard(1, ALONE, state=ShardState.STARTING)], ALONE, TWO) == WaitFor(number=1)


def test_a_tenant_shares_its_shard_with_nobody() -> None:
    shards = [shard(1), shard(2, GLOBEX)]
    assert place(shards, ACME, TWO) == NeedShard(kind=ACME)
    assert place([*shards, shard(3, ACME, sessions=40)], ACME, TWO) == Placed(number=3)
    full = PlacementLimits(shared=2, capacity=40)
    assert place([*shards, shard(3, ACME, sessions=40)], ACME, full) == NeedShard(kind=ACME)


def test_a_call_alone_gets_a_shard_that_never_had_another() -> None:
    assert place([shard(1), shard(2, ALONE, used=True)], ALONE, TWO) == NeedShard(kind=ALONE)
    assert place([shard(1, ALONE, sessions=1)], ALONE, TWO) == NeedShard(kind=ALONE)
    waiting = shard(1, ALONE, sessions=1, state=ShardState.STARTING)
    assert place([waiting], ALONE, TWO) == NeedShard(kind=ALONE)
    assert place([shard(1, ALONE, used=True), shard(2, ALONE)], ALONE, TWO) == Placed(number=2)


def test_there_are_no_more_processes_than_there_may_be() -> None:
    limits = PlacementLimits(shared=2, processes=2)
    assert place([shard(1), shard(2)], ACME, limits) == NoPlace(why="all 2 processes that the pool may have are there")
    assert place([shard(1), shard(2, state=ShardState.RETIRING)], ACME, limits) == NeedShard(kind=ACME)


def test_an_agent_says_with_whom_its_calls_share_a_shard() -> None:
    def kind(placement: Placement) -> ShardKind:
        return kind_for(AgentSpec(name="desk", placement=placement), "acme")

    assert kind(Placement.SHARED) == SHARED
    assert kind(Placement.TENANT) == ACME
    assert kind(Placement.DEDICATED) == ALONE


def test_the_configuration_goes_before_the_code_of_an_agent() -> None:
    agents = (
        AgentSpec(name="a", capabilities=("x",), placement=Placement.TENANT, max_sessions=3),
        AgentSpec(name="b", capabilities=("x",), placement=Placement.TENANT, max_sessions=3),
        AgentSpec(name="c"),
    )
    said = {
        "a": AgentSettings(capabilities=(), placement="shared", max_sessions=0),
        "b": AgentSettings(),
        "d": AgentSettings(max_sessions=1),
    }
    assert configured(agents, said) == (
        AgentSpec(name="a", capabilities=(), placement=Placement.SHARED, max_sessions=0),
        *agents[1:],
    )


def test_a_pools_placement_is_for_agents_that_nobody_places() -> None:
    agents = (AgentSpec(name="a"), AgentSpec(name="b"), AgentSpec(name="c", placement=Placement.SHARED, placed=True))
    said = {"b": AgentSettings(placement="tenant")}
    found = {agent.name: agent.placement for agent in configured(agents, said, "dedicated")}
    assert found == {"a": Placement.DEDICATED, "b": Placement.TENANT, "c": Placement.SHARED}


kinds = st.sampled_from([SHARED, ACME, GLOBEX, ALONE])
shards = st.lists(
    st.builds(
        ShardView,
        number=st.integers(0, 99),
        kind=kinds,
        generation=st.integers(0, 2),
        state=st.sampled_from(ShardState),
        sessions=st.integers(0, 4),
        used=st.booleans(),
        limited=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: each.number,
)


@given(shards=shards, kind=kinds, shared=st.integers(1, 3), processes=st.integers(0, 6), capacity=st.integers(0, 4))
def test_no_call_ever_goes_where_it_must_not(
    shards: list[ShardView], kind: ShardKind, shared: int, processes: int, capacity: int
) -> None:
    limits = PlacementLimits(shared=shared, processes=processes, capacity=capacity)
    answer = place(shards, kind, limits)
    alive = [each for each in shards if each.state is not ShardState.RETIRING]
    match answer:
        case Placed(number=number) | WaitFor(number=number):
            (found,) = [each for each in shards if each.number == number]
            assert found.kind == kind
            assert not found.limited
            assert found.state is (ShardState.READY if isinstance(answer, Placed) else ShardState.STARTING)
            if kind is ALONE:
                assert not found.used
                assert not found.sessions
            elif capacity:
                assert found.sessions < capacity
        case NeedShard(kind=needed):
            assert needed == kind
            assert not processes or len(alive) < processes
        case NoPlace(why=why):
            assert why not in {"", "shards: "}
