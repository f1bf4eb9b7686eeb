"""The page shows pools with their shards, and drains one when it is asked twice."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.async_api import Browser, expect

from greenroom.config import ApiKey
from greenroom.reports import PoolSnapshot
from support.accessibility import barriers
from support.browser import visitor
from support.otlp import authorization
from support.pool_reports import report, session, shard
from support.program import greenroom

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

KEY = ApiKey(key="devkey", secret="secret")
BUSY = report(
    heartbeat=60.0, sessions=(session(),), shards=(shard(1, sessions=1, lag=0.0042, cpu=0.25, pss=83_000_000),)
)


async def told(url: str, said: PoolSnapshot) -> dict[str, bool]:
    """Report as a pool does, and return what it is asked to do."""
    async with httpx.AsyncClient() as client:
        body = msgspec.json.encode(said)
        answer = await client.post(f"{url}/observability/pools/v0", content=body, headers=authorization(KEY))
        found: dict[str, bool] = answer.json()
        return found


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_pool_is_seen_and_drained(browser: Browser, tmp_path: Path, width: int) -> None:
    arguments = ("control", "--livekit", "ws://127.0.0.1:1", "--port", "0")
    async with greenroom(*arguments, cwd=tmp_path) as control:
        url = await control.ready()
        async with visitor(browser, viewport={"width": width, "height": 720}) as (page, _complaints):
            await page.goto(f"{url}/#pools")
            await expect(page.get_by_text("No pool reports here")).to_be_visible()
            await told(url, BUSY)
            pool = page.get_by_role("region", name="Pool basil/99")
            await expect(pool.get_by_text("serving · 1 of 8 calls · load 25 %")).to_be_visible()
            assert await pool.get_by_role("row").all_inner_texts() == [
                "Shard\tState\tCalls\tLag\tCPU\tMemory",
                "1\tready\t1\t4 ms\t25 %\t83 MB",
            ]
            await pool.get_by_role("button", name="Drain basil/99").click()
            await expect(pool.get_by_text("It takes no more calls")).to_be_visible()
            assert await barriers(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            await pool.get_by_role("button", name="Cancel").click()
            assert (await told(url, BUSY))["drain"] is False
            await pool.get_by_role("button", name="Drain basil/99").click()
            await pool.get_by_role("button", name="Drain", exact=True).click()
            await expect(pool.get_by_text("Asked to drain")).to_be_visible()
            assert (await told(url, BUSY))["drain"] is True
            await told(url, msgspec.structs.replace(BUSY, state="draining"))
            await expect(pool.get_by_text("draining · 1 of 8 calls")).to_be_visible()
            await page.get_by_role("link", name="Playground").click()
            await expect(page.get_by_role("heading", name="Playground")).to_be_visible()
