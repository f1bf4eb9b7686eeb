"""``greenroom logs`` finds the lines of one call; what is logged in JSON can be found that way."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from greenroom.cli import main
from greenroom.cli._logs import JsonFormatter, configure_logging

pytestmark = pytest.mark.unit

LINES = [
    {"message": "hello", "level": "INFO", "name": "pool", "timestamp": "2026-11-20T10:00:00+00:00", "session": "AJ_1"},
    {"message": "other", "level": "INFO", "name": "pool", "timestamp": "2026-11-20T10:00:01+00:00", "session": "AJ_2"},
    {"message": "from livekit 100%", "level": "WARNING", "name": "livekit.agents", "job_id": "AJ_1", "tenant": "acme"},
    {"message": "from openrtc", "level": "INFO", "session_id": "AJ_1", "exc_info": "Traceback\nValueError: no"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("ready http://x\n{broken\n" + "".join(f"{json.dumps(line)}\n" for line in LINES))
    return path


def test_the_lines_of_a_session_are_printed_whoever_wrote_them(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(file), "--session", "AJ_1"]) == 0
    out = capsys.readouterr().out
    assert [word in out for word in ("hello", "from livekit 100%", "from openrtc (ValueError: no)", "other")] == [
        True,
        True,
        True,
        False,
    ]
    assert "WARNING" in out


def test_several_conditions_hold_together_and_lines_stay_as_they_are(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", str(file), "--session", "AJ_1", "--tenant", "acme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == LINES[2]


def test_a_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "nowhere"]) == 2
    assert "Cannot read 'nowhere'" in capsys.readouterr().err


def test_a_line_in_json_has_everything_and_fields_take_no_names_of_its_own() -> None:
    record = logging.makeLogRecord(
        {"name": "greenroom.pool", "levelname": "INFO", "msg": "a %s", "args": ("b",), "created": 0.0, "shard": 3}
    )
    record.fields = {"message": "m", "path": Path("/x")}
    assert json.loads(JsonFormatter().format(record)) == {
        "message": "a b",
        "level": "INFO",
        "name": "greenroom.pool",
        "timestamp": "1970-01-01T00:00:00.000+00:00",
        "shard": 3,
        "path": "/x",
    }


def test_a_program_can_log_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    out = io.StringIO()
    configure_logging(level="WARNING", form="json", stream=out)
    logging.getLogger("x").info("not this")
    try:
        int("no")
    except ValueError:
        logging.getLogger("x").exception("this")
    line = json.loads(out.getvalue())
    assert line["message"] == "this"
    assert "ValueError: invalid literal" in line["exc_info"]
