"""``GET /greenroom/v1/workers``: the worker list, at once or when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from greenroom.config import ServerConfig
from greenroom.errors import TokenError
from greenroom.grants import Grant, read_http_token, verify
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._listing import Listing, encode, listing
from greenroom.server.agents._runner import Runner

PATH: Final = "/greenroom/v1/workers"
LONGEST_WAIT: Final = 60.0
SPACING: Final = 0.25
"""How long what changes is gathered before one who waits is told."""


class WorkerListEndpoint:
    """Answers who may ask, and lets those wait who know the latest."""

    def __init__(
        self, config: ServerConfig, dispatcher: Dispatcher, runner: Runner, server: str, clock: Callable[[], float]
    ) -> None:
        self._keys = {key.key: key for key in config.keys}
        self._dispatcher = dispatcher
        self._runner = runner
        self._server = server
        self._clock = clock
        self._latest: dict[str, tuple[asyncio.Event, Listing]] = {}

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount at the root."""
        return [Route(PATH, self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        try:
            grant = self._authorize(request)
        except TokenError as error:
            return _refusal(error.message, 401)
        try:
            wait = float(request.query_params.get("wait", "30"))
        except ValueError:
            return _refusal("wait is not a number of seconds", 400)
        after = request.query_params.get("after", "")
        # Not a number compares as false, too.
        until = min(LONGEST_WAIT, wait) if wait > 0 else 0.0
        found = await self._newer(grant, after, until) if after else self._list(grant)
        return Response(encode(found), media_type="application/json", headers={"cache-control": "no-store"})

    async def _newer(self, grant: Grant, after: str, wait: float) -> Listing:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            news = self._runner.news
            found = self._list(grant)
            if found.version != after or self._runner.stopped or loop.time() >= until:
                return found
            try:
                async with asyncio.timeout_at(until):
                    await news.wait()
                    await asyncio.sleep(SPACING)
            except TimeoutError:
                pass

    def _list(self, grant: Grant) -> Listing:
        # Nothing has happened since: everybody who asks with this key is told the same.
        known = self._latest.get(grant.key.key)
        if known is None or known[0] is not self._runner.news:
            found = listing(self._dispatcher, self._server, grant, self._clock())
            known = self._latest[grant.key.key] = (self._runner.news, found)
        return known[1]

    def _authorize(self, request: Request) -> Grant:
        token = read_http_token(request.headers, request.query_params)
        grant = verify(token, self._keys, now=self._clock()) if token is not None else None
        if grant is None or grant.claims.agent is None or not grant.claims.agent.admin:
            raise TokenError("permissions denied")
        return grant


def _refusal(message: str, status: int) -> Response:
    return JSONResponse({"code": "unauthenticated" if status == 401 else "invalid_argument", "msg": message}, status)
