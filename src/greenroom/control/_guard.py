"""Who may use ``/api``, and as whom: the Host, Origin and credential checks, and the headers of every answer.

A page on the web can make a browser send requests to a loopback address, directly or by rebinding
its own name to it. So the name in ``Host`` must be one of ours and, when the browser says where a
request comes from, it must be our own page.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenroom.config import ApiKey, is_loopback
from greenroom.control._responses import RefusedError, problem_response
from greenroom.errors import TokenError
from greenroom.grants import Operator, verify_operator

COOKIE: Final = "greenroom_session"
LOCAL: Final = Operator(name="local", role="admin")
# What reverse proxies add.
_PROXY: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use ``/api``, and as whom.

    :param bind: the address the application listens on.
    :param allowed_hosts: names, beside ``bind`` and loopback, by which browsers may reach it.
    :param api_token: a bearer token of an administrator, beside those that the keys sign.
    :param keys: the API keys that operators' tokens are signed with.

    A program or browser on this machine needs no credentials while the application listens on loopback alone and
    is asked for by a loopback name: by any other name somebody else's request may come through a proxy.
    """

    bind: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    api_token: str = ""
    keys: tuple[ApiKey, ...] = ()

    def check(self, headers: Mapping[str, str], now: float | None = None, *, token: str = "") -> Operator:
        """Return who a request with these (lower-case) headers is from. Raises :class:`RefusedError`.

        :param token: a program's bearer token that came otherwise, for want of a header.
        """
        self.check_host(headers.get("host", ""))
        _check_origin(headers)
        if token and "authorization" not in headers:
            return self._bearer(f"Bearer {token}", now)
        return self._operator(headers, now)

    def check_host(self, host: str) -> None:
        """Raise :class:`RefusedError` unless the application may be asked for by this name."""
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

    def _operator(self, headers: Mapping[str, str], now: float | None) -> Operator:
        authorization = headers.get("authorization", "")
        if authorization:
            return self._bearer(authorization, now)
        if cookie := cookie_of(headers.get("cookie", "")):
            # A browser sends the cookies of a host to all its ports: one of another server is none.
            with contextlib.suppress(TokenError):
                return verify_operator(cookie, self.keys, "session", now=now)
        proxied = any(name in headers for name in _PROXY)
        local = is_loopback(self.bind) and is_loopback(split_host(headers.get("host", ""))[0]) and not proxied
        if local and not self.api_token:
            return LOCAL
        raise RefusedError(
            401,
            "login_required",
            "This server asks who you are",
            fix="Run greenroom login where its API key is, and open the address that it prints",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _bearer(self, authorization: str, now: float | None) -> Operator:
        scheme, _, given = authorization.partition(" ")
        token = given.strip()
        why = "The scheme is not Bearer"
        if scheme.lower() == "bearer":
            if self.api_token and hmac.compare_digest(token.encode(), self.api_token.encode()):
                return Operator(name="api token", role="admin")
            try:
                return verify_operator(token, self.keys, "api", now=now)
            except TokenError as error:
                why = error.message
        raise RefusedError(
            401,
            "api_token_invalid",
            f"The API token is not accepted: {why}",
            fix="Make one with greenroom login --token, and send it as Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )


def cookie_of(header: str) -> str:
    """Return the session out of a ``Cookie`` header; empty without one."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


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
    """ASGI middleware that lets only requests through that ``access`` allows.

    :param query_token: take a bearer token from the query's ``token``, too: for clients that can set no headers.
    """

    def __init__(self, app: ASGIApp, *, access: Access, query_token: bool = False) -> None:
        self._app = app
        self._access = access
        self._query_token = query_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal as a problem, else hand the request on."""
        if scope["type"] == "http":
            try:
                token = QueryParams(scope["query_string"]).get("token", "") if self._query_token else ""
                scope.setdefault("state", {})["operator"] = self._access.check(Headers(scope=scope), token=token)
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
