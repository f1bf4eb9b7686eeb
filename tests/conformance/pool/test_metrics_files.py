"""A pool writes OpenRTC's stream of metrics, and its latest snapshot."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import ConfigError
from greenroom.pool.supervisor import Pool
from support.pool_supervised import holder, pool_stage, settings_of

pytestmark = pytest.mark.conformance

BROKEN = """
from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session(agent_name="broken")
async def entry(ctx: JobContext):
    raise ValueError("no such guest")
"""


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def events(file: Path) -> list[dict[str, Any]]:
    return [line["payload"] for line in lines(file) if line["kind"] == "event"]


async def test_calls_and_figures_of_the_whole_pool_are_written(tmp_path: Path) -> None:
    stream, latest = tmp_path / "out" / "metrics.jsonl", tmp_path / "out" / "now.json"
    stream.parent.mkdir()
    stream.write_text("of the run before\n")
    (tmp_path / "clerk.py").write_text(holder())
    (tmp_path / "broken.py").write_text(BROKEN)
    told: dict[str, Any] = {
        "metrics_jsonl": str(stream),
        "metrics_json_file": str(latest),
        "metrics_jsonl_interval": 0.05,
    }
    async with pool_stage(tmp_path, **told) as stage:
        await stage.call("lobby", metadata='{"tenant": "acme"}')
        await stage.served(lambda: json.loads(latest.read_text())["active_sessions"] == 1)
        stage.dispatch("cellar", "broken")
        await stage.until(lambda now: now.ended.get("setup"))
        assert events(stream) == [
            {"event": "session_started", "agent": "clerk", "tenant": "acme"},
            {"event": "session_started", "agent": "broken", "tenant": "default"},
            {
                "event": "session_failed",
                "agent": "broken",
                "tenant": "default",
                "error": "ValueError: no such guest",
            },
            {"event": "session_finished", "agent": "broken", "tenant": "default"},
        ]
        await stage.hang_up("lobby")
    found = lines(stream)
    assert [line["seq"] for line in found] == list(range(1, len(found) + 1))
    assert {line["schema_version"] for line in found} == {2}
    assert all(set(line) == {"schema_version", "kind", "seq", "wall_time_unix", "payload"} for line in found)
    assert events(stream)[-1] == {"event": "session_finished", "agent": "clerk", "tenant": "acme"}
    last = found[-1]["payload"]
    assert (last["total_sessions_started"], last["total_session_failures"], last["active_sessions"]) == (2, 1, 0)
    assert last["registered_agents"] == 2
    assert last["resident_set"]["bytes"] > 1024 * 1024
    assert json.loads(latest.read_text()) == last
    busy = next(line["payload"] for line in found if line["payload"].get("active_sessions"))
    assert busy["sessions_by_tenant"] == {"acme": 1}


async def test_a_call_that_is_rescued_begins_and_ends_once(tmp_path: Path) -> None:
    stream = tmp_path / "metrics.jsonl"
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, metrics_jsonl=str(stream), metrics_jsonl_interval=60.0, shards=2) as stage:
        call = await stage.call("lobby")
        shard = next(each for each in stage.pool.snapshot().shards if each.number == call.shard)
        os.kill(shard.pid, signal.SIGKILL)
        await stage.until(lambda now: now.rescued)
        assert [event["event"] for event in events(stream)] == ["session_started"]
        await stage.hang_up("lobby")
    assert [event["event"] for event in events(stream)] == ["session_started", "session_finished"]


async def test_a_file_that_cannot_be_made_ends_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    pool = Pool(settings_of("http://127.0.0.1:9", [tmp_path], metrics_jsonl=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"Metrics cannot be written to .*: Is a directory"):
        await pool.start()
    await pool.stop()
