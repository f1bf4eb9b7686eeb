"""``greenroom sessions``, ``session``, ``why`` and ``export`` ask a control plane, as their user runs them."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom.eventlog import EventLog, NewEvent
from greenroom.link import DispatchPending, JobAssigned, JobInfo, RoomStarted
from greenroom.sessions import ChatHistory, ChatItem, SessionReport
from support.program import Program, greenroom, outcome

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("control")]

START = 1_795_000_000.0
KEY = ("--key", "house:a-secret-of-thirty-two-characters")


def job(number: int, **more: str) -> JobInfo:
    return JobInfo(id=f"AJ_call{number}", room=f"room-{number}", room_sid=f"RM_{number}", agent_name="desk", **more)


def said(number: int, text: str) -> ChatHistory:
    at = START + 3600 * number + 1
    return ChatHistory(items=(ChatItem(id=f"item-{text}", kind="message", role="user", text=text, at=at),))


def ended(number: int) -> SessionReport:
    at = START + 3600 * number
    return SessionReport(agent_name="desk", started_at=at, reported_at=at + 90, close_reason="user_initiated")


async def fill(log: EventLog) -> None:
    """Two calls, of which the later is live, and a job that waits."""
    for number in (1, 2):
        room = {"room": {"sid": f"RM_{number}", "name": f"room-{number}"}}
        began = START + 3600 * number
        await log.append(f"room:RM_{number}", [NewEvent(RoomStarted(message=room), began)])
        assigned = NewEvent(JobAssigned(job=job(number)), began)
        await log.append("system:workers", [assigned])
        await log.append(f"session:AJ_call{number}", [assigned, NewEvent(said(number, f"words {number}"), began)])
    await log.append("session:AJ_call1", [NewEvent(ended(1), START + 3690)])
    waits = job(3, why="all are full", fix="Start another worker")
    await log.append("system:workers", [NewEvent(DispatchPending(job=waits), START)])


class House:
    """A control plane over a log, and the log."""

    def __init__(self, path: Path, url: str, log: EventLog) -> None:
        self.path = path
        self.url = url
        self.log = log

    async def ask(self, *arguments: str, **environment: str) -> tuple[int, list[str]]:
        named = {"GREENROOM_URL": self.url, "TZ": "UTC", **environment}
        return await outcome(*arguments, cwd=self.path, environment=named)


@contextlib.asynccontextmanager
async def house(path: Path) -> AsyncIterator[House]:
    async with await EventLog.open(path / "data" / "log.db") as log:
        await fill(log)
        nowhere = ("--livekit", "ws://127.0.0.1:1", "--port", "0", "--data-dir", str(path / "data"), *KEY)
        async with greenroom("control", *nowhere, cwd=path) as control:
            yield House(path, await control.ready(), log)


async def test_calls_are_listed_shown_explained_and_taken_away(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        status, lines = await found.ask("sessions")
        assert status == 0
        assert [line.split()[0] for line in lines] == ["SESSION", "AJ_call2", "AJ_call1"]
        assert lines[2].split()[3:6] == ["desk", "room-1", "?"]
        _, (line,) = await found.ask("sessions", "--text", "words 1", "--json")
        assert [each["id"] for each in json.loads(line)["sessions"]] == ["AJ_call1"]
        _, lines = await found.ask("sessions", "--limit", "1")
        assert "there are more: add --after " in " ".join(lines)

        _, lines = await found.ask("session", "AJ_call1")
        assert lines[0] == "AJ_call1  ended"
        assert any(line.endswith("  user      words 1") for line in lines)
        assert "cost      unknown: nobody told what was used" in lines
        assert (await found.ask("session", "last"))[1][0] == "AJ_call2  live"
        assert (await found.ask("session", "AJ_call"))[1] == [
            "greenroom: Several sessions begin with 'AJ_call': AJ_call2, AJ_call1. Write more of the id"
        ]

        _, lines = await found.ask("why", "room-3")
        assert "'desk' is not there: its job waits, all are full" in lines[1]
        assert lines[2] == "Start another worker"
        _, (line,) = await found.ask("why", "room-1", "--json")
        assert json.loads(line)["answer"][0] == "'desk' is gone: its own program closed the session."

        status, lines = await found.ask("export", "AJ_call1")
        assert (status, lines[1]) == (0, "verified: 3 events chained without a gap")
        assert (tmp_path / "AJ_call1.tar.gz").is_file()
        status, lines = await found.ask("export", "AJ_call1")
        assert (status, lines) == (
            2,
            ["greenroom: 'AJ_call1.tar.gz' is there already. Name another file with --output"],
        )


async def test_a_live_call_is_followed_to_its_end(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        environment = {"GREENROOM_URL": found.url, "TZ": "UTC"}
        async with greenroom("session", "last", "--follow", cwd=tmp_path, environment=environment) as following:
            await following.line("user +words 2$")
            await found.log.append("session:AJ_call2", [NewEvent(said(2, "and more"))])
            await following.line("user +and more$")
            await found.log.append("session:AJ_call2", [NewEvent(ended(2))])
            assert await following.ended() == 0
            assert said_once(following, "words 2")


def said_once(program: Program, text: str) -> bool:
    return sum(text in line for line in program.lines) == 1


@pytest.mark.parametrize(
    "arguments", [("session", "AJ_none"), ("export", "AJ_none"), ("why", "nowhere"), ("sessions", "--outcome", "good")]
)
async def test_what_is_not_there_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    async with house(tmp_path) as found:
        status, lines = await found.ask(*arguments)
        assert (status, len(lines)) == (2, 1)


async def test_a_control_plane_elsewhere_asks_who_is_there(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        status, (line,) = await found.ask("sessions", "--token", "wrong")
        assert status == 2
        assert "asks who you are" in line
        assert "greenroom login --token" in line
        login = ("login", "--token", "--role", "read", "--url", found.url, *KEY)
        _, (token,) = await found.ask(*login)
        status, lines = await found.ask("sessions", GREENROOM_TOKEN=token)
        assert (status, len(lines)) == (0, 3)


async def test_nothing_there_says_what_to_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    status, lines = await outcome("sessions", "--url", f"http://127.0.0.1:{port}", cwd=tmp_path)
    assert (status, lines) == (
        2,
        [
            f"greenroom: Nothing listens at http://127.0.0.1:{port}. "
            "Start greenroom dev or greenroom control, or name one with --url"
        ],
    )


async def test_a_server_alone_is_no_control_plane(tmp_path: Path) -> None:
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as server:
        status, (line,) = await outcome("why", "lobby", "--url", await server.ready(), cwd=tmp_path)
        assert status == 2
        assert "is not Greenroom's control plane" in line
