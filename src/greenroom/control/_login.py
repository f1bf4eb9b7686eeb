"""Logging in: a one-time address becomes a session in a browser."""

from __future__ import annotations

import hashlib
import html
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from greenroom.config import ApiKey
from greenroom.control._api import operator_of
from greenroom.control._events import LoggedIn
from greenroom.control._guard import COOKIE, Access
from greenroom.control._responses import RefusedError, json_response
from greenroom.errors import GreenroomError, TokenError
from greenroom.eventlog import EventLog, NewEvent
from greenroom.grants import SESSION_TTL, Operator, mint_operator, verify_operator
from greenroom.operations import Operation, operation

STREAM: Final = "system:operators"
_REFUSED: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Greenroom: not logged in</title>
<h1>Not logged in</h1>
<p>{message}</p>
<p>{fix}</p>
</html>
"""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who you are to this server."""

    name: str
    role: str
    expires_at: float | None = None


class Login:
    """Opens and closes the sessions of browsers.

    :param log: holds which addresses have been used, so that each is good once, restarts included.
    """

    def __init__(
        self, access: Access, keys: Sequence[ApiKey], log: EventLog, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._access = access
        self._keys = {key.key: key for key in keys}
        self._log = log
        self._clock = clock

    def pages(self) -> list[Route]:
        """Return the route a person opens, to mount at the root."""
        return [Route("/login", self._open, methods=["GET"])]

    def routes(self) -> list[Route]:
        """Return the routes for ``/api``."""
        return [
            Route("/me", self._me, methods=["GET"]),
            Route("/logout", self._close, methods=["POST"]),
        ]

    async def _open(self, request: Request) -> Response:
        ticket = request.query_params.get("ticket", "")
        now = self._clock()
        try:
            self._access.check_host(request.headers.get("host", ""))
            operator = verify_operator(ticket, self._keys.values(), "login", now=now)
            await self._use(operator)
        except GreenroomError as error:
            page = _REFUSED.format(message=html.escape(error.message), fix=html.escape(error.fix))
            status = error.status if isinstance(error, RefusedError) else 403
            return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})
        # Whoever signed the address has no limits, so there is such a key; it need not be the first.
        key = next(key for key in self._keys.values() if key.agents is None and key.rooms is None)
        token = mint_operator(key, operator.role, name=operator.name, purpose="session", ttl=SESSION_TTL, now=now)
        answer = RedirectResponse("/", status_code=303, headers={"Cache-Control": "no-store"})
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION_TTL),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    async def _use(self, operator: Operator) -> None:
        # A key of the log is written once, whatever happens to this process.
        key = f"login:{hashlib.sha256(operator.id.encode()).hexdigest()[:32]}"
        used = await self._log.append(STREAM, [NewEvent(LoggedIn(by=operator.name, role=operator.role), key=key)])
        if used.duplicates:
            raise TokenError("This address has been used", fix="Run greenroom login again for another")

    @operation(Operation(summary="Tell who you are to this server.", answers=Me))
    async def _me(self, request: Request) -> Response:
        operator = operator_of(request)
        return json_response(Me(name=operator.name, role=operator.role, expires_at=operator.expires_at))

    @operation(Operation(summary="End this browser's session.", status=204))
    async def _close(self, _request: Request) -> Response:
        answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer
