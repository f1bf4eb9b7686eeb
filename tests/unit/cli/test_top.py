"""``greenroom top`` shows what the API tells, and says so when something is not known."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from greenroom.cli._options import ApiOptions
from greenroom.cli.top import TopRequest, fitted, summary, table, top_command
from greenroom.errors import ConfigError
from greenroom.fleet import FleetState, Outside, view

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
