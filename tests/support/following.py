"""Waits for what a control plane tells, by its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

PATIENCE = 60.0


async def until(client: httpx.AsyncClient, path: str, condition: Callable[[Any], bool]) -> Any:
    """Follow the events until what is at ``path`` fits, and return it."""
    async with asyncio.timeout(PATIENCE), client.stream("GET", "/api/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("event: "):
                found = (await client.get(path)).json()
                if condition(found):
                    return found
    raise AssertionError("the events ended")
