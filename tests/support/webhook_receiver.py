"""A program that is told what happens in rooms: LiveKit's own ``WebhookReceiver`` behind a port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from livekit import api
from livekit.protocol import webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.config import ApiKey
from support.serving import KEY, serve_app

TIMEOUT = 10.0


class Receiver:
    """What arrived, in order.

    :param answer: the status for an event, given how often it has been asked; 200 by default. Only what
        got a 2xx stands in :attr:`events`; :attr:`attempts` has everything, as bodies.
    """

    def __init__(self, key: ApiKey = KEY, answer: Callable[[webhook.WebhookEvent, int], int] | None = None) -> None:
        self.events: list[webhook.WebhookEvent] = []
        self.attempts: list[bytes] = []
        self.requests: list[Request] = []
        self.peers: set[tuple[str, int]] = set()
        self.url = ""
        #: Requests wait while this is not set.
        self.open = asyncio.Event()
        self.open.set()
        self._answer = answer or (lambda _event, _attempt: 200)
        self._official = api.WebhookReceiver(api.TokenVerifier(key.key, key.secret))
        self._arrived = asyncio.Condition()
        self._counts: dict[str, int] = {}
        self.app = Starlette(routes=[Route("/hook", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append(request)
        assert request.client is not None
        self.peers.add((request.client.host, request.client.port))
        event = self._official.receive(body.decode(), request.headers["authorization"])
        async with self._arrived:
            self.attempts.append(body)
            self._arrived.notify_all()
        await self.open.wait()
        self._counts[event.id] = self._counts.get(event.id, 0) + 1
        status = self._answer(event, self._counts[event.id])
        async with self._arrived:
            if status // 100 == 2:
                self.events.append(event)
            self._arrived.notify_all()
        return Response(status_code=status)

    @property
    def names(self) -> list[str]:
        """The names of the events, in order."""
        return [event.event for event in self.events]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what has arrived satisfies ``condition``."""
        async with asyncio.timeout(TIMEOUT), self._arrived:
            await self._arrived.wait_for(condition)

    async def count(self, number: int) -> list[webhook.WebhookEvent]:
        """Wait for this many events."""
        await self.until(lambda: len(self.events) >= number)
        return self.events


@contextlib.asynccontextmanager
async def receiving(
    key: ApiKey = KEY, answer: Callable[[webhook.WebhookEvent, int], int] | None = None
) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(key, answer)
    async with serve_app(receiver.app) as url:
        receiver.url = f"{url}/hook"
        try:
            yield receiver
        finally:
            receiver.open.set()
