"""Offers are decided before they are accepted: what a pool refuses runs elsewhere, and caps are exact in a burst."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.agent_worker import registered
from support.pool_supervised import holder, pool_stage

pytestmark = pytest.mark.conformance

CHOOSY = """
from livekit.agents import AgentServer, JobContext, JobRequest, cli

server = AgentServer()


async def on_request(request: JobRequest):
    if request.job.metadata == "no":
        await request.reject()
    elif request.job.metadata != "silence":
        await request.accept(identity="waiter-1", name="Waiter", attributes={"mood": "good"})


@server.rtc_session(agent_name="waiter", on_request=on_request)
async def entry(ctx: JobContext):
    pass


if __name__ == "__main__":
    cli.run_app(server)
"""


async def test_an_offer_for_an_agent_that_the_pool_does_not_have_is_taken_by_another_worker(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, only_registered_rooms=True) as stage:
        async with registered(stage.url, "clerk") as other:
            for number in range(4):
                stage.dispatch(f"room-{number}", metadata='{"agent": "doctor"}')
            assert {(await other.assignment()).job.room.name for _ in range(4)} == {f"room-{n}" for n in range(4)}
        now = stage.pool.snapshot()
        assert set(now.refused) <= {"not_ours"}
        assert not now.started


async def test_a_job_that_is_offered_again_and_again_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    with caplog.at_level("INFO", logger="greenroom.pool"):
        async with pool_stage(tmp_path) as stage:
            stage.dispatch("bad", metadata='{"tenant": "no such tenant!"}')
            await stage.until(lambda now: now.refused.get("bad_tenant", 0) > 1)
    assert [line.message for line in caplog.records].count("offer refused") == 1


async def test_tenants_are_known_before_a_call_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, max_sessions_per_tenant={"acme": 1}) as stage:
        stage.dispatch("bad", metadata='{"tenant": "no such tenant!"}')
        await stage.until(lambda now: now.refused.get("bad_tenant"))
        call = await stage.call("one", attributes={"greenroom.tenant": "acme"})
        assert call.tenant == "acme"
        stage.dispatch("two", attributes={"greenroom.tenant": "acme"})
        await stage.until(lambda now: now.refused.get("full_tenant"))
        assert (await stage.call("three", attributes={"greenroom.tenant": "other"})).tenant == "other"
        assert stage.pool.snapshot().by_tenant == {"acme": 1, "other": 1}


async def test_a_cap_is_exact_in_a_burst(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, max_sessions=20, max_sessions_per_agent={"clerk": 3}) as stage:
        for number in range(20):
            stage.dispatch(f"room-{number}")
        now = await stage.until(
            lambda now: now if now.refused.get("full_agent", 0) >= 17 and len(now.sessions) >= 3 else None
        )
        assert len(now.sessions) == now.started == 3


async def test_an_agents_own_filter_decides_and_names_its_participant(tmp_path: Path) -> None:
    (tmp_path / "waiter.py").write_text(CHOOSY)
    async with pool_stage(tmp_path, offer_timeout=1.0) as stage:
        await stage.call("yes", "waiter")
        (job,) = stage.jobs("yes", "waiter")
        assert job.state.participant_identity == "waiter-1"
        for said in ("no", "silence"):
            before = stage.pool.snapshot().refused.get("filter", 0)
            stage.dispatch(said, "waiter", metadata=said)
            await stage.until(lambda now, before=before: now.refused.get("filter", 0) > before)
        assert stage.pool.snapshot().started == 1
