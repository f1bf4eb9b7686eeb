"""When a waiting line may be said."""

from __future__ import annotations

import pytest

from greenroom.cli.talk._turns import SETTLE, SETTLE_UNSURE, STARTING, Turns

pytestmark = pytest.mark.unit


@pytest.fixture
def turns() -> Turns:
    """An agent that came at 10."""
    turns = Turns()
    turns.agent_came(10.0)
    return turns


def greeted(turns: Turns, at: float = 11.0) -> Turns:
    turns.agent_state("speaking", at, in_order=True)
    turns.message_opened("m1", at)
    turns.message_closed("m1", at)
    turns.agent_state("listening", at, in_order=True)
    return turns


def test_nobody_speaks_to_an_empty_room() -> None:
    assert Turns().free_at() is None


def test_an_agent_that_tells_nothing_yet_gets_time_to_start(turns: Turns) -> None:
    assert turns.free_at() == 10.0 + STARTING


@pytest.mark.parametrize("state", ["initializing", "thinking", "speaking"])
def test_a_busy_agent_has_the_turn(turns: Turns, state: str) -> None:
    turns.agent_state(state, 11.0, in_order=True)
    assert turns.free_at() is None


@pytest.mark.parametrize("state", ["listening", "idle"])
def test_a_quiet_agent_may_still_be_about_to_greet(turns: Turns, state: str) -> None:
    turns.agent_state(state, 11.0, in_order=True)
    assert turns.free_at() == 11.0 + SETTLE_UNSURE


def test_after_the_greeting_the_caller_speaks(turns: Turns) -> None:
    assert greeted(turns).free_at() == 11.0 + SETTLE


def test_words_that_still_come_keep_the_turn_though_the_agent_listens_already(turns: Turns) -> None:
    turns.message_opened("m1", 11.0)
    turns.agent_state("listening", 12.0, in_order=True)
    assert turns.free_at() is None
    turns.message_closed("m1", 13.0)
    assert turns.free_at() == 13.0 + SETTLE


def test_a_line_waits_for_the_answer_to_the_one_before(turns: Turns) -> None:
    greeted(turns).line_sent(20.0)
    assert turns.free_at() is None
    turns.sign(21.0)
    turns.agent_state("listening", 21.0, in_order=True)
    assert turns.free_at() is None
    turns.agent_state("thinking", 22.0, in_order=True)
    turns.agent_state("listening", 23.0, in_order=True)
    assert turns.free_at() == 23.0 + SETTLE


def test_an_agent_without_states_is_followed_by_its_words(turns: Turns) -> None:
    turns.message_opened("m1", 11.0)
    assert turns.free_at() is None
    turns.message_closed("m1", 12.0)
    assert turns.free_at() == 12.0 + SETTLE_UNSURE
    turns.line_sent(13.0)
    turns.message_opened("m2", 14.0)
    turns.message_closed("m2", 15.0)
    assert turns.free_at() == 15.0 + SETTLE_UNSURE


def test_states_that_can_overtake_each_other_count_until_there_are_better_ones(turns: Turns) -> None:
    assert turns.agent_state("thinking", 11.0, in_order=False)
    assert turns.agent_state("listening", 11.1, in_order=False)
    assert turns.agent_state("thinking", 11.2, in_order=True)
    assert not turns.agent_state("listening", 11.3, in_order=False)
    assert turns.free_at() is None


def test_a_state_is_news_once(turns: Turns) -> None:
    assert turns.agent_state("thinking", 11.0, in_order=True)
    assert not turns.agent_state("thinking", 12.0, in_order=True)


def test_of_an_agent_that_takes_over_nothing_is_known(turns: Turns) -> None:
    greeted(turns).line_sent(20.0)
    turns.agent_left(21.0)
    assert turns.free_at() is None
    turns.agent_came(22.0)
    assert turns.free_at() == 22.0 + STARTING
