"""Draining: unavailable at once, nothing accepted that does not run, gone after the last hang-up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from greenroom.grants import AgentGrant, VideoGrant, mint
from greenroom.httpclient import HttpClient
from support.pool_supervised import holder, pool_stage
from support.program import Program
from support.serving import KEY, running_server

pytestmark = pytest.mark.conformance

PROGRAM = """
import asyncio, sys
from pathlib import Path
from greenroom.config import ApiKey
from greenroom.pool.settings import PoolSettings
from greenroom.pool.supervisor import run_pool

settings = PoolSettings(
    url=sys.argv[1], key=ApiKey(key="devkey", secret="secret"), paths=(Path(sys.argv[2]),), shards=1, port=0
)
sys.exit(asyncio.run(run_pool(settings, lambda url: print("ready", url, flush=True))))
"""


async def test_a_draining_pool_takes_no_more_and_is_drained_when_the_last_call_has_hung_up(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        await stage.call("one")
        draining = asyncio.create_task(stage.pool.drain())
        await stage.served(lambda: stage.workers()[0].status == "draining")
        stage.dispatch("two")
        await stage.hang_up("one")
        assert await draining
        now = stage.pool.snapshot()
        assert (now.state, now.started) == ("draining", 1)
        assert not any(job.state.worker_id for job in stage.jobs("two"))


async def test_calls_that_outlast_the_drain_are_ended_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        await stage.call("one")
        assert not await stage.pool.drain(0.1)
        await stage.until(lambda now: now.ended == {"drained": 1})


async def test_http_tells_health_and_takes_orders_from_this_machine_or_with_the_pools_key(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    client = HttpClient()
    async with pool_stage(tmp_path) as stage:
        await stage.call("one")
        url = stage.pool.url
        assert (await client.request("GET", f"{url}/")).body == b"OK"
        assert b'"active_jobs":1' in (await client.request("GET", f"{url}/worker")).body
        metrics = (await client.request("GET", f"{url}/metrics")).body.decode()
        assert 'greenroom_pool_sessions{agent="clerk",tenant="default"} 1' in metrics
        assert {family.name for family in text_string_to_metric_families(metrics)} >= {
            "greenroom_pool_up",
            "greenroom_pool_sessions_ended",
            "greenroom_pool_shard_rss_bytes",
        }
        admin = {"authorization": f"Bearer {mint(KEY, agent=AgentGrant(admin=True))}"}
        caller = {"authorization": f"Bearer {mint(KEY, video=VideoGrant(room_join=True, room='one'))}"}
        assert (await client.request("GET", f"{url}/api/pool", headers=caller)).status == 403
        assert b'"state":"serving"' in (await client.request("GET", f"{url}/api/pool", headers=admin)).body
        assert (await client.request("POST", f"{url}/reload", headers=admin)).status == 202
        await stage.until(lambda now: now.generation == 2)
        page = {"origin": "https://elsewhere.example"}
        assert (await client.request("POST", f"{url}/drain", headers=page)).status == 403
        rebound = {"host": "elsewhere.example"}
        assert (await client.request("POST", f"{url}/drain", headers=rebound)).status == 403
        assert (await client.request("GET", f"{url}/drain")).status == 405
        assert (await client.request("GET", f"{url}/nothing")).status == 404
        assert (await client.request("POST", f"{url}/drain")).status == 202
        assert stage.pool.snapshot().state == "draining"
        await stage.hang_up("one")
        await stage.pool.drained()
    await client.aclose()


async def test_sigterm_drains_and_the_program_ends_with_zero_after_the_last_hang_up(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with running_server() as (server, url):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, url.replace("http", "ws", 1), str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LIVEKIT_API_KEY": KEY.key},
        )
        program = Program(process)
        await program.line("^ready")
        server.agents.create_dispatch("one", agent_name="clerk")
        async with asyncio.timeout(20):
            while not any(worker.jobs for worker in server.agents.workers()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            while server.agents.workers()[0].status != "draining":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            assert process.returncode is None
            await server.rooms.delete("one")
        assert await program.ended() == 0, program.lines
