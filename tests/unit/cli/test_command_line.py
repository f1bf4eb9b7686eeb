"""The command line: what is understood, what is refused, what stays unimported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.cli import main
from greenroom.cli._app import app
from greenroom.cli._options import ServerOptions
from greenroom.cli._quick import quick_server

pytestmark = pytest.mark.unit

_words = st.text("abc019.:/*=,", min_size=1, max_size=8)
_option = st.one_of(
    st.tuples(st.sampled_from(["--bind", "--key", "--node-ip", "--data-dir", "--config"]), _words),
    st.tuples(st.sampled_from(["--port", "--rtc-port"]), st.integers(0, 99_999).map(str)),
)


def by_the_library(arguments: Sequence[str]) -> ServerOptions:
    _, bound, _ = app.parse_args(list(arguments), print_error=False, exit_on_error=False)
    options = bound.arguments.get("options")
    assert isinstance(options, ServerOptions | None)
    return options or ServerOptions()


@given(st.lists(st.one_of(_option.map(list), _option.map("=".join).map(lambda text: [text]), st.just(["--verbose"]))))
def test_the_quick_reader_understands_what_the_library_would(options: list[list[str]]) -> None:
    arguments = ["server", *(word for option in options for word in option)]
    quick = quick_server(arguments)
    if quick is not None:
        assert quick == by_the_library(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dev"],
        ["server", "--help"],
        ["server", "extra"],
        ["server", "--port"],
        ["server", "--port", "many"],
        ["server", "--bind", "--port", "1"],
        ["server", "--verbose=false"],
        ["server", "--unknown", "1"],
    ],
)
def test_the_quick_reader_leaves_everything_else_to_the_library(arguments: list[str]) -> None:
    assert quick_server(arguments) is None


def test_plain_options_are_read_quickly() -> None:
    arguments = ["server", "--port", "0", "--rtc-port=1", "--key", "a:b", "--key=c:d=", "--data-dir", "/x", "--verbose"]
    assert quick_server(arguments) == ServerOptions(
        port=0, rtc_port=1, key=["a:b", "c:d="], data_dir=Path("/x"), verbose=True
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["nonsense"],
            'greenroom: Unknown command "nonsense". Available commands: dev, server, control, agents, start, ',
        ),
        (["token", "--grant"], "See: greenroom token --help"),
        (["token"], "greenroom: The token would allow nothing. Pass --room NAME to join, or --grant NAME"),
        (["dev", "a", "b"], "See: greenroom dev --help"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    written = capsys.readouterr()
    assert said in written.err
    assert written.err.count("\n") == 1
    assert written.out == ""


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        (
            "from greenroom.cli import main; main(['--help'])",
            {"starlette", "uvicorn", "google.protobuf", "asyncio", "livekit"},
        ),
        (
            "import greenroom.cli.server as command, greenroom.server._serve as serving\n"
            "with command._without_cryptography(): from greenroom.server import Server\n"
            "serving.defer_uvicorn(); import greenroom.server._uvicorn",
            {
                "cryptography",
                "cyclopts",
                "rich",
                "click",
                "watchfiles",
                "livekit.api",
                "livekit.rtc",
                "livekit.agents",
                "aiohttp",
            },
        ),
    ],
)
def test_a_command_imports_only_what_it_needs(program: str, unwanted: set[str]) -> None:
    code = f"{program}\nimport sys; print(*(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) & unwanted == set()
