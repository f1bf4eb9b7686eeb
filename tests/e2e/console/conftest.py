from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import Limits, ServerConfig
from greenroom.control import Access, AgentListing, control_app
from greenroom.dev._run import OnePort
from greenroom.grants import VideoGrant, mint
from greenroom.server import Server
from support.browser import chromium, visitor
from support.playground import Playground
from support.rtc_peer import Peer, rtc_peer
from support.serving import KEY, serve_app

FRONT_DESK = AgentListing(name="front-desk", state="ready")


@dataclass
class House:
    """A server and the page under one port, as ``greenroom dev`` runs them, and agents that the test plays."""

    url: str
    server: Server
    browser: Browser
    stack: AsyncExitStack = field(repr=False)
    #: What the page is told of agents.
    agents: list[AgentListing] = field(default_factory=lambda: [FRONT_DESK])

    async def visit(self, *, url: str = "", **context: Any) -> Playground:
        """Open the page, in a window of 1280 by 720 unless told otherwise."""
        context = {"viewport": {"width": 1280, "height": 720}, **context}
        page, complaints = await self.stack.enter_async_context(visitor(self.browser, **context))
        await page.goto(url or self.url)
        return Playground(page, complaints)

    async def agent(self, room: str, *, state: str = "listening") -> Peer:
        """Join a room as an agent that says its state and hears the chat."""
        grant = VideoGrant(room_join=True, room=room, agent=True, can_update_own_metadata=True)
        token = mint(KEY, identity="agent-1", kind="agent", attributes={"lk.agent.name": "front-desk"}, video=grant)
        peer = await self.stack.enter_async_context(rtc_peer(self.url.replace("http", "ws", 1), token))
        peer.hear_text("lk.chat")
        if state:
            await peer.me.set_attributes({"lk.agent.state": state})
        return peer

    async def call(self, **context: Any) -> tuple[Playground, Peer]:
        """Open the page, join, and let an agent come."""
        page = await self.visit(**context)
        await page.join()
        await page.connected()
        return page, await self.agent(await page.room_name())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@asynccontextmanager
async def open_house(browser: Browser, **options: Any) -> AsyncIterator[House]:
    config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, limits=options.pop("limits", Limits()))
    server = Server(config, Str0mEngine(EngineConfig(bind=config.bind, port=0)))
    agents = [FRONT_DESK]
    key = options.pop("key", KEY)
    doors = {name: options.pop(name) for name in ("api_token", "allowed_hosts") if name in options}
    access = Access(keys=(KEY,), **doors)
    # The page's URL of LiveKit is its own origin, so what is given here does not matter.
    page = control_app("ws://127.0.0.1:1", key, agents=lambda: agents, access=access, same_origin=True, **options)
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        url = await stack.enter_async_context(serve_app(OnePort(server.app, page), on_stop=server.stop))
        people = await stack.enter_async_context(AsyncExitStack())
        yield House(url, server, browser, people, agents)


@pytest_asyncio.fixture(loop_scope="session")
async def house_of(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Open a house with further options of :func:`control_app` or :class:`Access`, and in another ``browser``."""
    async with AsyncExitStack() as stack:

        async def build(*, browser: Browser = browser, **options: Any) -> House:
            return await stack.enter_async_context(open_house(browser, **options))

        yield build


@pytest_asyncio.fixture(loop_scope="session")
async def house(house_of: Callable[..., Awaitable[House]]) -> House:
    return await house_of()
