"""WebSockets under hostile input: uvicorn's protocol, with its rough edges taken off.

Bytes from a client must never become a traceback in the log, and a client that stops reading must not
keep its socket for ever.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode

_log = logging.getLogger("greenroom.server")

LINGER: Final = 5.0

# uvicorn logs every request line as information, and LiveKit's hold tokens.
_quiet = logging.getLogger("greenroom.server.websocket")
_quiet.setLevel(logging.WARNING)

_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection, from the upgrade request on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = _quiet

    def data_received(self, data: bytes) -> None:
        """Take bytes; whatever they are, only this connection suffers."""
        try:
            super().data_received(data)
        except (ValueError, AssertionError, LookupError, ProtocolError) as error:
            _log.info("websocket refused", extra={"why": type(error).__name__})
            self._end()

    async def send(self, message: ASGISendEvent) -> None:
        """Pass on what the application answers; a complete refusal is an answer too, not a forgotten one."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def handle_parser_exception(self) -> None:
        """Close after bytes that are not WebSocket, or not even the request for one."""
        if self.conn.close_sent is None:
            self._end()
        else:
            super().handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Hand a message to the application; text that is not UTF-8 ends the connection."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def run_asgi(self) -> None:
        """Run the application; a socket that cannot be flushed afterwards is given up."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER, self.transport.abort)

    def _end(self) -> None:
        if not self.handshake_initiated:
            self.transport.write(_BAD_REQUEST)
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})
        self.transport.close()
