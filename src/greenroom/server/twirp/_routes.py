"""Twirp over HTTP: one route that finds the method, checks the token, reads the body and answers.

The order is that of LiveKit: route, token, body, then the method's own permission check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from greenroom.config import ApiKey, Limits
from greenroom.errors import GreenroomError, TokenError
from greenroom.grants import Grant, read_http_token, verify
from greenroom.server.twirp._permissions import PERMISSIONS_DENIED
from greenroom.server.twirp._service import Call, Method, Service
from greenroom.server.twirp._wire import Code, Encoding, TwirpError, decode, encode, encoding_of, too_large

_log = logging.getLogger(__name__)

# What a client may still be sending when its body is refused. Reading that much away lets it see the
# answer instead of a broken connection.
_DRAIN: Final = 64 * 1024 * 1024
# Messages above this many bytes are translated on a thread: JSON takes milliseconds per 100 KiB.
_INLINE: Final = 128 * 1024

# How errors of the parts below read over Twirp. Anything else a person can mend is a failed precondition.
_CODES: Final[Mapping[str, Code]] = {
    "limit_exceeded": "invalid_argument",
    "room_refused": "invalid_argument",
    "dispatch_invalid": "invalid_argument",
    "room_not_found": "not_found",
    "participant_not_found": "not_found",
    "room_full": "resource_exhausted",
    "capacity_exceeded": "resource_exhausted",
}


def twirp_routes(services: Iterable[Service], keys: Iterable[ApiKey], limits: Limits) -> list[BaseRoute]:
    """Return the routes under ``/twirp/`` that serve ``services``.

    :param keys: the API keys whose tokens are accepted.
    :param limits: ``api_body`` bounds a request's body.
    """
    endpoint = _Endpoint(services, {key.key: key for key in keys}, limits.api_body)
    return [Route("/twirp/{method:path}", endpoint, name="twirp")]


class _Endpoint:
    """The ASGI application behind every method."""

    def __init__(self, services: Iterable[Service], keys: Mapping[str, ApiKey], body_limit: int) -> None:
        self._methods = {
            f"{service.name}/{name}": method for service in services for name, method in service.methods.items()
        }
        self._keys = keys
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except TwirpError as error:
            # A client that is still sending would be read from for as long as it likes.
            headers = {"connection": "close"} if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
            response = Response(error.encode(), error.status, headers, "application/json")
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method = self._find(request)
        encoding = encoding_of(request.headers.get("content-type", ""))
        call = Call(self._authorize(request), request.headers.get("x-livekit-request-id", ""))
        message = await _decode(method, encoding, await self._read(request))
        answer = await self._perform(method, call, message, request)
        return Response(await _encode(answer, encoding), media_type=encoding)

    async def _perform(self, method: Method, call: Call, message: Message, request: Request) -> Message:
        deadline = asyncio.timeout(_timeout(request))
        try:
            async with deadline:
                return await method.handler(call, message)
        except TwirpError:
            raise
        except GreenroomError as error:
            raise _translate(error) from None
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                raise TwirpError("deadline_exceeded", "the call took longer than X-Twirp-Timeout-Ms") from None
            _log.exception("twirp method failed", extra={"method": request.path_params["method"]})
            raise TwirpError("internal", "the server failed; its log says why") from None

    def _find(self, request: Request) -> Method:
        path = request.path_params["method"]
        meta = {"twirp_invalid_route": f"{request.method} /twirp/{path}"}
        if request.method != "POST":
            raise TwirpError("bad_route", f"unsupported method {request.method!r} (only POST is allowed)", meta)
        try:
            return self._methods[path]
        except KeyError:
            raise TwirpError("bad_route", f"no handler for path {'/twirp/' + path!r}", meta) from None

    def _authorize(self, request: Request) -> Grant:
        try:
            token = read_http_token(request.headers, request.query_params)
            if token is not None:
                return verify(token, self._keys)
        except TokenError as error:
            raise TwirpError("unauthenticated", error.message) from None
        # No method is open to everyone, so the body need not be read to say no.
        raise TwirpError("unauthenticated", PERMISSIONS_DENIED)

    async def _read(self, request: Request) -> bytes:
        refused = _announced(request) > self._body_limit
        body = bytearray()
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                refused = refused or size > self._body_limit
                if refused and size > self._body_limit + _DRAIN:
                    break
                if refused:
                    body.clear()
                else:
                    body += chunk
        except ClientDisconnect:
            raise TwirpError("canceled", "the client went away") from None
        if refused:
            raise too_large(self._body_limit)
        return bytes(body)


async def _decode(method: Method, encoding: Encoding, body: bytes) -> Message:
    if len(body) <= _INLINE:
        return decode(method.request_type, encoding, body)
    return await asyncio.to_thread(decode, method.request_type, encoding, body)


async def _encode(message: Message, encoding: Encoding) -> bytes:
    if message.ByteSize() <= _INLINE:
        return encode(message, encoding)
    return await asyncio.to_thread(encode, message, encoding)


def _announced(request: Request) -> int:
    return _count(request.headers.get("content-length", ""), digits=18)


def _timeout(request: Request) -> float | None:
    return _count(request.headers.get("x-twirp-timeout-ms", ""), digits=9) / 1000 or None


def _count(text: str, *, digits: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else 0


def _translate(error: GreenroomError) -> TwirpError:
    meta = {name: str(value) for name, value in error.context.items()}
    return TwirpError(_CODES.get(error.code, "failed_precondition"), error.message, meta)
