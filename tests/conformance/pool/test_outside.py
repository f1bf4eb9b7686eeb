"""Whom a pool talks to besides LiveKit: a control plane, and LiveKit's command line."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest
from livekit.protocol import agent
from livekit.protocol.agent_pb import agent_dev
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.grants import verify
from greenroom.pool.supervisor import Pool
from greenroom.reports import PoolCommands, PoolSnapshot
from support.dev_channel import DevChannel
from support.pool_supervised import holder, pool_stage, settings_of
from support.serving import KEY, serve_app

pytestmark = pytest.mark.conformance


class Plane:
    """A control plane that takes reports, and asks for something once."""

    def __init__(self) -> None:
        self.reports: list[PoolSnapshot] = []
        self.ask = PoolCommands()
        self.news = asyncio.Event()

    async def take(self, request: Request) -> Response:
        grant = verify(request.headers["authorization"].removeprefix("Bearer "), (KEY,))
        assert grant.claims.observability
        assert grant.claims.observability.write
        self.reports.append(msgspec.json.decode(await request.body(), type=PoolSnapshot))
        self.news.set()
        asked, self.ask = self.ask, PoolCommands()
        return Response(msgspec.json.encode(asked), media_type="application/json")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/observability/pools/v0", self.take, methods=["POST"])])


async def test_a_control_plane_is_told_and_may_ask_for_a_drain(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    plane = Plane()
    async with (
        serve_app(plane.app()) as control,
        pool_stage(tmp_path, observability=control, heartbeat=0.1) as stage,
    ):
        call = await stage.call("lobby")
        await stage.served(lambda: any(report.sessions for report in plane.reports))
        (session,) = plane.reports[-1].sessions
        assert session.job_id == call.job_id
        plane.ask = PoolCommands(drain=True)
        await stage.until(lambda now: now.state == "draining")
        await stage.hang_up("lobby")
        async with asyncio.timeout(10):
            await stage.pool.drained()


async def test_an_outage_of_the_control_plane_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    plane = Plane()
    async with serve_app(plane.app()) as control:
        gone = control
    async with pool_stage(tmp_path, observability=gone, heartbeat=0.05) as stage:
        with caplog.at_level(logging.WARNING, "greenroom.pool"):
            await stage.call("lobby")
            await stage.hang_up("lobby")
            await stage.served(lambda: [r for r in caplog.records if "does not take reports" in r.message])
    assert len([r for r in caplog.records if "does not take reports" in r.message]) == 1


async def test_livekits_command_line_has_calls_go_over_to_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    names: list[str] = []
    before, after = DevChannel(names.append), DevChannel(names.append)
    address, following = await before.open(), await after.open()
    before.inherit([])
    async with pool_stage(tmp_path, cli_address=address) as stage:
        call = await stage.call("lobby")
        jobs: list[agent_dev.RunningAgentJobInfo] = await before.running_jobs()
        assert [agent.Job.FromString(job.job).id for job in jobs] == [call.job_id]
        after.inherit(jobs)
        heir = Pool(settings_of(stage.url, [tmp_path], cli_address=following))
        try:
            await heir.start()
            await stage.served(lambda: heir.snapshot().sessions)
            assert heir.snapshot().sessions[0].job_id == call.job_id
            await stage.pool.stop()
            (job,) = stage.jobs("lobby")
            assert job.state.status == agent.JS_RUNNING
            assert job.state.worker_id == heir.snapshot().agents[0].worker_id
        finally:
            await heir.stop()
    before.close()
    after.close()
    assert names == ["clerk", "clerk"]
