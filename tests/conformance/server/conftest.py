"""A server with the real media engine, and official SDK clients in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.server import Server
from greenroom.server.room import Room
from support.sdk import Caller, callers
from support.serving import running_server
from support.signal_client import token


@dataclass
class Stage:
    """A running server and a way to bring callers in."""

    server: Server
    url: str
    make: Callable[[], Caller]

    def token(self, identity: str, room: str = "lobby", **claims: Any) -> str:
        """Mint a token for the room."""
        return token(identity, room, **claims)

    async def join(self, identity: str, room: str = "lobby", **claims: Any) -> Caller:
        """Connect somebody; further arguments are claims of the token."""
        caller = self.make()
        return await caller.connect(self.url, token(identity, room, **claims))

    @property
    def room(self) -> Room:
        """The room called lobby."""
        room = self.server.rooms.get("lobby")
        assert room is not None
        return room


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with running_server(Str0mEngine(EngineConfig())) as (server, url), callers() as make:
        yield Stage(server, url, make)
