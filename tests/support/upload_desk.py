"""A log, what takes uploads into it and the sessions made of it, behind one address; also as a program to be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from greenroom.config import ApiKey
from greenroom.errors import GreenroomError
from greenroom.eventlog import EventLog
from greenroom.ingest import Ingest, WebhookIngest
from greenroom.sessions import Sessions, routes
from support.otlp import authorization
from support.serving import KEY, serve_app

PATHS = {
    "spans": "/observability/traces/otlp/v0",
    "logs": "/observability/logs/otlp/v0",
    "metrics": "/observability/metrics/otlp/v0",
    "recording": "/observability/recordings/v0",
}


@dataclass
class Desk:
    """The whole of it, running."""

    url: str
    log: EventLog
    ingest: Ingest
    sessions: Sessions
    client: httpx.AsyncClient

    async def send(self, kind: str, body: Any, **headers: str) -> httpx.Response:
        """Upload as an agent with a good token does."""
        encoding = {} if kind == "recording" else {"content-encoding": "gzip", "content-type": "application/x-protobuf"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(PATHS[kind], content=body, headers={**authorization(), **encoding, **named})

    async def settled(self) -> None:
        """Wait until the sessions stand for the whole log."""
        await self.sessions.reached(await self.log.head())

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """Ask the sessions' API, once it stands for the whole log."""
        await self.settled()
        return await self.client.get(f"/api{path}", params=params)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GreenroomError)
    return JSONResponse({"code": error.code, "detail": error.message}, status_code=getattr(error, "status", 400))


@contextlib.asynccontextmanager
async def upload_desk(
    path: Path, *, peaks: bool = False, keys: Sequence[ApiKey] = (KEY,), **options: Any
) -> AsyncIterator[Desk]:
    """Run one over the directory ``path``; ``options`` are those of :class:`Ingest`."""
    async with contextlib.AsyncExitStack() as stack:
        log = await EventLog.open(path / "log.db")
        stack.push_async_callback(log.close)
        sessions = await Sessions.open(log, path / "sessions.db", peaks=peaks)
        stack.push_async_callback(sessions.close)
        ingest = Ingest(log, keys, **options)
        stack.push_async_callback(ingest.close)
        webhooks = WebhookIngest(log, keys)
        stack.push_async_callback(webhooks.aclose)
        app = Starlette(
            routes=[*ingest.routes(), *webhooks.routes(), Mount("/api", routes=routes(sessions))],
            exception_handlers={GreenroomError: _refused},
        )
        url = await stack.enter_async_context(serve_app(app))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, trust_env=False))
        yield Desk(url, log, ingest, sessions, client)


async def _serve(path: Path) -> None:
    async with upload_desk(path) as desk:
        print(desk.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
