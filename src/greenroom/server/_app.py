"""The embedded server as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from greenroom._media import EngineConfig, MediaEngine
from greenroom.config import ServerConfig
from greenroom.server._http import LiveKitPaths
from greenroom.server.agents import AgentManager
from greenroom.server.room import RoomManager
from greenroom.server.signal import deny, signal_routes
from greenroom.server.twirp import agent_dispatch_service, room_service, twirp_routes, unconfigured_services

if TYPE_CHECKING:
    from greenroom.server.webhooks import WebhookSender


class Server:
    """A LiveKit-compatible server, to be served by whoever holds the HTTP port.

    :param engine: moves the media; the native one by default.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self, config: ServerConfig, engine: MediaEngine | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        config.validate()
        self.config = config
        self.engine = _native_engine(config) if engine is None else engine
        self.rooms = RoomManager(config, self.engine, clock)
        self.agents = AgentManager(config, self.rooms, clock)
        self._webhooks = _webhooks(self, clock) if config.webhook.urls else None
        #: The ASGI application. It answers nothing useful before :meth:`start`.
        self.app: ASGIApp = LiveKitPaths(Router(self._routes(), redirect_slashes=False, default=_not_found))

    def _routes(self) -> list[BaseRoute]:
        services = [
            room_service(self.rooms),
            agent_dispatch_service(self.rooms, self.agents),
            *unconfigured_services(),
        ]
        return [
            Route("/", _health, methods=["GET"]),
            *signal_routes(self.rooms),
            *self.agents.routes(),
            *twirp_routes(services, self.config.keys, self.config.limits),
        ]

    async def start(self) -> None:
        """Start the media engine. Raises :class:`PortInUseError` when its UDP port is taken."""
        await self.engine.start(self.rooms.on_events)
        self.rooms.start()

    async def stop(self) -> None:
        """Send everybody and every worker away and release the media port. Idempotent."""
        await self.rooms.aclose()
        await self.agents.aclose()
        if self._webhooks is not None:
            await self._webhooks.aclose()
        await self.engine.stop()


def _native_engine(config: ServerConfig) -> MediaEngine:
    # A server over another engine does without the native core.
    from greenroom._media import Str0mEngine  # noqa: PLC0415

    return Str0mEngine(
        EngineConfig(
            bind=config.bind,
            port=config.rtc_port,
            addresses=config.node_ip,
            max_message=config.limits.data_packet,
        )
    )


def _webhooks(server: Server, clock: Callable[[], float]) -> WebhookSender:
    # A server that tells nobody need not know how.
    from greenroom.server.webhooks import WebhookSender  # noqa: PLC0415

    return WebhookSender(server.config, server.rooms, clock)


async def _health(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("OK")


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await deny(send, 404, "")
    else:
        await PlainTextResponse("404 page not found", 404)(scope, receive, send)
