"""``greenroom server`` as its user runs it."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from pathlib import Path

import pytest
from livekit import rtc

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.program import greenroom, names_in, outcome

pytestmark = pytest.mark.e2e

ANY_PORT = ("--port", "0", "--rtc-port", "0")


async def test_says_ready_once_and_answers_there(tmp_path: Path) -> None:
    async with greenroom("server", *ANY_PORT, cwd=tmp_path) as program:
        url = await program.ready()
        with await asyncio.to_thread(urllib.request.urlopen, url) as response:
            assert response.read() == b"OK"
        assert await program.interrupt() == 0
        assert [line for line in program.lines if line.startswith("ready ")] == [f"ready {url}"]
    assert names_in(tmp_path) == []


async def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    async with greenroom("server", *ANY_PORT, cwd=tmp_path) as program:
        await program.ready()
        program.process.terminate()
        assert await program.ended() == 0
        assert not [line for line in program.lines if "Traceback" in line]


async def test_everybody_is_told_that_the_server_shuts_down(tmp_path: Path) -> None:
    token = mint(ApiKey(key="devkey", secret="secret"), identity="ada", video=VideoGrant(room_join=True, room="lobby"))
    reason: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with greenroom("server", *ANY_PORT, cwd=tmp_path) as program:
        url = await program.ready()
        room = rtc.Room()
        room.on("disconnected", reason.set_result)
        await room.connect(url.replace("http", "ws"), token)
        assert await program.interrupt() == 0
        assert await reason == rtc.DisconnectReason.SERVER_SHUTDOWN
        assert not [line for line in program.lines if "Traceback" in line]


async def test_a_taken_http_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        status, lines = await outcome("server", "--port", str(port), "--rtc-port", "0", cwd=tmp_path)
    assert status == 2
    assert lines == [
        f"greenroom: TCP port {port} on 127.0.0.1 is already in use. Stop the program that holds it, "
        "or choose another with --port (0 picks any free port)"
    ]


async def test_a_taken_media_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        status, lines = await outcome("server", "--port", "0", "--rtc-port", str(port), cwd=tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert f"UDP port {port} on 127.0.0.1 is already in use" in lines[0]
    assert "--rtc-port" in lines[0]


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
async def test_the_development_key_stays_on_loopback(tmp_path: Path, bind: str) -> None:
    status, lines = await outcome("server", *ANY_PORT, "--bind", bind, cwd=tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"greenroom: Refusing to listen on {bind} with the development key. Pass --key")


async def test_listens_everywhere_with_a_key_of_ones_own(tmp_path: Path) -> None:
    options = ("--bind", "0.0.0.0", "--key", "mine:" + "s" * 32)
    async with greenroom("server", *ANY_PORT, *options, cwd=tmp_path) as program:
        assert (await program.ready()).startswith("http://127.0.0.1:")
        assert await program.interrupt() == 0
        assert not [line for line in program.lines if "s" * 32 in line]


async def test_an_address_of_another_machine_is_one_line(tmp_path: Path) -> None:
    options = ("--bind", "192.0.2.1", "--key", "mine:" + "s" * 32)
    status, lines = await outcome("server", *ANY_PORT, *options, cwd=tmp_path)
    assert (status, lines) == (
        2,
        ["greenroom: No interface of this machine has the address 192.0.2.1. Use --bind 127.0.0.1"],
    )


async def test_keys_and_ports_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "greenroom.toml").write_text('port = 0\nrtc_port = 0\n[keys.front]\nsecret = "of the front desk"\n')
    async with greenroom("server", cwd=tmp_path) as program:
        await program.ready()
        await program.line("serving .*keys=front$")
        assert await program.interrupt() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("server", "--prot", "0"), "Unknown option: --prot. Did you mean --port. See: greenroom server --help"),
        (("server", "--port", "many"), "Invalid value for --port"),
        (("server", "--port", "70000"), "--port 70000 is not a port. Use 1 to 65535, or 0 for any free one"),
        (("server", "--key", "nosecret"), "--key takes KEY:SECRET. For example: --key devkey:secret"),
        (("sever",), 'Unknown command "sever". Did you mean "server"'),
        (("server", "--config", "nowhere.toml"), "Configuration file 'nowhere.toml' does not exist. Check --config"),
    ],
)
async def test_wrong_use_is_one_line_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    status, lines = await outcome(*arguments, cwd=tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("greenroom: " + said)
