"""What a call looks like."""

from __future__ import annotations

import json

import pytest

from greenroom.cli.talk._events import (
    AgentJoined,
    AgentLeft,
    AgentState,
    Connected,
    Connection,
    Ended,
    Event,
    Fault,
    Heard,
    Muted,
    Outcome,
    Said,
    Sent,
    Tool,
    Words,
)
from greenroom.cli.talk._screen import JsonScreen, TextScreen

pytestmark = pytest.mark.unit

JOINED = AgentJoined(agent="desk", identity="agent-1")


class Paper:
    """What was written, and a prompt that leaves marks on it."""

    def __init__(self) -> None:
        self.written = ""
        self.noted = ""

    def write(self, text: str) -> None:
        self.written += text

    def note(self, text: str) -> None:
        self.noted += text

    def hide(self) -> None:
        self.written += "<"

    def draw(self, state: str) -> None:
        self.written += f"{state}>"


def shown(*events: Event, prompt: bool = False, colour: bool = False) -> Paper:
    paper = Paper()
    screen = TextScreen(paper.write, paper.note, prompt=paper if prompt else None, colour=colour)
    for event in events:
        screen.show(event)
    return paper


def words(text: str, message: str = "m1", by: str = "desk") -> Words:
    return Words(message=message, by=by, text=text)


def said(message: str = "m1", by: str = "desk", *, complete: bool = True) -> Said:
    return Said(message=message, by=by, text="", complete=complete)


def tool(outcome: Outcome, output: str = "") -> Tool:
    return Tool(call="c1", name="look", arguments='{"day": 1}', outcome=outcome, output=output)


def test_words_are_written_as_they_come() -> None:
    assert shown(words("Good")).written == "desk: Good"
    assert shown(words("Good"), words(" day"), said()).written == "desk: Good day\n"


def test_a_message_without_words_is_not_shown() -> None:
    assert shown(said()).written == ""


def test_a_message_that_broke_off_is_marked() -> None:
    assert shown(words("Good"), said(complete=False)).written == "desk: Good …\n"


def test_paragraphs_stay_with_their_speaker_and_control_characters_do_nothing() -> None:
    assert shown(words("a\nyou: b\x1b[2J\r\x07"), said()).written == "desk: a\n  you: b\\x1b[2J\\r\\x07\n"


def test_two_who_speak_at_once_are_written_one_after_the_other() -> None:
    both = shown(
        words("one"), words("uno", "m2", "ada"), words(" two"), words(" due", "m2", "ada"), said("m2"), said("m1")
    )
    assert both.written == "desk: one two\nada: uno due\n"


def test_who_is_not_done_yet_goes_on_when_it_is_their_turn() -> None:
    both = shown(words("one"), words("uno", "m2", "ada"), said("m1"), words(" due", "m2", "ada"), said("m2"))
    assert both.written == "desk: one\nada: uno due\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (tool("running"), '[look {"day": 1}]'),
        (tool("running", "half way"), "[look: half way]"),
        (tool("done", "sunny"), "[look: sunny]"),
        (tool("done"), "[look: done]"),
        (tool("error", "no such day"), "[look failed: no such day]"),
        (tool("cancelled"), "[look was cancelled]"),
    ],
)
def test_a_tool_call_is_a_line(event: Tool, line: str) -> None:
    assert shown(event).written == f"  {line}\n"


def test_a_tool_call_in_the_middle_of_a_message_has_its_own_line() -> None:
    assert shown(words("Wait"), tool("done"), words(" so"), said()).written == "desk: Wait\n  [look: done]\ndesk:  so\n"


def test_without_a_prompt_the_callers_lines_are_part_of_the_conversation() -> None:
    assert shown(Sent(text="hello"), words("hi"), said()).written == "you: hello\ndesk: hi\n"


def test_a_program_that_reads_along_gets_the_conversation_only() -> None:
    paper = shown(
        Connected(url="ws://h", room="r", identity="me"),
        JOINED,
        AgentState(state="thinking"),
        Fault(message="no model"),
        Connection(up=False),
        Connection(up=True),
        AgentLeft(agent="desk", identity="agent-1", reason="client_initiated"),
        Ended(reason="desk hung up.", by="other"),
        Ended(reason="You left the call.", by="caller"),
    )
    assert paper.written == ""
    assert paper.noted.splitlines() == [
        "The agent reports an error: no model",
        "The connection broke, reconnecting…",
        "The connection is back.",
        "desk left.",
        "desk hung up.",
    ]


def test_a_person_is_told_more() -> None:
    paper = shown(
        Connected(url="ws://h", room="r", identity="me"), Ended(reason="You left the call.", by="caller"), prompt=True
    )
    assert paper.noted.splitlines() == ["In room r at ws://h, waiting for the agent…", "You left the call."]


def test_the_prompt_stays_below_and_shows_the_state() -> None:
    assert shown(JOINED, AgentState(state="thinking"), tool("done"), prompt=True).written == (
        "<><thinking><  [look: done]\nthinking>"
    )


def test_the_prompt_is_away_while_words_come() -> None:
    assert shown(JOINED, words("a"), words("b"), said(), prompt=True).written == "<><desk: ab\n>"


def test_a_person_who_presses_enter_in_between_starts_a_new_line() -> None:
    paper = Paper()
    screen = TextScreen(paper.write, paper.note, prompt=paper)
    screen.show(words("one"))
    screen.line_entered()
    screen.show(words(" two"))
    assert paper.written == "<desk: one<desk:  two"


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in shown(words("a"), said(), tool("done")).written
    assert shown(words("a"), colour=True).written == "\x1b[1mdesk\x1b[0m: a"


def test_a_program_gets_an_object_per_line() -> None:
    paper = Paper()
    screen = JsonScreen(paper.write, lambda: 12.3456)
    screen.show(words("a\n\x1b"))
    screen.show(tool("done", "sunny"))
    assert [json.loads(line) for line in paper.written.splitlines()] == [
        {"event": "words", "message": "m1", "by": "desk", "text": "a\n\x1b", "at": 12.346},
        {
            "event": "tool",
            "call": "c1",
            "name": "look",
            "arguments": '{"day": 1}',
            "outcome": "done",
            "output": "sunny",
            "at": 12.346,
        },
    ]


def test_what_the_agent_heard_is_shown_once_it_is_sure() -> None:
    heard = [Heard(text="where", final=False), Heard(text="where are you", final=True)]
    assert shown(*heard).written == "you: where are you\n"
    assert shown(JOINED, *heard, prompt=True).written.endswith("<you: where are you\n>")


def test_muting_is_a_remark() -> None:
    noted = shown(Muted(muted=True), Muted(muted=False)).noted
    assert noted == "Your microphone is off; /mute turns it on.\nYour microphone is on.\n"


def test_levels_stand_in_the_prompt_and_never_inside_a_message() -> None:
    paper = Paper()
    screen = TextScreen(paper.write, paper.note, prompt=paper)
    screen.show(JOINED)
    screen.show(AgentState(state="listening"))
    paper.written = ""
    screen.level(3, 0, muted=False)
    screen.level(5, 2, muted=True)
    assert paper.written == "<listening    you|###  | agent|     |><listening    you|muted| agent|##   |>"
    screen.show(words("I am"))
    paper.written = ""
    screen.level(1, 5, muted=False)
    assert paper.written == ""


def test_a_pipe_has_no_levels() -> None:
    paper = Paper()
    TextScreen(paper.write, paper.note).level(3, 3, muted=False)
    JsonScreen(paper.write, lambda: 0.0).level(3, 3, muted=False)
    assert paper.written == paper.noted == ""
