"""What every request to the LiveKit paths passes through: path repair and CORS."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALLOW_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_EXPOSE: Final = (b"access-control-expose-headers", b"*")
_METHODS: Final = (b"access-control-allow-methods", b"OPTIONS, HEAD, GET, POST, PATCH, DELETE")
_MAX_AGE: Final = (b"access-control-max-age", b"86400")


class LiveKitPaths:
    """Collapses a leading ``//``, which clients with a trailing slash in their URL send, and allows any origin.

    LiveKit's paths authenticate by token alone, never by cookie, so every page may call them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] in {"http", "websocket"} and scope["path"].startswith("//"):
            scope = {**scope, "path": "/" + scope["path"].lstrip("/")}
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _preflight(scope, send)
        else:
            await self._app(scope, receive, _with_cors(send))


def _with_cors(send: Send) -> Send:
    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _ALLOW_ORIGIN, _EXPOSE]}
        await send(message)

    return send_with_cors


async def _preflight(scope: Scope, send: Send) -> None:
    # "*" does not cover Authorization, so what is asked for is granted by name.
    wanted = next((value for name, value in scope["headers"] if name == b"access-control-request-headers"), b"*")
    headers = [_ALLOW_ORIGIN, _METHODS, _MAX_AGE, (b"access-control-allow-headers", wanted)]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
