from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, control_app

Client = httpx.AsyncClient
KEY = ApiKey(key="devkey", secret="secret")


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Build a control application and return an HTTP client that talks to it in process."""
    async with AsyncExitStack() as stack:

        async def build(
            livekit_url: str = "ws://127.0.0.1:7880",
            key: ApiKey = KEY,
            *,
            at: str = "http://127.0.0.1:7880",
            bind: str = "127.0.0.1",
            allowed_hosts: Sequence[str] = (),
            api_token: str = "",
            **options: Any,
        ) -> Client:
            access = Access(bind=bind, allowed_hosts=tuple(allowed_hosts), api_token=api_token, keys=(key,))
            transport = httpx.ASGITransport(app=control_app(livekit_url, key, access=access, **options))
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=at))

        yield build
