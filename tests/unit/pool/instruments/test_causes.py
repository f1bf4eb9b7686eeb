"""Which of the things that are heard at the end of a session is its cause."""

from __future__ import annotations

import pytest

from greenroom.pool._model import EndKind
from greenroom.pool.shard._ending import Cause, Ending

pytestmark = pytest.mark.unit


def begun() -> Ending:
    ending = Ending()
    ending.connected()
    ending.began()
    return ending


def test_what_fails_before_the_agent_is_there_is_set_up() -> None:
    ending = Ending()
    ending.connected()
    ending.entry_failed(KeyError("table"))
    assert ending.result() == Cause(
        kind=EndKind.SETUP, ok=False, reason="the session never began", error="KeyError: 'table'"
    )


def test_what_fails_afterwards_is_the_program() -> None:
    ending = begun()
    ending.entry_failed(ValueError("x"))
    assert (ending.result().kind, ending.result().ok) == (EndKind.CODE, False)


def test_only_the_first_cause_counts() -> None:
    ending = begun()
    ending.closed("participant_disconnected")
    ending.asked(EndKind.POLICY, "solo")
    ending.shutting_down("room disconnected", False)
    ending.disconnected("CLIENT_INITIATED")
    assert ending.result() == Cause(kind=EndKind.USER, reason="the caller left")


def test_a_provider_that_failed_is_the_cause_of_what_the_program_makes_of_it() -> None:
    ending = begun()
    ending.provider_failed("llm_error", "x.LLM", "APIError: gone")
    ending.entry_failed(RuntimeError("the session is closing"), closing=True)
    assert ending.result() == Cause(
        kind=EndKind.PROVIDER, ok=False, reason="llm error", error="APIError: gone", provider="x.LLM"
    )


def test_a_provider_that_recovered_is_no_cause() -> None:
    ending = begun()
    ending.provider_failed("llm_error", "x.LLM", "APIError: gone")
    ending.entry_failed(RuntimeError("something else"))
    assert ending.result().kind is EndKind.CODE


@pytest.mark.parametrize(
    ("reason", "kind", "ok"),
    [
        ("ROOM_DELETED", EndKind.USER, True),
        ("ROOM_CLOSED", EndKind.USER, True),
        ("PARTICIPANT_REMOVED", EndKind.TERMINATED, True),
        ("CONNECTION_TIMEOUT", EndKind.USER, False),
    ],
)
def test_leaving_the_room_is_read_by_its_reason(reason: str, kind: EndKind, ok: bool) -> None:
    ending = begun()
    ending.disconnected(reason)
    assert (ending.result().kind, ending.result().ok) == (kind, ok)


def test_a_room_that_ends_takes_its_job_away_and_is_the_cause() -> None:
    ending = begun()
    ending.asked(EndKind.TERMINATED, "")
    assert ending.in_doubt
    ending.disconnected("ROOM_DELETED")
    assert ending.result().kind is EndKind.USER
    assert not ending.in_doubt


def test_a_job_that_is_taken_away_leaves_the_room() -> None:
    ending = begun()
    ending.asked(EndKind.TERMINATED, "the dispatch was deleted")
    ending.disconnected("CLIENT_INITIATED")
    assert ending.result() == Cause(kind=EndKind.TERMINATED, reason="the dispatch was deleted")


def test_a_room_that_a_tool_deletes_is_the_tool_s_doing() -> None:
    ending = begun()
    ending.deleting("goodbye")
    ending.asked(EndKind.TERMINATED, "")
    assert ending.result() == Cause(kind=EndKind.TOOL, reason="goodbye: the program deleted the room")


def test_a_session_that_is_started_again_has_not_ended() -> None:
    ending = begun()
    ending.closed("user_initiated")
    assert ending.ended
    ending.began()
    assert not ending.ended
    ending.closed("participant_disconnected")
    assert ending.result().kind is EndKind.USER


def test_a_simulation_that_is_over_is_a_caller_who_left() -> None:
    ending = begun()
    ending.asked_by_program("simulation completed", "")
    assert ending.result().kind is EndKind.USER


def test_a_program_without_agent_session_ends_with_its_room() -> None:
    ending = Ending()
    ending.connected()
    assert ending.result().kind is EndKind.USER
    assert Ending().result().kind is EndKind.SETUP
