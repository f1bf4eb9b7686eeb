"""``greenroom top`` shows what the API tells, and says so when something is not known."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from greenroom.cli._options import ApiOptions
from greenroom.cli.top import TopRequest, chosen, fitted, summary, summary_of_pool, table, top_command
from greenroom.errors import ConfigError
from greenroom.fleet import FleetState, Outside, view
from support.pool_reports import report, session, shard

pytestmark = pytest.mark.unit

NOW = 1_795_000_000.0
AGENT = {"session": "AJ_1", "room": "lobby", "state": "thinking", "action": "Thinking", "machine": "machine:AW_1"}
TASK = {
    "session": "AJ_1",
    "agent_name": "front-desk",
    "title": "front-desk: call with \x1b[31mAda",
    "status": "in_progress",
    "progress": None,
    "started_at": NOW - 75,
    "cost_usd": None,
    "why": None,
}
WAITS = {**TASK, "session": "AJ_2", "title": "sales: call", "status": "pending", "why": "no worker is there"}
WORKER = {"worker": "AW_1", "agent_name": "", "online": True, "status": "full", "load": 0.5, "jobs": 1}


def fleet(**fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(view(FleetState(), NOW, Outside()))
    return {**plain, **fields}


def shown(**fields: Any) -> list[str]:
    live = [{"id": "AJ_1", "latency": {"e2e": {"count": 1, "p50": 0.5, "p95": 0.75, "max": 0.75}}}]
    return table(summary(fleet(**fields), live), width=100, where="here")


def test_workers_calls_and_what_waits_are_shown() -> None:
    workers = [{**WORKER, "connected_at": NOW - 3700}]
    text = "\n".join(shown(agents=[AGENT], tasks=[TASK, WAITS], machines=workers))
    assert "AW_1    agent  full    50%   1      1:01:40" in text
    assert "1:15  0.50 s  0.75 s" in text
    assert "Thinking" in text
    assert "no worker is there" in text


def test_what_is_not_known_is_a_dash_and_titles_move_no_cursor() -> None:
    text = "\n".join(shown(agents=[{**AGENT, "action": None}], tasks=[TASK]))
    assert "no workers" in text
    assert "\x1b" not in text
    assert "cost today -" in text


def test_a_server_that_does_not_tell_of_workers_is_not_one_without_any() -> None:
    assert "workers: this LiveKit server does not tell of them" in shown(workers_known=False)


def test_reasons_are_named_first() -> None:
    plain: dict[str, Any] = msgspec.to_builtins(view(FleetState(), NOW, Outside(failing_since=NOW - 10)))
    lines = table(summary(plain, ()), width=100, where="here")
    assert lines[1].startswith("degraded")
    assert lines[2].startswith("! The LiveKit server cannot be asked")


def test_no_line_is_wider_than_the_terminal_and_what_does_not_fit_is_counted() -> None:
    lines = shown(tasks=[{**TASK, "title": "x" * 500}] * 50)
    assert max(map(len, lines)) == 100
    cut = fitted(lines, 20)
    assert (len(cut), cut[-1]) == (20, f"… {len(lines) - 19} more lines; a taller window shows them")


def test_the_object_holds_latency_and_unknown_is_null() -> None:
    found = summary(fleet(agents=[AGENT], tasks=[TASK]), ())
    assert json.loads(msgspec.json.encode(found))["calls"][0]["latency"] == {"p50": None, "p95": None, "max": None}


def test_a_mistake_in_the_interval_is_said() -> None:
    with pytest.raises(ConfigError, match="--every 0"):
        top_command(ApiOptions(), TopRequest(every=0))


def test_an_unknown_order_is_said() -> None:
    with pytest.raises(ConfigError, match="It is one of started, duration, cpu"):
        top_command(ApiOptions(), TopRequest(sort="mood"))


def pool(**more: Any) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report(**more)))
    return {"instance": said["instance"], "lost": False, "seen_at": NOW, "asked": [], "report": said}


BUSY = pool(
    started_at=NOW - 60,
    sessions=(
        session("AJ_1", cpu=0.25, memory=120_000_000, started_at=NOW - 5),
        session("AJ_9", agent="sales", tenant="globex", cpu=0.5, state="speaking", started_at=NOW - 9),
    ),
    shards=(shard(0, sessions=2, lag=0.0042, cpu=0.75, pss=210_000_000), shard(1, state="stalled", where="a.py:7")),
    breakers={"acme/openai": "open"},
)


class TestPools:
    def test_two_pools_of_a_machine_are_both_shown_with_their_shards(self) -> None:
        other = {**pool(instance="pool-2", pid=7, deployment="blue", started_at=NOW), "lost": True}
        found = summary(fleet(agents=[AGENT], tasks=[TASK]), (), [BUSY, other])
        text = "\n".join(table(found, width=160, where="here"))
        assert "basil/99" in text
        assert "basil/7 blue" in text
        assert "lost" in text
        assert "shard 0 (pid 100)  ready" in text
        assert text.split("4 ms")[1].split()[:3] == ["75%", "210", "MB"]
        assert "stalled at a.py:7" in text
        assert "! basil: the provider acme/openai is open" in text
        assert "workers" not in text

    def test_a_call_has_its_tenant_its_shard_and_what_it_costs_its_machine(self) -> None:
        found = summary(fleet(agents=[AGENT], tasks=[TASK]), (), [BUSY])
        first, second = found["calls"]
        assert (first["title"], first["tenant"], first["shard"], first["cpu"]) == (TASK["title"], "acme", 0, 0.25)
        assert (second["session"], second["title"], second["latency"]["p50"]) == ("AJ_9", "sales: lobby", None)
        text = "\n".join(table(found, width=160, where="here"))
        assert "25%  120 MB" in text

    def test_what_a_lost_pool_said_of_calls_is_not_told(self) -> None:
        assert summary(fleet(), (), [{**BUSY, "lost": True}])["calls"] == []

    @pytest.mark.parametrize(
        ("asked", "calls"),
        [
            ({"sort": "cpu"}, ["AJ_9", "AJ_1"]),
            ({"sort": "memory"}, ["AJ_1", "AJ_9"]),
            ({"sort": "duration"}, ["AJ_9", "AJ_1"]),
            ({"sort": "tenant"}, ["AJ_1", "AJ_9"]),
            ({"agent": "sales"}, ["AJ_9"]),
            ({"tenant": "acme"}, ["AJ_1"]),
            ({"status": "Speaking"}, ["AJ_9"]),
            ({"tenant": "nobody"}, []),
        ],
    )
    def test_calls_are_chosen_and_ordered_as_asked(self, asked: dict[str, str], calls: list[str]) -> None:
        found = chosen(summary_of_pool(BUSY["report"]), **asked)  # type: ignore[arg-type]
        assert [each["session"] for each in found["calls"]] == calls

    def test_a_pool_that_is_asked_itself_is_shown_without_what_it_cannot_know(self) -> None:
        lines = table(summary_of_pool(BUSY["report"]), width=160, where="http://127.0.0.1:8081")
        text = "\n".join(lines)
        assert "basil/99" in text
        assert "AJ_9" in text
        assert "healthy" not in text

    def test_a_worker_of_no_pool_is_shown_beside_them(self) -> None:
        workers = [{**WORKER, "connected_at": NOW, "pool": None}, {**WORKER, "worker": "AW_2", "pool": "pool-1"}]
        text = "\n".join(table(summary(fleet(machines=workers), (), [BUSY]), width=160, where="here"))
        assert "AW_1" in text
        assert "AW_2" not in text
