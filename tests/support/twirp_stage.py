"""A whole server over the fake media engine, and the official client of its HTTP APIs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any

import pytest
from livekit import api

from greenroom.config import ApiKey, ServerConfig
from greenroom.server import Server
from support.serving import running_server
from support.signal_client import SignalClient, token

KEY = ApiKey(key="APIkey", secret="a secret of more than thirty-two bytes")
NARROW = ApiKey(
    key="APInarrow", secret="another secret of more than thirty-two bytes", agents=("front-*",), rooms=("front-*",)
)


@dataclass(frozen=True)
class Stage:
    """A running server, where it is, and a client with all the grants of its main key."""

    server: Server
    url: str
    api: api.LiveKitAPI

    async def join(self, identity: str, room: str = "lobby", **claims: Any) -> SignalClient:
        """Join a room over signalling, with its media connected."""
        access = token(identity, room, key=KEY, **claims)
        client = await SignalClient.connect(self.url, access, server=self.server)
        await client.participant(identity)
        return client


@contextlib.asynccontextmanager
async def twirp_stage(**config: Any) -> AsyncIterator[Stage]:
    """Run a server and open a client; ``config`` is laid over a plain configuration."""
    settings = ServerConfig(**{"keys": (KEY, NARROW), "port": 0, "rtc_port": 0, **config})
    async with running_server(config=settings) as (server, url), api.LiveKitAPI(url, KEY.key, KEY.secret) as client:
        yield Stage(server, url, client)


async def refusal(call: Awaitable[object]) -> tuple[int, str, str]:
    """Return the status, code and message of a call that must fail."""
    with pytest.raises(api.ServerError) as caught:
        await call
    return caught.value.status, caught.value.code, caught.value.message
