from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import ApiKey, ServerConfig
from greenroom.grants import VideoGrant, mint
from greenroom.server import Server
from support.browser import chromium
from support.livekit_client import Client, client_site, livekit_client
from support.rtc_peer import Peer, rtc_peer
from support.serving import KEY, running_server


@dataclass
class Stage:
    """A real server, and whoever a test lets join it."""

    server: Server
    url: str
    browser: Browser
    site: str
    stack: AsyncExitStack = field(repr=False)

    def token(
        self, identity: str, *, key: ApiKey = KEY, name: str = "", kind: str = "", room: str = "lobby", **video: Any
    ) -> str:
        """Mint a token; further arguments are fields of the video grant."""
        grant = VideoGrant(**{"room_join": True, "room": room, **video})
        return mint(key, identity=identity, name=name, kind=kind, video=grant)

    async def page(self) -> Client:
        """Open a page with livekit-client, not connected."""
        return await self.stack.enter_async_context(livekit_client(self.browser, self.site))

    async def client(self, identity: str = "web", **token: Any) -> Client:
        """Let livekit-client join."""
        client = await self.page()
        await client.connect(self.url, self.token(identity, **token))
        return client

    async def peer(self, identity: str = "python", **token: Any) -> Peer:
        """Let the Python SDK join."""
        return await self.stack.enter_async_context(rtc_peer(self.url, self.token(identity, **token)))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def stage_of(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Stage]]]:
    """Start a server with the given options of :class:`ServerConfig`; everybody leaves at the end."""
    async with AsyncExitStack() as stack:
        site = stack.enter_context(client_site())

        async def build(**options: Any) -> Stage:
            config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, **options)
            engine = Str0mEngine(EngineConfig(bind=config.bind, port=0))
            server, url = await stack.enter_async_context(running_server(engine, config))
            people = await stack.enter_async_context(AsyncExitStack())
            return Stage(server, url.replace("http", "ws", 1), browser, site, people)

        yield build


@pytest_asyncio.fixture(loop_scope="session")
async def stage(stage_of: Callable[..., Awaitable[Stage]]) -> Stage:
    return await stage_of()
