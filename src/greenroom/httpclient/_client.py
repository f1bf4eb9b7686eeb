"""An HTTP/1.1 client over asyncio streams: keep-alive, TLS, bounds on time and size, no redirects, no proxies.

The parser is the one the server has loaded anyway, so that a program which only answers requests pays
nothing for being able to make one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec

from greenroom.httpclient._addresses import Reach, reachable
from greenroom.httpclient._errors import HttpError

MAX_RESPONSE: Final = 16 * 1024 * 1024
# Below what servers keep a silent connection for: uvicorn 75 s here, Go's and nginx's defaults more.
_IDLE: Final = 45.0
_MAX_IDLE: Final = 8
_CHUNK: Final = 64 * 1024
_FIRST_FINAL_STATUS: Final = 200


class Response(msgspec.Struct, frozen=True):
    """An answer. Header names are lower case; of a repeated header the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return self.status // 100 == 2


class HttpClient:
    """Makes requests and keeps connections for the next ones.

    A request over a kept connection that turns out to be dead before anything of an answer came is made
    again, once. Close with :meth:`aclose`.

    :param reach: where connections may go.
    :param timeout: seconds for one whole request, connecting included.
    """

    def __init__(
        self, *, reach: Reach = Reach.ANYWHERE, timeout: float = 10.0, max_response: int = MAX_RESPONSE
    ) -> None:
        self._reach = reach
        self._timeout = timeout
        self._max_response = max_response
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109 - one bound around several steps
    ) -> Response:
        """Make a request and return the whole answer, whatever its status.

        :raises HttpError: when no answer came within the time, or one that is too large.
        """
        parts = _split(url)
        head = _head(method, parts, {**(headers or {}), "content-length": str(len(body))})
        seconds = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(parts, head + body)
        except TimeoutError:
            raise HttpError(
                f"{parts.hostname} did not answer within {seconds:g} s", context={"host": parts.hostname}
            ) from None
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            raise HttpError(f"Cannot reach {parts.netloc}: {why}", context={"host": parts.hostname}) from None

    async def aclose(self) -> None:
        """Close the connections that are kept. Idempotent; requests under way end by themselves."""
        self._closed = True
        kept = [connection for idle in self._idle.values() for connection in idle]
        self._idle.clear()
        for connection in kept:
            await connection.aclose()

    async def _exchange(self, parts: SplitResult, request: bytes) -> Response:
        origin = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        kept = self._take(origin)
        if kept is not None:
            try:
                return await self._over(kept, origin, request)
            except _NothingCameError:
                pass
        return await self._over(await self._connect(origin), origin, request)

    async def _over(self, connection: _Connection, origin: tuple[str, str, int], request: bytes) -> Response:
        reusable = False
        try:
            response, reusable = await connection.exchange(request, self._max_response)
        finally:
            idle = self._idle.setdefault(origin, [])
            if reusable and not self._closed and len(idle) < _MAX_IDLE:
                connection.kept_at = time.monotonic()
                idle.append(connection)
            else:
                connection.abort()
        return response

    def _take(self, origin: tuple[str, str, int]) -> _Connection | None:
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_alive and time.monotonic() - connection.kept_at < _IDLE:
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: tuple[str, str, int]) -> _Connection:
        scheme, host, port = origin
        failure: OSError | None = None
        for family, address in await reachable(host, port, self._reach):
            try:
                reader, writer = await asyncio.open_connection(
                    address,
                    port,
                    family=family,
                    ssl=_tls() if scheme == "https" else None,
                    server_hostname=host if scheme == "https" else None,
                )
            except OSError as error:
                failure = error
            else:
                return _Connection(reader, writer)
        raise failure or ConnectionError("no address")


class _NothingCameError(ConnectionError):
    """The connection was closed before anything of the answer came."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.kept_at = 0.0

    @property
    def is_alive(self) -> bool:
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def exchange(self, request: bytes, limit: int) -> tuple[Response, bool]:
        """Return the answer and whether the connection may be used again."""
        answer = _Answer()
        received = 0
        try:
            self._writer.write(request)
            await self._writer.drain()
            while not answer.complete and (data := await self._reader.read(_CHUNK)):
                received += len(data)
                if received > limit:
                    raise HttpError(f"The answer is larger than {limit} bytes")
                answer.parser.feed_data(data)
        except ConnectionError:
            if received:
                raise
        except httptools.HttpParserError as error:
            raise HttpError(f"The answer is not HTTP: {error}") from None
        if not received:
            raise _NothingCameError("the connection was closed before an answer came")
        if not (answer.complete or answer.ends_with_connection):
            raise ConnectionError("the connection was closed in the middle of the answer")
        return answer.response, answer.complete and answer.keep_alive

    def abort(self) -> None:
        self._writer.transport.abort()

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self._writer.wait_closed()


class _Answer:
    """What the parser has found so far; its callbacks."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.complete = False
        self.keep_alive = False
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    @property
    def response(self) -> Response:
        return Response(self._status, self._headers, bytes(self._body))

    @property
    def ends_with_connection(self) -> bool:
        return bool(self._status) and not {"content-length", "transfer-encoding"} & self._headers.keys()

    def on_message_begin(self) -> None:
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self._status = status if status >= _FIRST_FINAL_STATUS else 0

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        # What comes before it, such as 100 Continue, is a message of its own.
        self.complete = bool(self._status)
        self.keep_alive = self.parser.should_keep_alive()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = url.isascii() and parts.scheme in {"http", "https"} and parts.hostname and not parts.username
        if usable and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise HttpError("The address of a request is not an HTTP URL", fix="Write it as http://HOST:PORT/PATH")


def _head(method: str, parts: SplitResult, headers: Mapping[str, str]) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(ord(letter) < 32 or ord(letter) == 127 for line in lines for letter in line):
        raise HttpError("A request has a control character in its address or a header")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
