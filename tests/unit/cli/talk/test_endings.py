"""Which agent is called, and what a call that fails says to do."""

from __future__ import annotations

import pytest

from greenroom.cli.talk._agents import UNKNOWN_PATIENCE, Callee, Listed, choose
from greenroom.cli.talk._endings import CallError, ending_by_agent, ending_of_call, refusal
from greenroom.errors import ConfigError

pytestmark = pytest.mark.unit

URL = "ws://127.0.0.1:7880"
DESK = Listed(name="desk", state="ready")
SHOP = Listed(name="shop", state="starting")
ANYBODY = Listed(name="", state="ready")
BROKEN = Listed(name="broken", state="failed", detail="desk.py:3: no module named x")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (
            "engine: signal failure: client error: 401 Unauthorized - invalid API key",
            ConfigError,
            "ws://127.0.0.1:7880 does not accept the key 'front': invalid API key. Pass the server's own with",
        ),
        (
            "engine: signal failure: client error: 401 Unauthorized - invalid authorization token: it has expired",
            CallError,
            "Set the clocks",
        ),
        ("engine: signal failure: client error: 404 Not Found - <html>", ConfigError, "is not a LiveKit server"),
        (
            "engine: signal failure: client error: 404 Not Found - requested room does not exist",
            CallError,
            "refused the call: requested room does not exist",
        ),
        ("engine: signal failure: client error: 400 Bad Request - name is too long", CallError, "name is too long"),
        ("engine: signal failure: client error: 429", CallError, "refused the call: 429"),
        (
            "engine: signal failure: transport connection error: IO error: Connection refused (os error 111)",
            CallError,
            "Nothing answers at ws://127.0.0.1:7880. Start it with: greenroom dev",
        ),
        ("engine: connection error: wait_pc_connection timed out: pc connection", CallError, "no packets came through"),
        ("something new", CallError, "failed: something new"),
    ],
)
def test_a_call_that_is_not_let_in_says_why(said: str, error: type[Exception], words: str) -> None:
    refused = refusal(said, URL, "front")
    assert type(refused) is error
    assert words in str(refused)


@pytest.mark.parametrize(("reason", "calm"), [("ROOM_DELETED", True), ("SERVER_SHUTDOWN", False), ("NEW", False)])
def test_a_call_that_ends_was_wished_to_end_or_not(reason: str, calm: bool) -> None:
    assert ending_of_call(reason).calm is calm


def test_an_agent_hangs_up_or_is_gone() -> None:
    assert ending_by_agent("desk", "CLIENT_INITIATED").message == "desk hung up"
    assert not ending_by_agent("desk", "CONNECTION_TIMEOUT").calm


def test_the_name_is_who_is_called_whatever_the_page_lists() -> None:
    assert choose("desk=vip=1", [SHOP]) == Callee(name="desk", metadata="vip=1", listed=[SHOP])


@pytest.mark.parametrize("listed", [[], [ANYBODY], [DESK, ANYBODY]])
def test_without_a_name_those_are_called_that_join_every_room(listed: list[Listed]) -> None:
    assert choose("", listed).name == ""


def test_without_a_name_the_only_agent_is_called() -> None:
    assert choose("", [DESK]).name == "desk"


def test_without_a_name_there_is_nobody_to_choose_among_several() -> None:
    with pytest.raises(ConfigError, match="Name one: desk, shop"):
        choose("", [DESK, SHOP])


@pytest.mark.parametrize(
    ("callee", "seconds"),
    [
        (Callee(name="desk"), 30.0),
        (Callee(name="shop", listed=[DESK, SHOP]), 30.0),
        (Callee(name="nobody", listed=[DESK]), UNKNOWN_PATIENCE),
        (Callee(name="broken", listed=[BROKEN]), UNKNOWN_PATIENCE),
    ],
)
def test_an_agent_that_will_hardly_come_is_not_waited_for_long(callee: Callee, seconds: float) -> None:
    assert callee.patience(30.0) == seconds
    assert callee.patience(1.0) == 1.0


@pytest.mark.parametrize(
    ("callee", "room_given", "words"),
    [
        (
            Callee(name="nobody", listed=[DESK, SHOP]),
            False,
            "'nobody' did not come within 5 s. The server has desk, sh",
        ),
        (Callee(name="broken", listed=[BROKEN]), False, "Its worker is failed: desk.py:3: no module named x"),
        (Callee(name="desk"), False, "Start it with: greenroom dev PATH"),
        (Callee(), False, "An agent did not come within 5 s."),
        (Callee(name="desk", listed=[DESK]), True, "choose a --room that is not in use"),
    ],
)
def test_an_agent_that_does_not_come_is_missed_with_advice(callee: Callee, room_given: bool, words: str) -> None:
    assert words in str(callee.missing(5.0, room_given=room_given))
