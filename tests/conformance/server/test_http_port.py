"""The HTTP port itself: opened early, bounded, and closed only after the last word."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

import httpx
import pytest
import websockets
from starlette.types import Receive, Scope, Send

from greenroom.config import Limits
from greenroom.errors import ConfigError, PortInUseError
from greenroom.server import check_udp_port, listen, url_of
from support.serving import serve_app

pytestmark = pytest.mark.conformance


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with the length of its query; keep a WebSocket until the client leaves."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(len(scope["query_string"])).encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": str(len(scope["query_string"]))})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def test_an_open_port_takes_connections_before_anything_serves_it() -> None:
    with listen("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname(), timeout=5):
        assert url_of(opened) == f"http://127.0.0.1:{opened.getsockname()[1]}"


def test_a_port_that_is_taken_names_the_option_that_changes_it() -> None:
    with listen("127.0.0.1", 0) as opened, pytest.raises(PortInUseError, match=r"TCP port \d+ .* with --port"):
        listen("127.0.0.1", opened.getsockname()[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(PortInUseError, match=r"UDP port \d+ .* with --rtc-port"):
            check_udp_port("127.0.0.1", holder.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://127.0.0.1:"), ("::", "http://[::1]:")]
)
def test_a_port_open_to_everybody_is_reached_over_loopback_here(host: str, url: str) -> None:
    with listen(host, 0) as opened:
        assert url_of(opened).startswith(url)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_this_machine_s_is_refused(host: str) -> None:
    with pytest.raises(ConfigError):
        listen(host, 0)


async def test_a_long_request_line_passes_and_an_endless_one_does_not() -> None:
    limits = Limits(join_request=60_000)
    async with serve_app(echo, limits=limits) as url, httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/?{'q' * 60_000}")).text == "60000"
        async with websockets.connect(f"{url.replace('http', 'ws')}/?{'q' * 60_000}") as connection:
            assert await connection.recv() == "60000"
        assert await _answer_to(url, b"GET /?" + b"q" * 2_000_000) in {b"", b"HTTP/1.1 400 Bad Request\r\n"}


async def _answer_to(url: str, request: bytes) -> bytes:
    """Return the first line of the answer; empty when the connection was closed under the request."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(30):
            writer.write(request)
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_the_application_has_the_last_word_before_connections_close() -> None:
    sockets: list[Send] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        sockets.append(send)
        await echo(scope, receive, send)

    async def goodbye() -> None:
        await sockets[0]({"type": "websocket.send", "text": "goodbye"})

    async with serve_app(keep, on_stop=goodbye) as url:
        connection = await websockets.connect(f"{url.replace('http', 'ws')}/")
        assert await connection.recv() == "0"
        listening = asyncio.create_task(_listen_to_the_end(connection))
    assert await listening == ["goodbye"]


async def _listen_to_the_end(connection: websockets.ClientConnection) -> list[str | bytes]:
    said = []
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in connection:
            said.append(message)  # noqa: PERF401 - the end of the connection must not lose them
    return said


def test_uvicorn_is_whole_for_who_asks_it() -> None:
    program = (
        "import sys; from greenroom.server._light import defer_uvicorn; defer_uvicorn(); import uvicorn.config;"
        "print('click' in sys.modules, end=' '); import uvicorn; print(callable(uvicorn.run), uvicorn.__version__ > '')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
