"""A very small HTTP/1.1 server, for probes and scrapers: short requests, one for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias

import msgspec

from greenroom.config import is_loopback
from greenroom.errors import ConfigError, PortInUseError

_MAX_HEAD: Final = 16 * 1024
_WITHIN: Final = 10.0
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request. Header names are lower case; ``peer`` is who asks."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str

    @property
    def is_local(self) -> bool:
        """Whether it comes from this machine, and from no page of another place that a browser shows."""
        host = _host_of(self.headers.get("host", ""))
        origin = self.headers.get("origin")
        return is_loopback(self.peer) and (is_loopback(host) or _is_address(host)) and origin is None


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer."""

    status: int = 200
    body: bytes = b""
    kind: str = TEXT


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Listens on one port.

    :param routes: by path; each answers every method that it knows.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. ``port`` 0 is any free one.

        :raises PortInUseError: when another program listens there.
        :raises ConfigError: when nobody can.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD)
        except OSError as error:
            if "in use" in (error.strerror or str(error)):
                raise PortInUseError(host, port, protocol="TCP", option="--port") from None
            raise ConfigError(f"Cannot listen on {host}:{port}: {error.strerror}", fix="Use another address") from None
        found, number = self._server.sockets[0].getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found, found)  # noqa: S104 - compared, not bound
        self.url = f"http://[{local}]:{number}" if ":" in local else f"http://{local}:{number}"

    async def close(self) -> None:
        """Close the port and what is open on it. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with asyncio.timeout(_WITHIN):
                request = await _read(reader, writer)
                response = (
                    Response(status=400, body=b"not a request\n") if request is None else await self._answer(request)
                )
                _write(writer, response, head=request is not None and request.method == "HEAD")
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception as error:
            return Response(status=500, body=f"{type(error).__name__}\n".encode())


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.strip().lower()] = value.strip()
    peer = writer.get_extra_info("peername")
    return Request(
        method=words[0],
        path=words[1].partition("?")[0],
        headers=headers,
        peer=peer[0] if isinstance(peer, tuple) else "",
    )


def _write(writer: asyncio.StreamWriter, response: Response, *, head: bool) -> None:
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"content-type: {response.kind}",
        f"content-length: {len(response.body)}",
        "cache-control: no-store",
        "connection: close",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head else response.body))


def _host_of(value: str) -> str:
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
