"""Who may use ``/api``: the Host, Origin and credential checks, and the headers of every answer.

A page on the web can make a browser send requests to a loopback address, directly or by rebinding
its own name to it. So the name in ``Host`` must be one of ours and, when the browser says where a
request comes from, it must be our own page.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenroom.config import is_loopback
from greenroom.control._responses import RefusedError, problem_response

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use ``/api``.

    :param bind: the address the application listens on.
    :param allowed_hosts: names, beside ``bind`` and loopback, by which browsers may reach it.
    :param api_token: a bearer token to ask for. Without one, loopback needs none and any other
        ``bind`` is closed.
    """

    bind: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    api_token: str = ""

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise :class:`RefusedError` unless a request with these (lower-case) headers may pass."""
        self._check_host(headers.get("host", ""))
        _check_origin(headers)
        self._check_credentials(headers.get("authorization", ""))

    def _check_host(self, host: str) -> None:
        name = split_host(host)[0]
        if is_loopback(name) or name in {self.bind.lower(), *map(str.lower, self.allowed_hosts)}:
            return
        # Only a DNS name can be rebound, so behind a wildcard address any IP address is one of ours.
        if _is_wildcard(self.bind) and _is_address(name):
            return
        raise RefusedError(
            403,
            "host_not_allowed",
            f"'{name}' is not a name of this server",
            fix="Open it by the address it listens on, or add the name to its allowed hosts",
        )

    def _check_credentials(self, authorization: str) -> None:
        if not self.api_token:
            if is_loopback(self.bind):
                return
            raise RefusedError(
                401,
                "login_required",
                "This server is reachable from other machines and no API token is configured",
                fix="Start it with an API token, or bind it to 127.0.0.1",
                headers={"WWW-Authenticate": "Bearer"},
            )
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.api_token.encode()):
            raise RefusedError(
                401,
                "api_token_invalid",
                "The API token is wrong" if authorization else "This server asks for its API token",
                fix="Send it as Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )


def split_host(host: str) -> tuple[str, str]:
    """Split ``name:port`` or ``[address]:port``; the port is ``""`` when absent."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name.lower(), rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name.lower().removesuffix("."), port


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin")
    same = headers.get("sec-fetch-site", "none") in {"same-origin", "none"}
    if origin is not None:
        scheme, _, rest = origin.partition("://")
        same = same and _with_port(rest, scheme) == _with_port(headers.get("host", ""), scheme)
    if not same:
        raise RefusedError(
            403,
            "origin_not_allowed",
            "A page of another site may not use this API",
            fix="Use the page that this server serves, or a program that sends no Origin header",
        )


def _with_port(host: str, scheme: str) -> tuple[str, str]:
    name, port = split_host(host)
    return name, port or _DEFAULT_PORTS.get(scheme, "")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_wildcard(bind: str) -> bool:
    return not bind or (_is_address(bind) and ipaddress.ip_address(bind).is_unspecified)


class ApiGuard:
    """ASGI middleware that lets only requests through that ``access`` allows."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal as a problem, else hand the request on."""
        if scope["type"] == "http":
            try:
                self._access.check(Headers(scope=scope))
            except RefusedError as error:
                await problem_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class SecurityHeaders:
    """ASGI middleware that adds to every HTTP answer what tells a browser to stay strict."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and add headers that the answer does not set itself."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_policy(connect: Sequence[str], nonce: str) -> str:
    """Return the Content-Security-Policy of the page.

    :param connect: origins, beside its own, that the page may connect to: the LiveKit server's.
    :param nonce: allows the one style element that React Aria inserts at run time.
    """
    allowed = " ".join(("'self'", *connect))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "media-src 'self' blob:",
            "worker-src 'self'",
            "manifest-src 'self'",
            f"connect-src {allowed}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
