"""``greenroom sessions`` and ``greenroom session``: what a record looks like in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.cli._paper import Paper, money, plain, seconds
from greenroom.cli.session._page import entries_of, foot_of, head_of
from greenroom.cli.session._waterfall import bar_of, stages_of, total_of, words_of
from greenroom.cli.sessions import outcome_of, parse_moment, row_of, who_of
from greenroom.errors import ConfigError
from greenroom.sessions import Cost, CostLine, Latency, Participant, SeenError, Session, SessionSummary, ToolCall, Turn
from greenroom.sessions._state import Control
from greenroom.sessions._turns import Handoff, Said

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 20, 16, 0, tzinfo=UTC).timestamp()
PAPER = Paper(zone=UTC)
UNPRICED = Cost(amount=None, known=0.0, currency="USD", price_table="1")
SPOKEN = Latency(stt=0.2, end_of_turn=0.5, llm_first_token=0.4, tts_first_byte=0.1, e2e=1.2)
BOOKING = ToolCall(call_id="c", name="book", at=AT + 3, arguments='{"n": 2}', result="booked", duration=0.02)
delays = st.none() | st.floats(0, 60)


def bare() -> Session:
    """A session nobody has told anything of."""
    return Session(summary=SessionSummary(id="AJ_1", status="ended"), cost=UNPRICED)


def talk() -> Session:
    return Session(
        summary=SessionSummary(id="AJ_1", status="ended", started_at=AT, duration=75.0, turns=2, interruptions=1),
        cost=Cost(
            amount=None,
            known=0.002,
            currency="USD",
            price_table="1",
            lines=(
                CostLine(kind="llm", provider="openai", model="gpt", amounts={"input_tokens": 12.0}, cost=0.002),
                CostLine(kind="tts", provider="house", model="rms", amounts={"characters": 40.0}),
            ),
        ),
        turns=(
            Turn(
                index=0,
                at=AT + 1,
                user=Said(id="u", at=AT + 1, text="book a table"),
                tools=(
                    ToolCall(call_id="c", name="book", at=AT + 3, arguments='{"n": 2}', result="booked", duration=0.02),
                ),
                agent=(Said(id="a", at=AT + 5, text="It is", interrupted=True),),
                handoffs=(Handoff(at=AT + 4, old_agent="waiter", new_agent="chef"),),
                latency=SPOKEN,
            ),
        ),
        errors=(SeenError(at=AT + 2, where="llm_node", message="timed out"),),
        controls=(Control(at=AT + 6, verb="end", by="ada"),),
    )


def test_what_happened_stands_in_order_of_time() -> None:
    lines = [line for entry in entries_of(talk(), PAPER) for line in entry.lines]
    assert lines == [
        "16:00:01  user      book a table",
        "16:00:02  error     llm_node: timed out",
        '16:00:03  tool      book({"n": 2})  (20 ms)',
        "                    -> booked",
        "16:00:04  hand-off  waiter -> chef",
        "16:00:05  agent     It is [interrupted]",
        "                    SSSSSSSEEEEEEEEEELLLLLLLLLLLLLTTT.......  1.20 s  stt 0.20 eou 0.30 llm 0.40 tts 0.10",
        "16:00:06  operator  ada ended the call",
    ]


def test_what_is_unknown_is_not_zero() -> None:
    row = row_of(bare().summary, PAPER)
    assert row == ("AJ_1", "?", "(unnamed)", "?", "?", "?", "0", "?", "?", "ended")
    told = "\n".join([*head_of(bare(), PAPER), *foot_of(bare(), PAPER)])
    assert "latency   unknown: no turn was measured" in told
    assert "cost      unknown: nobody told what was used" in told


def test_a_call_whose_agent_uploaded_nothing_says_what_to_set() -> None:
    assert "agents.enable_user_data_recording: true" in "\n".join(head_of(bare(), PAPER))
    assert "uploaded nothing" not in "\n".join(head_of(talk(), PAPER))


def test_a_missing_price_makes_the_cost_unknown_and_what_is_known_is_named() -> None:
    told = "\n".join(foot_of(talk(), PAPER))
    assert "cost      unknown: a price is missing; what has a price cost 0.0020 USD" in told
    assert "also      1 interruptions" in told


def test_the_transcript_is_a_part_of_the_wait_for_the_end_of_the_turn() -> None:
    found = [(stage.name, round(stage.seconds, 3)) for stage in stages_of(SPOKEN)]
    assert found == [("stt", 0.2), ("eou", 0.3), ("llm", 0.4), ("tts", 0.1), ("other", 0.2)]


@pytest.mark.parametrize(
    ("latency", "said"),
    [
        (Latency(), "time unknown"),
        (Latency(llm_first_token=0.3), "at least 0.30 s  llm 0.30"),
        (Latency(e2e=0.5, e2e_derived=True), "0.50 s by text"),
    ],
)
def test_a_turn_says_what_of_it_was_measured(latency: Latency, said: str) -> None:
    assert words_of(latency) == said


@given(st.builds(Latency, stt=delays, end_of_turn=delays, llm_first_token=delays, tts_first_byte=delays, e2e=delays))
def test_a_bar_is_never_much_longer_than_its_turn(latency: Latency) -> None:
    stages = stages_of(latency)
    assert all(stage.seconds >= 0 for stage in stages)
    longest = sum(stage.seconds for stage in stages)
    # Whatever took time has a letter, which rounding may have left without one.
    assert len(bar_of(latency, longest, 40, PAPER)) <= 40 + len(stages)
    assert (total_of(latency) is None) == (not stages and latency.e2e is None)


def test_what_a_caller_says_moves_no_cursor() -> None:
    assert plain("a\x1b[2J\x07b\n\tc\u202ed") == "a\ufffd[2J\ufffdb c\ufffdd"


def test_colours_are_only_for_eyes() -> None:
    assert PAPER.ink("x", "red") == "x"
    assert Paper(colour=True).ink("x", "red") == "\x1b[31mx\x1b[0m"
    assert Paper.here().colour is False


def test_a_table_lines_its_numbers_up_and_fits_the_terminal() -> None:
    assert PAPER.table(("NAME", "TURNS"), [("a", "7"), ("bc", "?")]) == ["NAME  TURNS", "a         7", "bc        ?"]
    assert Paper(width=6).table(("NAME", "TURNS"), [("a", "7")]) == ["NAME …", "a    …"]


def test_the_people_of_a_call_are_neither_agents_nor_who_listens_unseen() -> None:
    people = tuple(
        Participant(sid=name, identity=name, kind=kind, phone=phone)
        for name, kind, phone in (
            ("agent-1", "agent", ""),
            ("greenroom-listener-x", "standard", ""),
            ("ada", "standard", ""),
            ("sip_1", "sip", "+4930"),
        )
    )
    assert who_of(SessionSummary(id="AJ_1", status="live", participants=people)) == "ada, +4930"


def test_errors_stand_beside_the_outcome() -> None:
    assert outcome_of(SessionSummary(id="AJ_1", status="live", errors=2)) == "live, 2 errors"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "?"),
        (0.0, "0.00 s"),
        (0.004, "4 ms"),
        (0.84, "0.84 s"),
        (24.2, "24 s"),
        (187.0, "3:07"),
        (3723.0, "1:02:03"),
    ],
)
def test_durations_are_as_fine_as_they_are_short(value: float | None, said: str) -> None:
    assert seconds(value) == said


def test_small_amounts_of_money_are_seen() -> None:
    assert [money(each, "USD") for each in (None, 0.0, 0.0023, 12.3)] == ["?", "0.00 USD", "0.0023 USD", "12.30 USD"]


def test_a_moment_is_a_date_or_so_long_ago() -> None:
    assert parse_moment("2h", AT, "--since") == AT - 7200
    assert parse_moment("2026-11-20T16:00+00:00", 0.0, "--since") == AT
    with pytest.raises(ConfigError, match="--until 'later' is no time"):
        parse_moment("later", AT, "--until")
