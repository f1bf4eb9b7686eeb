"""What a slot can hold."""

from __future__ import annotations

import pytest

from greenroom.offline._values import TYPES, Value, choice

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("3 pm", "15:00"),
        ("3pm", "15:00"),
        ("3 p.m.", "15:00"),
        ("3:30", "15:30"),
        ("03:30", "03:30"),
        ("15:30", "15:30"),
        ("12 am", "00:00"),
        ("12 pm", "12:00"),
        ("noon", "12:00"),
        ("midnight", "00:00"),
        ("half past three", "15:30"),
        ("quarter to four", "15:45"),
        ("quarter past 10", "10:15"),
        ("three thirty pm", "15:30"),
        ("nine", "09:00"),
        ("seven in the evening", "19:00"),
        ("seven in the morning", "07:00"),
        ("11 o'clock", "11:00"),
        ("25", None),
        ("10:75", None),
    ],
)
def test_a_time_is_read_as_hours_and_minutes(said: str, value: Value | None) -> None:
    answer = TYPES["time"].answer(said)
    assert (answer[0] if answer else None) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("tomorrow", "tomorrow"),
        ("the day after tomorrow", "day after tomorrow"),
        ("tonight", "today"),
        ("on FRIDAY", "Friday"),
        ("next friday", "next Friday"),
        ("this monday", "Monday"),
        ("2030-05-03", "2030-05-03"),
        ("the 3rd of May", "3 May"),
        ("May 3rd", "3 May"),
        ("some day", None),
    ],
)
def test_a_day_keeps_the_callers_words_in_one_spelling(said: str, value: Value | None) -> None:
    answer = TYPES["day"].answer(said)
    assert (answer[0] if answer else None) == value


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        ("int", "four of us", 4),
        ("int", "twenty-five", 25),
        ("int", "forty two", 42),
        ("int", "112", 112),
        ("int", "plenty", None),
        ("number", "-2.5 degrees", -2.5),
        ("number", "seven", 7),
        ("name", "my name is ada lovelace, please", "Ada Lovelace"),
        ("name", "It's Jean-Luc O'Neil", "Jean-Luc O'Neil"),
        ("name", "no", None),
        ("name", "I don't know", None),
        ("name", "12", None),
        ("email", "write to ada@example.org please", "ada@example.org"),
        ("phone", "it's +44 20 7946 0000.", "+44 20 7946 0000"),
        ("yesno", "Yes, please", True),
        ("yesno", "nope", False),
        ("yesno", "perhaps", None),
        ("text", "a tooth that hurts, please.", "a tooth that hurts"),
        ("text", " ?", None),
        ("word", "blue one", "blue"),
    ],
)
def test_each_type_reads_an_answer(kind: str, said: str, value: Value | None) -> None:
    answer = TYPES[kind].answer(said)
    found = answer[0] if answer else None
    assert found == value
    assert type(found) is type(value)


def test_a_choice_keeps_the_spelling_of_its_options() -> None:
    sizes = choice(("Small", "Extra Large"))
    assert sizes.answer("an EXTRA LARGE one") == ("Extra Large", (3, 14))
    assert sizes.answer("medium") is None
    assert sizes.question.replace("{label}", "size") == "Which size: Small or Extra Large?"


@pytest.mark.parametrize(("said", "found"), [("at 3", True), ("around 4 pm", True), ("3 of us", False), ("9:30", True)])
def test_a_time_speaks_for_itself_only_where_it_cannot_be_a_count(said: str, found: bool) -> None:
    assert (TYPES["time"].find(said) is not None) is found
