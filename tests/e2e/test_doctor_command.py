"""``greenroom doctor`` as its user runs it: a server in order, and each fault it names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from support.agent_worker import AgentWorker, registered
from support.load import lone_server
from support.program import PATIENCE, greenroom
from support.sdk import Caller
from support.sound import tone

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT_", "GREENROOM_"))}
Edit = Callable[[bytes], bytes]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A server in order."""
    async with lone_server(tmp_path_factory.mktemp("server")) as (_, address):
        yield address


async def doctor(*arguments: str, cwd: Path, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status and the checks by name."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", "doctor", "--json", *arguments),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert out, err.decode()
    report = json.loads(out)
    assert report["ok"] is (process.returncode == 0)
    return process.returncode, {check["check"]: check for check in report["checks"]}


async def fault(*arguments: str, cwd: Path, **environment: str) -> dict[str, Any]:
    """Return the check that failed; it is the last."""
    status, checks = await doctor(*arguments, cwd=cwd, **environment)
    *before, last = checks.values()
    assert (status, last["ok"]) == (1, False)
    assert all(check["ok"] for check in before)
    assert last["fix"]
    return last


def websocket(address: str) -> str:
    return address.replace("http", "ws", 1)


@contextlib.asynccontextmanager
async def relay(address: str, host: str = "127.0.0.1", edit: Edit = bytes, **options: Any) -> AsyncIterator[str]:
    """Stand before a server; ``edit`` changes what it answers. Yields ``http://HOST:PORT``."""
    server = urlsplit(address)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: Edit) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(change(data))
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(pump(reader, inner_writer, bytes), pump(inner_reader, writer, edit))

    async with await asyncio.start_server(serve, host, 0, **options) as listening:
        yield f"http://{host}:{listening.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def server_at(node_ip: str, cwd: Path, *options: str) -> AsyncIterator[str]:
    """Run a server that tells its clients to send to ``node_ip``; yields its ``http://HOST:PORT``."""
    ports = ("--port", "0", "--rtc-port", "0")
    async with greenroom("server", *ports, "--node-ip", node_ip, *options, cwd=cwd) as program:
        yield await program.ready()
        await program.interrupt()


async def test_a_server_in_order_passes_every_check(url: str, tmp_path: Path) -> None:
    status, checks = await doctor("--url", url, cwd=tmp_path)
    assert status == 0
    assert [*checks] == ["server", "clock", "key", "signal", "media", "audio", "agent"]
    assert re.search(r"heard \d+ packets of its own audio", checks["audio"]["message"])
    assert checks["agent"]["ok"] is None


async def test_a_person_reads_a_line_for_each_check_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "greenroom", "doctor", "--url", f"ws://127.0.0.1:{port}"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "GREENROOM_RTC_PORT": str(port)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    first, second = done.stdout.decode().splitlines()
    assert re.fullmatch(rf"✘ server  Nothing listens at 127\.0\.0\.1:{port} \(\d+ ms\)", first)
    assert second == f"    fix: Start one: greenroom dev --port {port}, or check --url"


async def test_a_taken_udp_port_is_why_no_server_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free, socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port, udp = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        found = await fault("--url", f"ws://127.0.0.1:{port}", cwd=tmp_path, GREENROOM_RTC_PORT=str(udp))
    assert (found["check"], found["code"]) == ("server", "port_taken")
    assert f"UDP port {udp}" in found["message"]
    assert "--rtc-port" in found["fix"]


