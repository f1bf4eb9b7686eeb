"""Runs an ASGI application on a free loopback port inside a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from greenroom._media import FakeEngine, MediaEngine
from greenroom.config import ApiKey, ServerConfig
from greenroom.server import Server

KEY = ApiKey(key="devkey", secret="secret")


@contextlib.asynccontextmanager
async def serve_app(app: Any) -> AsyncIterator[str]:
    """Serve ``app`` and yield ``http://HOST:PORT``."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws_per_message_deflate=False, loop="none"
    )
    server = uvicorn.Server(config)
    # The test process keeps its own signal handlers.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


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
        async with serve_app(server.app) as url:
            try:
                yield server, url
            finally:
                await server.stop()
    finally:
        await server.stop()
