"""``greenroom agents`` beside a server and a control plane, all three told by one file."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit import rtc

from greenroom.cli.token import room_config
from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.console import console_of
from support.following import PATIENCE, until
from support.program import greenroom, none_left, outcome
from support.session_stage import WAITER

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("control")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents" / "front_desk.py"
KEY = ApiKey(key="house", secret="a-secret-of-thirty-two-characters")
FILE = """
port = {server}
rtc_port = 0
observability_url = "http://127.0.0.1:{control}"

[keys.house]
secret = "a-secret-of-thirty-two-characters"

[control]
port = {control}

[pool]
paths = ["waiter.py"]
port = 0
shards = 1
heartbeat = 0.5
max_sessions = 3
"""


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def only(found: Any) -> Any:
    (pool,) = found["pools"]
    return pool["report"]


async def test_one_file_runs_all_three_and_a_drain_ends_the_pool_after_its_last_call(tmp_path: Path) -> None:
    server_port, control_port = free_ports()
    (tmp_path / "greenroom.toml").write_text(FILE.format(server=server_port, control=control_port))
    (tmp_path / "waiter.py").write_text(WAITER)
    marker = {"GREENROOM_TEST_MARK": str(tmp_path)}
    async with (
        greenroom("server", cwd=tmp_path) as server,
        greenroom("control", cwd=tmp_path) as control,
        greenroom("agents", cwd=tmp_path, environment=marker) as agents,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{control_port}", timeout=PATIENCE) as client,
    ):
        livekit = await server.ready()
        await control.ready()
        own = await agents.ready()
        await until(client, "/api/pools", lambda found: found["pools"] and only(found)["state"] == "serving")
        video = VideoGrant(room_join=True, room="lobby")
        token = mint(KEY, identity="ada", video=video, room_config=room_config(["waiter"]))
        room = rtc.Room()
        await room.connect(livekit.replace("http", "ws", 1), token)
        report = only(await until(client, "/api/pools", lambda found: only(found)["sessions"]))
        assert (report["max_sessions"], [each["agent"] for each in report["sessions"]]) == (3, ["waiter"])
        status, (line, *_) = await outcome("top", "--once", "--json", "--pool", own, cwd=tmp_path)
        (call,) = json.loads(line)["calls"]
        assert (status, call["agent"], call["tenant"], call["shard"]) == (0, "waiter", "default", 1)
        (instance,) = [each["instance"] for each in (await client.get("/api/pools")).json()["pools"]]
        assert (await client.post(f"/api/pools/{instance}/drain", json={})).status_code == 202
        await until(client, "/api/pools", lambda found: only(found)["state"] == "draining")
        await room.disconnect()
        assert await agents.ended() == 0
        found = await until(client, "/api/pools", lambda found: only(found)["state"] == "stopped")
        assert sum(only(found)["ended"].values()) == 1
        assert await control.interrupt() == 0
        _, lines = await outcome("log", "tail", "--after", "0", "--stream", "system:pools", "--json", cwd=tmp_path)
        told = [json.loads(line)["type"] for line in lines]
        assert told == ["pool.started", "pool.control", "pool.draining", "pool.stopped"]
    await none_left(f"GREENROOM_TEST_MARK={tmp_path}")


async def test_nothing_that_can_run_is_one_line_and_status_two(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from livekit.agents import AgentServer\nraise ValueError('no')\n")
    status, lines = await outcome("agents", "broken.py", "--url", "ws://127.0.0.1:1", cwd=tmp_path)
    assert status == 2
    assert any("broken.py:2" in line for line in lines)


async def test_livekits_console_finds_an_agent_at_its_end() -> None:
    async with console_of(sys.executable, "-m", "greenroom", "console", str(EXAMPLE)) as console:
        assert await console.spoken() == "Hello, this is the front desk of Harbour Clinic. How can I help you?"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--connect-addr", "127.0.0.1:1"], "No file is named"),
        (["nowhere.py", "--connect-addr", "127.0.0.1:1"], "'nowhere.py' is no file"),
        (["waiter.py", "--connect-addr", "here"], "--connect-addr 'here' is not HOST:PORT"),
    ],
)
async def test_what_is_no_console_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "waiter.py").write_text(WAITER)
    status, lines = await outcome("console", *arguments, cwd=tmp_path)
    assert status == 2
    assert said in lines[0]
