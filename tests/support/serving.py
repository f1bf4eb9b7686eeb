"""Runs an ASGI application on a free loopback port inside a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from greenroom._media import FakeEngine, MediaEngine
from greenroom.config import ApiKey, Limits, ServerConfig
from greenroom.server import Server, listen, serve, url_of

KEY = ApiKey(key="devkey", secret="secret")


@contextlib.asynccontextmanager
async def serve_app(
    app: Any, *, limits: Limits | None = None, on_stop: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[str]:
    """Serve ``app`` as the commands do and yield ``http://HOST:PORT``."""

    async def nothing() -> None:
        pass

    ready, stop = asyncio.Event(), asyncio.Event()
    opened = listen("127.0.0.1", 0)
    serving = asyncio.create_task(
        serve(app, opened, limits=limits or Limits(), on_ready=ready.set, on_stop=on_stop or nothing, stop=stop)
    )
    try:
        await ready.wait()
        yield url_of(opened)
    finally:
        stop.set()
        await serving
        opened.close()


@contextlib.asynccontextmanager
async def running_server(
    engine: MediaEngine | None = None, config: ServerConfig | None = None, **options: Any
) -> AsyncIterator[tuple[Server, str]]:
    """Run a whole embedded server; yields it and its ``http://HOST:PORT``.

    :param engine: a :class:`FakeEngine` that connects by itself unless given.
    """
    config = config or ServerConfig(keys=(KEY,), port=0, rtc_port=0)
    server = Server(config, FakeEngine(auto_connect=True) if engine is None else engine, **options)
    await server.start()
    try:
        async with serve_app(server.app, limits=config.limits, on_stop=server.stop) as url:
            yield server, url
    finally:
        await server.stop()
