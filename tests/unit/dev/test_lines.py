"""What agents print, as a person is to read it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from greenroom.dev._lines import MAX_LINE, Line, explain_exit, parse_line

pytestmark = pytest.mark.unit

DESK = Path("/srv/desk.py")


def test_a_line_of_livekit_agents_comes_apart() -> None:
    raw = (
        b"2026-11-20 12:39:13,608 - \x1b[32mINFO\x1b[0m livekit.agents - registered worker "
        b'\x1b[90m{"agent_name": "front-desk", "id": "AW_1"}\x1b[0m'
    )
    line = parse_line(raw)
    assert line == Line("registered worker", logging.INFO, "livekit.agents", {"agent_name": "front-desk", "id": "AW_1"})
    assert line.registered_as == "front-desk"


def test_a_line_without_fields_comes_apart() -> None:
    raw = b"2026-11-20 12:39:13,608 - \x1b[33mWARNING\x1b[0m my-app.sub - a - b \x1b[90m\x1b[0m"
    assert parse_line(raw) == Line("a - b", logging.WARNING, "my-app.sub")


def test_the_json_log_comes_apart() -> None:
    raw = b'{"message": "hello", "level": "ERROR", "name": "app", "pid": 1, "room": "r", "code.line.number": 3}'
    assert parse_line(raw) == Line("hello", logging.ERROR, "app", {"room": "r"})


@pytest.mark.parametrize(
    "raw",
    [
        b"just a print",
        b'{"not": "a log line"}',
        b"{broken json",
        b"2026-11-20 12:39:13,608 - LOUD app - unknown level",
        b"2026-11-20 - INFO app - no time",
    ],
)
def test_everything_else_is_text(raw: bytes) -> None:
    assert parse_line(raw) == Line(raw.decode())


def test_terminal_control_and_bad_encoding_do_not_pass() -> None:
    assert parse_line(b"\x1b[31mred\x1b[0m \x1b]0;title\x07\xff\r").message == "red \N{REPLACEMENT CHARACTER}"


def test_an_endless_line_is_cut() -> None:
    assert len(parse_line(b"x" * MAX_LINE * 2).message) == MAX_LINE


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (Line("registered worker", logger="livekit.agents", fields={"agent_name": ""}), ""),
        (Line("registered worker", logger="livekit.agents"), ""),
        (Line("registered worker"), None),
        (Line("registered", logger="livekit.agents"), None),
    ],
)
def test_only_livekit_agents_says_that_it_is_registered(line: Line, name: str | None) -> None:
    assert line.registered_as == name


@pytest.mark.parametrize(
    ("line", "routine"),
    [
        (Line("process initialized", logger="livekit.agents"), True),
        (
            Line(
                "no warmed process available for job, waiting for one to be created", logging.WARNING, "livekit.agents"
            ),
            True,
        ),
        (Line("failed to connect", logging.WARNING, "livekit.agents"), False),
        (Line("hello", logger="app"), False),
        (Line("a print"), False),
    ],
)
def test_the_ordinary_doings_of_livekit_agents_are_detail(line: Line, routine: bool) -> None:
    assert line.is_routine is routine


TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/lib/python3/runpy.py", line 198, in _run_module_as_main
    return _run_code(code)
  File "/srv/desk.py", line 12, in <module>
    from livekit.plugins import silero
  File "/srv/lib/other.py", line 3, in load
    raise thing
""".splitlines()


@pytest.mark.parametrize(
    ("code", "tail", "said"),
    [
        (0, [], "stopped with exit code 0"),
        (3, ["bye"], "stopped with exit code 3"),
        (-9, ["bye"], "killed by signal 9"),
        (
            1,
            [*TRACEBACK, "NameError: name 'x' is not defined"],
            ":12: NameError: name 'x' is not defined (exit code 1)",
        ),
        (
            1,
            [*TRACEBACK, "ModuleNotFoundError: No module named 'livekit.plugins'"],
            ":12: ModuleNotFoundError: No module named 'livekit.plugins' (exit code 1). "
            "Run: pip install livekit-plugins-silero",
        ),
        (
            1,
            [*TRACEBACK, "ModuleNotFoundError: No module named 'livekit.plugins.turn_detector'"],
            ":12: ModuleNotFoundError: No module named 'livekit.plugins.turn_detector' (exit code 1). "
            "Run: pip install livekit-plugins-turn-detector",
        ),
        (
            1,
            ["livekit.agents._exceptions.CLIError: Could not find AgentServer in module, try to define"],
            "it defines no AgentServer (exit code 1). Define one at the top level of the file: server = AgentServer()",
        ),
        (
            1,
            [
                *("Traceback (most recent call last):", "RuntimeError: No RTC session entrypoint has been registered."),
                *("Traceback (most recent call last):", "AttributeError: no attribute '_close_future'"),
            ],
            "its AgentServer has no entrypoint (exit code 1). Decorate one with @server.rtc_session(",
        ),
        (
            1,
            [*TRACEBACK, "ValueError: first", "", "Traceback (most recent call last):", "KeyError: 'second'"],
            "KeyError",
        ),
        (1, [*TRACEBACK, "KeyboardInterrupt"], ":12: KeyboardInterrupt (exit code 1)"),
    ],
)
def test_an_end_is_explained_in_one_line(code: int, tail: list[str], said: str) -> None:
    reason = explain_exit(code, tail, {DESK}).reason
    assert reason.startswith(said if said[0] != ":" else f"{DESK}{said}")
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("tail", "whole"),
    [
        ([*TRACEBACK, "NameError: name 'x' is not defined"], True),
        (["CLIError: Could not find AgentServer in module"], True),
        (["ValueError: from somewhere else"], False),
        (["bye"], False),
    ],
)
def test_what_one_line_explains_needs_no_traceback(tail: list[str], whole: bool) -> None:
    assert explain_exit(1, tail, {DESK}).whole is whole
