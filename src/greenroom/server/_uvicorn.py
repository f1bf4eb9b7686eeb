"""uvicorn, cut to what a Greenroom server needs of it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import websockets.http11
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server

from greenroom.config import Limits
from greenroom.server._websocket import WebSocketProtocol

PING_INTERVAL: Final = 10.0
PING_TIMEOUT: Final = 20.0
_GRACE: Final = 3
_KEEP_ALIVE: Final = 75
# Beside the join request: the token, other query parameters, headers.
_HEAD_SLACK: Final = 128 * 1024


class HttpServer(Server):
    """Serves on sockets that are already open. Signals are the caller's business, and so is the log.

    :param on_ready: called once requests are answered.
    :param on_stop: awaited between closing the port and closing the connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        on_ready: Callable[[], None],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        head = limits.join_request + _HEAD_SLACK
        # The WebSocket parser reads the upgrade request again, by limits made for short lines.
        websockets.http11.MAX_LINE_LENGTH = head
        super().__init__(
            Config(
                app,
                interface="asgi3",
                loop="none",
                lifespan="off",
                http=_protocol(head),
                ws=WebSocketProtocol,
                # An application closes an oversized message with a reason of its own, so it must see it.
                ws_max_size=2 * max(limits.signal_message, limits.agent_message),
                ws_ping_interval=PING_INTERVAL,
                ws_ping_timeout=PING_TIMEOUT,
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Close the port, let the application say goodbye, close the connections."""
        for server in self.servers:
            server.close()
        await self._on_stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handlers alone."""
        yield


def _protocol(max_head: int) -> type[HttpToolsProtocol]:
    class BoundedHeadProtocol(HttpToolsProtocol):
        """HTTP/1.1 that refuses a request line and headers beyond ``max_head`` bytes: httptools has no limit."""

        _in_head = True
        _head = 0

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
                if self._head > max_head:
                    self.send_400_response("Request line and headers are too large")
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._in_head, self._head = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

    return BoundedHeadProtocol
