"""``greenroom control`` beside a separate ``greenroom server`` and a stock agent: the whole record of a call."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit import rtc

from greenroom.cli.token import room_config
from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.following import PATIENCE, until
from support.program import Program, greenroom, outcome
from support.session_stage import WAITER
from support.stock_worker import stock_worker

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("control")]

KEY = ApiKey(key="house", secret="a-secret-of-thirty-two-characters")


@dataclass
class House:
    """A server, a control plane and a worker, each a program of its own."""

    server: str
    control: httpx.AsyncClient
    program: Program
    path: Path

    async def until(self, path: str, condition: Any) -> Any:
        """Follow the events until what is at ``path`` fits."""
        return await until(self.control, path, condition)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def house(path: Path) -> AsyncIterator[House]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    key = ("--key", f"{KEY.key}:{KEY.secret}")
    telling = ("--observability-url", url, "--webhook", f"{url}/webhooks/livekit")
    async with greenroom("server", "--port", "0", "--rtc-port", "0", *key, *telling, cwd=path) as server:
        livekit = await server.ready()
        beside = ("--livekit", livekit, "--port", str(port), *key, "--data-dir", str(path / "data"))
        async with (
            greenroom("control", *beside, cwd=path) as program,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client,
        ):
            assert await program.ready() == url
            async with stock_worker(
                livekit, path, key=KEY, source=WAITER, extra={"LIVEKIT_OBSERVABILITY_URL": url}
            ) as worker:
                await worker.line("registered worker")
                yield House(livekit, client, program, path)


@contextlib.asynccontextmanager
async def caller(url: str) -> AsyncIterator[rtc.Room]:
    video = VideoGrant(room_join=True, room="lobby")
    token = mint(KEY, identity="ada", name="Ada", video=video, room_config=room_config(["waiter"]))
    room = rtc.Room()
    await room.connect(url.replace("http", "ws", 1), token)
    try:
        yield room
    finally:
        await room.disconnect()


def has_begun(found: dict[str, Any]) -> bool:
    return any(each["agent"]["state"] not in {"", "initializing"} for each in found["sessions"])


async def test_a_call_of_a_stock_agent_is_recorded_steered_and_proved(tmp_path: Path) -> None:
    async with house(tmp_path) as stage:
        client = stage.control
        async with caller(stage.server):
            session = (await stage.until("/api/sessions", has_begun))["sessions"][0]["id"]
            workers = (await client.get("/api/workers")).json()
            assert [worker["agent_name"] for worker in workers["workers"]] == ["waiter"]
            assert [job["id"] for job in workers["jobs"]] == [session]
            act = f"/api/sessions/{session}"
            typed = await client.post(f"{act}/type", json={"text": "book a table for four"})
            assert "You have a table for 4." in json.dumps(typed.json())
            heard = (await client.post(f"{act}/listen")).json()
            assert heard["room"] == "lobby"
            assert (await client.post(f"{act}/end", json={})).status_code == 204
        done = await stage.until(
            act, lambda found: found["summary"]["status"] == "ended" and len(found["telemetry"]) >= 3 and found["cost"]
        )
        summary = done["summary"]
        assert summary["agent"]["name"] == "waiter"
        assert summary["room"]["name"] == "lobby"
        assert "ada" in [person["identity"] for person in summary["participants"]]
        (turn,) = [turn for turn in done["turns"] if turn["tools"]]
        assert (turn["user"]["text"], turn["tools"][0]["name"]) == ("book a table for four", "book_table")
        assert [act["verb"] for act in done["controls"]] == ["type", "listen", "end"]
        assert {act["by"] for act in done["controls"]} == {"local"}
        assert (await client.get("/api/workers")).json()["failing_since"] is None
        here = {"GREENROOM_URL": str(client.base_url)}
        _, lines = await outcome("why", "lobby", cwd=tmp_path, environment=here)
        assert lines[1] == "'waiter' is gone: local ended the call."
        status, lines = await outcome("export", session, cwd=tmp_path, environment=here)
        assert (status, lines[-1].split(":")[0]) == (0, "verified")
        assert await stage.program.interrupt() == 0
        status, lines = await outcome("log", "verify", "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
        assert (status, lines[-1]) == (0, "verified")


async def test_the_control_plane_waits_for_its_livekit_server(tmp_path: Path) -> None:
    port = free_port()
    async with greenroom("control", "--livekit", f"ws://127.0.0.1:{port}", "--port", "0", cwd=tmp_path) as control:
        url = await control.ready()
        await control.line("workers cannot be watched")
        async with greenroom("server", "--port", str(port), "--rtc-port", "0", cwd=tmp_path) as server:
            await server.ready()
            await control.line("workers are watched again")
            async with httpx.AsyncClient(base_url=url) as client:
                found = (await client.get("/api/workers")).json()
            assert (found["failing_since"], found["complete"]) == (None, True)
        assert await control.interrupt() == 0


async def test_one_directory_has_one_control_plane(tmp_path: Path) -> None:
    nowhere = ("--livekit", "ws://127.0.0.1:1", "--port", "0", "--data-dir", str(tmp_path / "data"))
    async with greenroom("control", *nowhere, cwd=tmp_path) as control:
        await control.ready()
        status, lines = await outcome("control", *nowhere, cwd=tmp_path)
    assert status == 2
    assert lines == [
        f"greenroom: Another Greenroom uses the directory '{tmp_path / 'data'}'. Name another with --data-dir"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bind", "0.0.0.0"), "Refusing to listen on 0.0.0.0 with the development key"),
        (("--observe", "often"), "--observe 'often' is unknown. It is one of never, watched, sampled, always"),
        (("--livekit", "ftp://x"), "--livekit 'ftp://x' is not an address"),
        (("--port", "70000"), "--port 70000 is not a port"),
        (("--log-key", "missing"), "Cannot read the key missing"),
    ],
)
async def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    status, lines = await outcome("control", *arguments, cwd=tmp_path)
    assert (status, len(lines)) == (2, 1)
    assert said in lines[0]


async def test_an_address_printed_by_login_opens_the_api_from_elsewhere(tmp_path: Path) -> None:
    key = ("--key", f"{KEY.key}:{KEY.secret}")
    options = ("--livekit", "ws://127.0.0.1:1", "--port", "0", "--allowed-host", "green.example", *key)
    async with greenroom("control", *options, cwd=tmp_path) as control:
        url = await control.ready()
        _, lines = await outcome("login", "--role", "read", "--name", "ada", "--url", url, *key, cwd=tmp_path)
        async with httpx.AsyncClient(base_url=url, headers={"host": "green.example"}) as client:
            assert (await client.get("/api/me")).json()["code"] == "login_required"
            opened = await client.get(lines[0].removeprefix(url))
            cookie = opened.headers["set-cookie"].partition(";")[0]
            me = (await client.get("/api/me", headers={"cookie": cookie})).json()
            assert (opened.status_code, me["name"], me["role"]) == (303, "ada", "read")
