"""``greenroom log`` as it is used beside a Greenroom that writes."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from greenroom.cli._app import app
from greenroom.eventlog import EventLog, SigningKey
from support.logs import said
from support.program import greenroom, outcome

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
KEY = b"k" * 40


async def write(directory: Path) -> None:
    async with await EventLog.open(directory / ".greenroom" / "log.db", key=SigningKey(KEY)) as log:
        for number in range(30):
            await log.append(f"session:AJ_{number % 3}", [said(f"line {number}")])


async def test_a_sound_log_verifies_with_its_key(tmp_path: Path) -> None:
    await write(tmp_path)
    (tmp_path / "log.key").write_bytes(KEY)
    status, lines = await outcome("log", "verify", "--key-file", "log.key", cwd=tmp_path)
    assert status == 0
    assert lines[0] == "events       30 in 3 streams, 0 of them erased"
    assert lines[2] == "checkpoints  1, 1 signatures checked; they cover 30 of 30 positions"
    assert lines[-1] == "verified"
    status, lines = await outcome("log", "verify", "session:AJ_1", "--json", cwd=tmp_path)
    assert status == 0
    assert json.loads(lines[0])["events"] == 10


async def test_damage_is_named_and_is_the_exit_status(tmp_path: Path) -> None:
    await write(tmp_path)
    with closing(sqlite3.connect(tmp_path / ".greenroom" / "log.db", isolation_level=None)) as connection:
        connection.execute("UPDATE payloads SET payload = x'7b7d' WHERE position = 5")
    status, lines = await outcome("log", "verify", cwd=tmp_path)
    assert status == 1
    assert "PROBLEM      session:AJ_1 2 (position 5): the payload does not match its digest" in lines
    assert lines[-1] == "NOT AS IT WAS WRITTEN"


async def test_the_tail_shows_what_is_written_meanwhile(tmp_path: Path) -> None:
    await write(tmp_path)
    async with greenroom("log", "tail", "--follow", "--stream", "session:AJ_0", "--json", cwd=tmp_path) as program:
        assert json.loads(await program.line("line 27"))["seq"] == 10
        await write(tmp_path)
        assert json.loads(await program.line("line 27", after=8))["seq"] == 20
    status, lines = await outcome("log", "tail", cwd=tmp_path)
    assert (status, len(lines)) == (0, 20)
    assert re.match(r" +60 .* session:AJ_2 20  test\.said  .*line 29", lines[-1])


async def test_a_stream_is_erased_once_it_is_confirmed(tmp_path: Path) -> None:
    await write(tmp_path)
    arguments = ("log", "erase", "session:AJ_0", "--reason", "request 17")
    status, lines = await outcome(*arguments, cwd=tmp_path)
    assert (status, lines) == (2, ["greenroom: Erasing cannot be undone. Pass --yes to erase without being asked"])
    status, lines = await outcome(*arguments, "--yes", cwd=tmp_path)
    assert (status, lines) == (0, ["erased 10 events and 0 blobs of session:AJ_0"])
    assert (await outcome("log", "verify", cwd=tmp_path))[0] == 0
    assert b"line 27" not in b"".join(path.read_bytes() for path in (tmp_path / ".greenroom").glob("log.db*"))


@pytest.mark.parametrize("command", [("verify",), ("tail",), ("erase", "session:x", "--reason", "x", "--yes")])
async def test_where_there_is_no_log_it_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    status, lines = await outcome("log", *command, cwd=tmp_path)
    assert status == 2
    assert lines == ["greenroom: There is no log at .greenroom/log.db. Name the data directory with --data-dir"]


def test_every_option_stands_in_the_page() -> None:
    for verb in ("verify", "tail", "erase"):
        arguments = app["log"][verb].assemble_argument_collection(default_parameter=app.default_parameter)
        for name in (name for argument in arguments for name in argument.names if name.startswith("-")):
            assert f"`{name}`" in PAGE, (verb, name)
