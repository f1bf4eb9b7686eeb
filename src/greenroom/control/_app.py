"""The control-plane application: it mounts the page and ``/api``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount, Route

from greenroom.config import ApiKey, Limits
from greenroom.control._agents import AgentListing, agent_routes
from greenroom.control._api import guarded
from greenroom.control._console import STATIC, console_routes
from greenroom.control._guard import Access, ApiGuard, SecurityHeaders
from greenroom.control._openapi import openapi_route
from greenroom.control._responses import on_greenroom_error, on_http_error
from greenroom.control._tokens import token_routes
from greenroom.errors import ConfigError, GreenroomError

if TYPE_CHECKING:
    from greenroom.control._plane import Plane

_WEBSOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def control_app(
    livekit_url: str,
    key: ApiKey,
    *,
    agents: Callable[[], Sequence[AgentListing]] = tuple,
    access: Access | None = None,
    same_origin: bool = False,
    limits: Limits | None = None,
    plane: Plane | None = None,
    static: Path = STATIC,
) -> Starlette:
    """Return the application that serves the page at ``/`` and Greenroom's API under ``/api``.

    :param livekit_url: ``ws``, ``wss``, ``http`` or ``https`` URL of the LiveKit server.
    :param key: signs the room tokens it hands out, within its policy.
    :param agents: what can be called, as the embedding process knows it; asked for each request.
    :param access: who may use ``/api``; by default who is on this machine.
    :param plane: the running control plane, whose nouns are mounted, too. Opened with the same access.
    :param same_origin: browsers reach LiveKit where they reached the page, not at ``livekit_url``.
    :raises ConfigError: when ``livekit_url`` is not such a URL.
    """
    url = websocket_url(livekit_url)

    def url_for(request: Request) -> str:
        if not same_origin:
            return url
        return f"{_WEBSOCKET[request.url.scheme]}://{request.headers['host']}"

    access = access or Access(keys=(key,))
    api: list[Route] = [*agent_routes(agents), *token_routes(key, url_for, limits or Limits())]
    if plane is not None:
        api += plane.api_routes()
    api.append(openapi_route(api))
    openorca = [_openorca(plane, access)] if plane is not None else []
    return Starlette(
        routes=[
            Mount("/api", routes=guarded(api), middleware=[Middleware(ApiGuard, access=access)]),
            *openorca,
            *(plane.root_routes() if plane is not None else ()),
            *console_routes(() if same_origin else _origins(url), static),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={GreenroomError: on_greenroom_error, HTTPException: on_http_error},
    )


def _openorca(plane: Plane, access: Access) -> Mount:
    guard = Middleware(ApiGuard, access=access, query_token=True)
    return Mount("/openorca", routes=guarded(plane.openorca_routes()), middleware=[guard])


def websocket_url(livekit_url: str) -> str:
    """Return the URL in the form that LiveKit clients are given. Raises :class:`ConfigError`."""
    parts = urlsplit(livekit_url)
    scheme = _WEBSOCKET.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ConfigError(f"'{livekit_url}' is not a LiveKit URL", fix="For example: ws://127.0.0.1:7880")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _origins(url: str) -> tuple[str, str]:
    # LiveKit's client opens a WebSocket and asks the same server over HTTP why that failed.
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}"
