"""A conversation with rules, slots and memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.offline import Call, Rule, Slot
from greenroom.offline._decide import CallTools, Script
from greenroom.offline._dialogue import Heard
from greenroom.offline._smalltalk import CANNOT, FALLBACK, FAREWELL, GREETING, NUDGE, STAND_IN
from support.offline_talk import Talk, ToolFailedError, tool

pytestmark = pytest.mark.unit

TABLE = Rule(
    "book [a table] [for {people:int}] [at {time}] [under {name}]",
    "Booked: {result}",
    tool="book",
    slots={"people": Slot(ask="For how many?"), "name": Slot(ask="Under which name?")},
)
HOURS = Rule("when are you open", "From noon to ten.")


def book(arguments: object) -> str:
    assert isinstance(arguments, dict)
    if arguments["time"] == "13:00":
        raise ToolFailedError("one o'clock is taken")
    return f"{arguments['people']} at {arguments['time']} for {arguments['name']}"


BOOK = tool("book", book, required=("people", "time", "name"), people="integer", time="string", name="string")


@pytest.fixture
def talk() -> Talk:
    return Talk(Script(rules=(TABLE, HOURS)), BOOK)


def test_a_rule_calls_its_tool_with_the_slots_and_answers_from_the_result(talk: Talk) -> None:
    assert talk.say("Book a table for four at 7pm under Ada") == "Booked: 4 at 19:00 for Ada"
    assert talk.calls == [[("book", {"people": 4, "time": "19:00", "name": "Ada"})]]


def test_a_missing_slot_is_asked_for_and_filled_from_the_next_turn(talk: Talk) -> None:
    assert talk.say("book a table at eight") == "For how many?"
    assert talk.say("three") == "Under which name?"
    assert talk.say("Grace Hopper") == "Booked: 3 at 08:00 for Grace Hopper"


def test_values_that_speak_for_themselves_are_taken_wherever_they_stand(talk: Talk) -> None:
    assert talk.say("at 7pm I would like to book") == "For how many?"
    assert talk.say("two, under the name of Ada") == "Under which name?"
    assert talk.say("Ada") == "Booked: 2 at 19:00 for Ada"


def test_an_answer_can_bring_other_values_along(talk: Talk) -> None:
    assert talk.say("book a table under Ada") == "For how many?"
    assert talk.say("four people, at 7pm") == "Booked: 4 at 19:00 for Ada"


def test_a_correction_replaces_a_value_before_the_question_is_answered(talk: Talk) -> None:
    talk.say("book a table for two at 7pm")
    assert talk.say("actually, make it 8pm please") == "Under which name?"
    assert talk.say("Ada") == "Booked: 2 at 20:00 for Ada"


def test_an_answer_that_is_nothing_but_the_value_comes_before_the_rules(talk: Talk) -> None:
    talk.script = replace(talk.script, rules=(TABLE, Rule("{count:int}", "You can count.")))
    talk.say("book a table at 7pm")
    assert talk.say("make it two") == "Under which name?"
    assert talk.say("two") == "You can count. Under which name?"


def test_an_answer_that_fits_nothing_repeats_the_question(talk: Talk) -> None:
    talk.say("book a table at 7pm")
    assert talk.say("purple") == "I am sorry, I did not catch that. For how many?"


def test_an_aside_is_answered_and_the_question_asked_again(talk: Talk) -> None:
    talk.say("book a table at 7pm")
    assert talk.say("when are you open?") == "From noon to ten. For how many?"
    assert talk.say("thanks a lot").endswith("For how many?")
    assert talk.say("who are you?") == f"{STAND_IN} For how many?"
    assert talk.say("two") == "Under which name?"


def test_small_talk_is_no_answer_to_a_question_for_a_name(talk: Talk) -> None:
    talk.say("book a table for two at 7pm")
    assert talk.say("hello").endswith("Under which name?")
    assert talk.say("no") == "I am sorry, I did not catch that. Under which name?"


def test_never_mind_drops_the_question(talk: Talk) -> None:
    talk.say("book a table")
    assert talk.say("never mind") == "All right, never mind."
    assert talk.say("four") in FALLBACK


def test_a_failed_tool_is_reported_and_can_be_corrected(talk: Talk) -> None:
    failed = talk.say("book a table for two at 1pm under Ada")
    assert failed == "I am sorry, that did not work: one o'clock is taken"
    assert talk.say("then at 2pm") == "Booked: 2 at 14:00 for Ada"


def test_a_rule_said_anew_after_a_failure_keeps_what_was_not_said_again(talk: Talk) -> None:
    talk.say("book a table for two at 1pm under Ada")
    assert talk.say("book at 3pm") == "Booked: 2 at 15:00 for Ada"
    assert talk.say("book a table") == "For how many?"


def test_a_slot_can_be_recalled_from_earlier_in_the_call_but_once() -> None:
    look = Rule("is {day} free", "{day} is free.")
    take = Rule("book it", tool="take", slots={"day": Slot("day", recall=True)})
    talk = Talk(
        Script(rules=(look, take)), tool("take", lambda a: f"taken: {a['day']}", required=("day",), day="string")
    )
    assert talk.say("is tomorrow free") == "tomorrow is free."
    assert talk.say("book it") == "taken: tomorrow"
    assert talk.say("book it") == "For which day?"


def test_a_default_is_never_asked_for() -> None:
    rule = Rule("drink [a {size:small|large}]", "A {size} one.", slots={"size": Slot(default="small")})
    talk = Talk(Script(rules=(rule,)))
    assert talk.say("drink") == "A small one."
    assert talk.say("drink a LARGE") == "A large one."


def test_a_required_parameter_without_a_slot_is_asked_for_by_its_type() -> None:
    tools = tool(
        "order", str, required=("crates", "express", "note"), crates="integer", express="boolean", note="string"
    )
    talk = Talk(Script(rules=(Rule("order", tool="order"),)), tools)
    assert talk.say("order") == "How many crates?"
    assert talk.say("a dozen or twelve") == "Express: yes or no?"
    assert talk.say("yes") == "What is the note?"
    talk.say("leave it at the door")
    assert talk.calls == [[("order", {"crates": 12, "express": True, "note": "leave it at the door"})]]


def test_text_from_a_pattern_becomes_what_the_parameter_is() -> None:
    rule = Rule("order {crates} crates", tool="order")
    talk = Talk(Script(rules=(rule,)), tool("order", str, required=("crates",), crates="integer"))
    talk.say("order four crates")
    assert talk.calls == [[("order", {"crates": 4})]]
    assert talk.say("order some crates") == "How many crates?"


def test_an_optional_parameter_is_left_out_until_it_is_said() -> None:
    talk = Talk(
        Script(rules=(Rule("list [at {time}]", tool="show"),)), tool("show", str, time="string", page="integer")
    )
    talk.say("list")
    assert talk.calls == [[("show", {})]]
    talk.say("list at 9 am")
    assert talk.calls == [[("show", {"time": "09:00"})]]


def test_a_value_that_the_tool_refuses_is_asked_for_again() -> None:
    tools = tool("order", str, required=("crates",), crates="integer")
    spec, run = tools["order"]
    picky = replace(spec, check=lambda given: ("crates", "at most nine") if int(str(given["crates"])) > 9 else None)
    talk = Talk(Script(rules=(Rule("order {crates:int}", tool="order"),)), {"order": (picky, run)})
    assert talk.say("order 12") == "I am sorry, I did not catch that. How many crates?"
    talk.say("9")
    assert talk.calls == [[("order", {"crates": 9})]]


def find(arguments: object) -> str:
    return '{"id": 7, "name": "Ada"}'


STEPS = Rule(
    "cancel my order",
    "{find.name}: {result}",
    tool=["find", Call("cancel", {"order": "{find.id}", "why": "caller asked"}), "notify"],
)
STEP_TOOLS = {
    **tool("find", find),
    **tool("notify", lambda _: "mail sent"),
    **tool("cancel", lambda a: f"{a['order']} cancelled", required=("order", "why"), order="integer", why="string"),
}


def test_calls_that_need_no_result_are_made_at_once_and_the_others_wait() -> None:
    talk = Talk(Script(rules=(STEPS,)), STEP_TOOLS)
    assert talk.say("cancel my order") == 'Ada: {"id": 7, "name": "Ada"} mail sent 7 cancelled'
    assert talk.calls == [[("find", {}), ("notify", {})], [("cancel", {"order": 7, "why": "caller asked"})]]


def test_without_parallel_calls_each_step_makes_one() -> None:
    talk = Talk(Script(rules=(STEPS,)), STEP_TOOLS)
    talk.say("cancel my order", parallel=False)
    assert [[name for name, _ in step] for step in talk.calls] == [["find"], ["cancel"], ["notify"]]


def test_the_same_tool_can_be_called_twice() -> None:
    rule = Rule("compare", "{result}", tool=[Call("look", {"room": 1}), Call("look", {"room": 2})])
    talk = Talk(Script(rules=(rule,)), tool("look", lambda a: f"room {a['room']}", room="integer"))
    assert talk.say("compare") == "room 1 room 2"
    assert len(talk.calls) == 1


def test_a_result_without_the_field_is_said_as_it_is() -> None:
    rule = Rule("find", "Your number is {result.id}", tool="find")
    assert Talk(Script(rules=(rule,)), tool("find", find)).say("find") == "Your number is 7"
    assert Talk(Script(rules=(rule,)), tool("find", lambda _: "no such order")).say("find") == "no such order"


def test_without_tools_allowed_none_is_called(talk: Talk) -> None:
    assert talk.say("book a table for four at 7pm under Ada", use="none") == CANNOT
    assert talk.calls == []


def test_a_named_tool_is_called_when_all_it_needs_is_known() -> None:
    rules = (Rule("I am {name}", "Hello {name}."), Rule("leave a message", tool="note", slots={"name": Slot("name")}))
    talk = Talk(
        Script(rules=rules), {**tool("note", str, required=("name",), name="string"), **tool("end", lambda _: "over")}
    )
    talk.say("I am Ada")
    assert talk.plan(only="note") == CallTools((("note", {"name": "Ada"}),))
    assert talk.plan(only="end") == CallTools((("end", {}),))
    assert talk.instruct("Wrap up.", only="end") == "over"


def test_required_tools_are_preferred_to_plain_replies() -> None:
    rules = (Rule("order", "We take orders."), Rule("order", tool="order"))
    talk = Talk(Script(rules=rules), tool("order", lambda _: "ordered"))
    assert talk.say("order") == "We take orders."
    assert talk.say("order", use="required") == "ordered"


def test_a_result_of_a_tool_without_a_rule_is_said_as_it_is(talk: Talk) -> None:
    talk.tools |= tool("weather", lambda _: "It rains.")
    assert talk.instruct("Look at the sky", only="weather") == "It rains."


def test_a_reply_before_anybody_spoke_is_the_greeting_and_later_an_offer(talk: Talk) -> None:
    talk.script = replace(talk.script, greeting="Welcome!")
    assert talk.reply() == "Welcome!"
    talk.say("when are you open")
    assert talk.reply() == NUDGE


def test_instructions_are_followed_where_nobody_waits_for_an_answer(talk: Talk) -> None:
    assert talk.instruct("Greet the user and offer your assistance.") == GREETING
    talk.say("when are you open")
    assert talk.instruct("Say goodbye.") == FAREWELL
    assert talk.instruct('Say "the line is bad"') == "the line is bad"


def test_a_waiting_turn_comes_before_instructions_unless_no_rule_knows_it(talk: Talk) -> None:
    talk.items.append(Heard("when are you open"))
    assert talk.instruct("Tell them that we sell hats") == "From noon to ten."
    talk.items.append(Heard("do you sell hats"))
    assert talk.instruct("Tell them that we sell hats") == "We sell hats."


def test_rules_for_instructions_come_first() -> None:
    script = Script(instructions=(Rule("apologise for {what}", "I am sorry about {what}."), Rule("page", tool="page")))
    talk = Talk(script, tool("page", lambda _: "A colleague is on the way."))
    assert talk.instruct("Apologise for the delay") == "I am sorry about the delay."
    assert talk.instruct("Page somebody") == "A colleague is on the way."


def test_instructions_beyond_a_stand_in_are_never_read_out(talk: Talk) -> None:
    assert talk.instruct("Their balance is 12 euros, be subtle") == GREETING


def test_help_lists_what_the_rules_can_do(talk: Talk) -> None:
    words = talk.say("what can you do?")
    assert words == ("You can say, for example: “book a table for PEOPLE at TIME under NAME”, “when are you open”.")
    assert Talk(Script()).say("help") == STAND_IN


@pytest.mark.parametrize(
    "said",
    [
        "are you an AI?",
        "Are you a real person?",
        "who are you",
        "Hi, who am I talking to?",
        "am I speaking to a robot",
        "what are you exactly?",
        "are you human",
        "What model are you?",
    ],
)
def test_asked_what_it_is_it_says_so_whatever_the_rules(said: str) -> None:
    talk = Talk(Script(rules=(Rule("{anything}", "I am Ada, a person."),), small_talk=False))
    assert talk.say(said) == STAND_IN


@pytest.mark.parametrize("said", ["what are you selling?", "are you a florist?", "who are you waiting for"])
def test_other_questions_are_not_mistaken_for_that_one(said: str) -> None:
    assert Talk(Script()).say(said) in FALLBACK


def test_small_talk_can_be_switched_off(talk: Talk) -> None:
    assert Talk(Script(fallback=("What?",), small_talk=False)).say("hello") == "What?"
    assert talk.say("hello") not in FALLBACK


def test_what_was_said_last_is_repeated_on_request(talk: Talk) -> None:
    talk.say("when are you open")
    assert talk.say("sorry?") == "From noon to ten."


def test_the_same_words_are_not_said_twice_in_a_row() -> None:
    talk = Talk(Script(fallback=("One?", "Two?")))
    said = [talk.say("gibberish") for _ in range(6)]
    assert all(first != second for first, second in pairwise(said))


def test_the_seed_chooses_among_replies_and_chooses_the_same_again() -> None:
    rule = Rule("tell me", [f"fact {number}" for number in range(50)])
    first, again, other = (Talk(Script(rules=(rule,), seed=seed)) for seed in (1, 1, 2))
    told = [[talk.say("tell me") for _ in range(5)] for talk in (first, again, other)]
    assert told[0] == told[1] != told[2]


@given(
    said=st.lists(
        st.one_of(st.text(max_size=60), st.sampled_from(["book", "two", "at 7pm", "Ada", "never mind"])), max_size=8
    )
)
def test_no_conversation_breaks_it(said: list[str]) -> None:
    talk = Talk(Script(rules=(TABLE, HOURS)), BOOK)
    for text in said:
        assert talk.say(text)