@pytest.mark.parametrize(
    ("key", "message"),
    [("devkey:wrong", "The secret is not the one"), ("stranger:secret", "The server has no API key 'stranger'")],
)
async def test_a_wrong_key_is_told_from_a_wrong_secret(url: str, tmp_path: Path, key: str, message: str) -> None:
    found = await fault("--url", url, "--key", key, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("key", "wrong_key")
    assert message in found["message"]


async def test_wss_where_ws_is_spoken_is_named_with_the_address_to_use(url: str, tmp_path: Path) -> None:
    found = await fault("--url", url.replace("http", "wss", 1), cwd=tmp_path)
    assert found["code"] == "not_encrypted"
    assert websocket(url) in found["fix"]


async def test_ws_where_wss_is_spoken_is_named_with_the_address_to_use(url: str, tmp_path: Path) -> None:
    names = ("-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "1", "-nodes")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *names]
    await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    async with relay(url, ssl=context) as address:
        found = await fault("--url", address, cwd=tmp_path)
        assert found["code"] == "encrypted"
        secure = address.replace("http", "wss", 1)
        assert secure in found["fix"]
        assert (await fault("--url", secure, cwd=tmp_path))["code"] == "certificate"


async def test_a_clock_ten_minutes_off_is_named(url: str, tmp_path: Path) -> None:
    late = format_datetime(datetime.now(UTC) - timedelta(seconds=610), usegmt=True).encode()

    def in_the_past(answer: bytes) -> bytes:
        return re.sub(rb"(?i)(\ndate: )[^\r]*", rb"\g<1>" + late, answer)

    async with relay(url, edit=in_the_past) as address:
        found = await fault("--url", address, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("clock", "clock_skew")
    assert re.search(r"clock is 6\d\d s ahead of the server's", found["message"])


async def test_what_is_no_livekit_server_is_named(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        found = await fault("--url", f"ws://127.0.0.1:{port}", cwd=tmp_path)
    assert (found["check"], found["code"]) == ("key", "not_livekit")


async def test_a_proxy_that_passes_no_websocket_is_suspected(url: str, tmp_path: Path) -> None:
    def refuse(answer: bytes) -> bytes:
        switched = answer.startswith(b"HTTP/1.1 101")
        return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n" if switched else answer

    async with relay(url, edit=refuse) as address:
        found = await fault("--url", address, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("signal", "no_websocket")
    assert "502" in found["message"]


async def test_an_address_that_only_the_server_believes_in_is_told_from_a_closed_port(tmp_path: Path) -> None:
    async with server_at("127.0.0.2", tmp_path) as address:
        found = await fault("--url", address, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("media", "node_address")
    assert "127.0.0.2" in found["message"]
    assert "--node-ip 127.0.0.1" in found["fix"]


async def test_a_udp_port_that_answers_nowhere_is_called_blocked(tmp_path: Path) -> None:
    async with server_at("127.0.0.2", tmp_path) as address, relay(address, "127.0.0.2") as beside:
        found = await fault("--url", beside, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("media", "udp_blocked")
    assert re.search(r"ufw allow \d+/udp", found["fix"])


async def test_a_udp_port_of_the_other_ip_version_is_named(tmp_path: Path) -> None:
    async with server_at("::1", tmp_path, "--bind", "::1") as address, relay(address) as beside:
        found = await fault("--url", beside, cwd=tmp_path)
    assert (found["check"], found["code"]) == ("media", "family")


async def test_an_agent_is_called_and_its_answer_told(url: str, tmp_path: Path) -> None:
    async def speak(worker: AgentWorker) -> None:
        caller = await joined(worker, url)
        await caller.me.send_text("Good day.", topic="lk.transcription")

    async with registered(url, "greeter") as worker, doing(speak(worker)):
        status, checks = await doctor("--url", url, "--agent", "greeter", cwd=tmp_path)
    assert status == 0
    assert 'answered by text ("Good day.")' in checks["agent"]["message"]
    assert checks["record"]["ok"] is None
    assert "agents.enable_user_data_recording: true" in checks["record"]["message"]


async def test_an_agent_that_waits_to_be_spoken_to_is_spoken_to(url: str, tmp_path: Path) -> None:
    async def repeat(worker: AgentWorker) -> None:
        caller, heard = Caller(), asyncio.get_running_loop().create_future()
        caller.room.register_text_stream_handler("lk.chat", lambda reader, _: heard.set_result(reader))
        await caller.connect(url, (await worker.assignment()).token)
        text = await (await heard).read_all()
        await caller.me.send_text(f"You said: {text}", topic="lk.transcription")

    async with registered(url, "parrot") as worker, doing(repeat(worker)):
        status, checks = await doctor("--url", url, "--agent", "parrot", "--timeout", "5", cwd=tmp_path)
    assert status == 0
    assert "You said: Hello." in checks["agent"]["message"]


async def test_an_agent_that_only_speaks_is_heard(url: str, tmp_path: Path) -> None:
    async def hum(worker: AgentWorker) -> None:
        caller = await joined(worker, url)
        async with tone(440) as track:
            await caller.me.publish_track(track)
            await caller.event("disconnected")

    async with registered(url, "hummer") as worker, doing(hum(worker)):
        status, checks = await doctor("--url", url, "--agent", "hummer", cwd=tmp_path)
    assert status == 0
    assert checks["agent"]["message"].endswith("answered by voice")


async def test_an_agent_that_joins_and_stays_silent_is_named(url: str, tmp_path: Path) -> None:
    async def sulk(worker: AgentWorker) -> None:
        await joined(worker, url)

    async with registered(url, "mute") as worker, doing(sulk(worker)):
        found = await fault("--url", url, "--agent", "mute", "--timeout", "3", cwd=tmp_path)
    assert (found["check"], found["code"]) == ("agent", "agent_silent")


async def test_a_missing_agent_is_told_with_those_that_are_there(url: str, tmp_path: Path) -> None:
    found = await fault("--url", url, "--agent", "nobody", "--timeout", "1", cwd=tmp_path)
    assert found["code"] == "no_agent"
    assert "no agent worker is connected" in found["message"]
    async with registered(url, "somebody"):
        found = await fault("--url", url, "--agent", "nobody", "--timeout", "1", cwd=tmp_path)
    assert "only 'somebody'" in found["message"]


async def joined(worker: AgentWorker, url: str) -> Caller:
    """Join as the agent of the next job."""
    return await Caller().connect(url, (await worker.assignment()).token)


@contextlib.asynccontextmanager
async def doing(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
