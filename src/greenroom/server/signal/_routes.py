"""The signalling endpoints (``docs/protocol.md``, "Endpoints")."""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from greenroom.errors import GreenroomError
from greenroom.server.room import RoomManager
from greenroom.server.signal._access import RefusedError, admit
from greenroom.server.signal._outbox import Pace
from greenroom.server.signal._session import SignalSession

_log = logging.getLogger("greenroom.server")


def signal_routes(rooms: RoomManager) -> list[BaseRoute]:
    """Return ``/rtc/v1`` and ``/rtc`` with their validation, over ``rooms``."""
    routes: list[BaseRoute] = []
    pace = Pace()
    for path, single in (("/rtc/v1", True), ("/rtc", False)):
        routes += [
            WebSocketRoute(path, SignalEndpoint(rooms, pace, single=single)),
            Route(path, _not_an_upgrade),
            Route(f"{path}/validate", ValidateEndpoint(rooms, single=single), methods=["GET"]),
        ]
    return routes


async def _not_an_upgrade(_request: Request) -> Response:
    return Response(status_code=404)


class SignalEndpoint:
    """Answers WebSocket upgrades: with a session, or with an HTTP status and a body that says why not.

    :param single: whether the path is for single peer connection only.
    """

    def __init__(self, rooms: RoomManager, pace: Pace, *, single: bool) -> None:
        self._rooms = rooms
        self._pace = pace
        self._single = single

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()
        session = SignalSession(self._rooms, receive, send, self._pace)
        try:
            admission = admit(self._rooms, _headers(scope), _query(scope), single=self._single)
            if admission.request.reconnect:
                await session.refuse_resume()
            else:
                await session.run(admission)
        except RefusedError as refusal:
            _log.info("join refused", extra={"status": refusal.status, "why": refusal.message})
            await deny(send, refusal.status, refusal.message)
        except GreenroomError as error:
            _log.warning("join failed", extra={"code": error.code, "why": error.message})
            await deny(send, 503, error.message)


class ValidateEndpoint:
    """Says over plain HTTP what the upgrade would say, for clients that cannot read its status."""

    def __init__(self, rooms: RoomManager, *, single: bool) -> None:
        self._rooms = rooms
        self._single = single

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            admit(self._rooms, _headers(scope), _query(scope), single=self._single)
        except RefusedError as refusal:
            response = PlainTextResponse(refusal.message, refusal.validation)
        else:
            response = PlainTextResponse("success")
        await response(scope, receive, send)


async def deny(send: Send, status: int, body: str) -> None:
    """Answer a WebSocket upgrade with an HTTP response (the ``websocket.http.response`` extension)."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"access-control-allow-origin", b"*")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body.encode()})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _query(scope: Scope) -> dict[str, str]:
    # The first value of a name counts, as in Go.
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return dict(reversed(pairs))
