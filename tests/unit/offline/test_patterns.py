"""The pattern language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.offline._patterns import MAX_TEXT, PatternError, compile_pattern, normalise
from greenroom.offline._values import Value

pytestmark = pytest.mark.unit


def match(pattern: str | re.Pattern[str], said: str) -> dict[str, Value] | None:
    return compile_pattern(pattern).match(normalise(said))


TABLE = "book a table for {people:int} at {time}"


@pytest.mark.parametrize(
    ("pattern", "said", "slots"),
    [
        (TABLE, "book a table for 4 at 7pm", {"people": 4, "time": "19:00"}),
        (TABLE, "Could you BOOK a table, for four, at half past six please?", {"people": 4, "time": "18:30"}),
        (TABLE, "book a table for some at 7pm", None),
        ("book [a table] [for {people:int}]", "book", {}),
        ("book [a table] [for {people:int}]", "book for two", {"people": 2}),
        ("(book|reserve) {what}", "please reserve the blue room, thanks!", {"what": "the blue room"}),
        ("remind me to {what} [at {time}]", "remind me to call mum at 3pm", {"what": "call mum", "time": "15:00"}),
        ("remind me to {what} [at {time}]", "remind me to call mum", {"what": "call mum"}),
        ("pay {amount} to {name}", "pay $5.50 to Ada", {"amount": "$5.50", "name": "Ada"}),
        ("(for {people:int}|with {people:int} people)", "with 3 people", {"people": 3}),
        ("a {size:small|extra large} pizza", "A Extra Large pizza", {"size": "extra large"}),
        ("what's your check-in time", "Whats your check in time?", {}),
        ("what's new", "what’s new", {}),
        ("{name} speaking", "Ada Lovelace speaking", {"name": "Ada Lovelace"}),
        ("book for {name} [at {time}]", "book for Ada at three", {"name": "Ada", "time": "15:00"}),
        ("call {phone}", "call +1 (555) 010-9999 now", {"phone": "+1 (555) 010-9999"}),
        ("hi", "this", None),
        ("hello", "hello, I want a pizza", {}),
        ("^hello$", "hello, I want a pizza", None),
        ("^hello$", "Hello!", {}),
        ("^(yes|sure)$", "sure, please.", {}),
        ("^stop", "please stop", None),
        (re.compile(r"order (?P<number>\d+)"), "my order 17 is late", {"number": 17}),
        (re.compile(r"^(?P<what>\w+) is late"), "my order is late", None),
    ],
)
def test_a_pattern_matches_what_people_say(
    pattern: str | re.Pattern[str], said: str, slots: dict[str, Value] | None
) -> None:
    assert match(pattern, said) == slots


def test_a_slot_called_like_a_type_has_that_type() -> None:
    slots = compile_pattern("{name} {when:time} {colour}").slots
    assert {name: kind.name for name, kind in slots.items()} == {"name": "name", "when": "time", "colour": "text"}


def test_an_example_of_a_pattern_names_its_slots() -> None:
    assert compile_pattern("^(book|reserve) [a table] for {head_count:int}$").example == "book a table for HEAD COUNT"


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("book {people:crowd}", "unknown type 'crowd'"),
        ("book {1st}", "unreadable slot"),
        ("book {people", "bracket"),
        ("book [a table", "does not close"),
        ("book (a|b", "does not close"),
        ("book a]", "did not open"),
        ("book (a]", "does not close"),
        ("[please]", "would match anything"),
        ("  ", "would match anything"),
        ("(a|[b])", "would match anything"),
        ("{a:int} or {a:time}", "two types"),
    ],
)
def test_an_unreadable_pattern_is_refused_with_the_reason(pattern: str, complaint: str) -> None:
    with pytest.raises(PatternError, match=re.escape(complaint)):
        compile_pattern(pattern)


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    assert match("hello", "x " * MAX_TEXT + "hello") is None


def test_long_runs_of_punctuation_are_cut_before_matching() -> None:
    assert normalise("one" + "'" * 400 + "two, three") == "one'''two, three"


@given(said=st.text(max_size=200))
def test_no_text_breaks_a_pattern(said: str) -> None:
    for pattern in (TABLE, "remind me to {what} [at {time}] [on {day}]", "^[yes] {name} {phone} {email}$", "{number}"):
        found = match(pattern, said)
        assert found is None or isinstance(found, dict)


@given(pattern=st.text(alphabet="ab {}[]()|:^$int", max_size=30))
def test_a_pattern_is_compiled_or_refused(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    assert compiled.match("a b") is None or isinstance(compiled.match("a b"), dict)
