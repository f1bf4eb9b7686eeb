"""What does not need the log does not load it, and who declares events loads no database."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import greenroom.cli._quick, greenroom.cli.server, greenroom.server", ("greenroom.eventlog", "sqlite3")),
        ("import greenroom.eventlog", ("sqlite3", "livekit", "starlette", "uvicorn")),
    ],
)
def test_importing_loads_no_more_than_is_needed(program: str, absent: tuple[str, ...]) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print([name for name in {absent!r} if name in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "[]"
