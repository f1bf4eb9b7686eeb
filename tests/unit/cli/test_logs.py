"""One event is one readable line."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from greenroom.cli._logs import LineFormatter

pytestmark = pytest.mark.unit


def line(
    message: str,
    *arguments: object,
    name: str = "greenroom.server.room",
    level: int = logging.INFO,
    colour: bool = False,
    **extra: object,
) -> str:
    """Return what is written, without the clock."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(LineFormatter(colour=colour))
    handler.handle(logging.getLogger(name).makeRecord(name, level, "file.py", 1, message, arguments, None, extra=extra))
    return out.getvalue()[9:].rstrip("\n") if not colour else out.getvalue()


def test_the_part_of_greenroom_stands_before_what_happened() -> None:
    assert line("room started", room="RM_1", participants=2) == "server   room started  room=RM_1 participants=2"


def test_a_source_can_be_named_and_fields_can_be_anything() -> None:
    assert line("hi", source="front_desk", fields={"message": "m", "name": "n"}) == "front_desk hi  message=m name=n"


def test_only_what_is_not_ordinary_names_its_level() -> None:
    assert line("careful", level=logging.WARNING) == "server   WARNING careful"
    assert line("detail", level=logging.DEBUG) == "server   DEBUG detail"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        (0.25, "0.25"),
        (3.0, "3"),
        (True, "true"),
        (None, "null"),
        ({"a": 1}, '"{\\"a\\":1}"'),
        (["a.py", "b.py"], "a.py,b.py"),
        (["two words"], '"[\\"two words\\"]"'),
        ([], "[]"),
        ("line\nbreak", '"line\\nbreak"'),
    ],
)
def test_values_can_be_told_apart(value: object, written: str) -> None:
    assert line("it", value=value) == f"server   it  value={written}"


def test_nothing_that_is_logged_breaks_the_line_or_moves_the_cursor() -> None:
    said = line("one\ntwo\x1b[2J\u2028three", source="a\rb", field="\x1b[31m")
    assert "\n" not in said
    assert "\x1b" not in said
    assert said.startswith("a\\rb     one\\ntwo\\x1b[2J\\u2028three")


def test_a_defect_shows_its_traceback_below() -> None:
    try:
        int("inside")
    except ValueError:
        said = LineFormatter().format(
            logging.LogRecord("greenroom.server", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
        )
    assert said.splitlines()[0].endswith("ERROR failed")
    assert said.splitlines()[-1].startswith("ValueError: invalid literal")


def test_a_stack_of_another_process_stands_below_and_passes_for_no_line_of_its_own() -> None:
    said = line("blocked", shard=1, stack="File a, line 1\n12:00:00 server   forged\x1b[2J")
    assert said.splitlines() == [
        "server   blocked  shard=1",
        "    File a, line 1",
        "    12:00:00 server   forged\\x1b[2J",
    ]


def test_columns_line_up_with_the_longest_source_so_far() -> None:
    formatter = LineFormatter()
    record = logging.makeLogRecord({"name": "x", "msg": "it", "levelno": logging.INFO})
    record.source = "a_rather_long_name"
    first = formatter.format(record)
    record.source = "short"
    assert formatter.format(record).index("it") == first.index("it")


def test_colour_marks_source_and_trouble() -> None:
    said = line("broken", level=logging.ERROR, colour=True)
    assert "\x1b[31mERROR broken\x1b[0m" in said
