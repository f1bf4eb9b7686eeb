"""What ``greenroom top`` shows, in one object, out of what ``/api`` or a pool tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

#: What calls can be sorted by, and whether the largest comes first.
SORTS: Final = {
    "started": False,
    "duration": True,
    "cpu": True,
    "memory": True,
    "latency": True,
    "cost": True,
    "agent": False,
    "tenant": False,
    "session": False,
}
#: OpenRTC's names for them.
ALIASES: Final = {
    "mem_mb": "memory",
    "cpu_pct": "cpu",
    "duration_s": "duration",
    "agent_name": "agent",
    "session_id": "session",
}


def summary(
    fleet: dict[str, Any], live: Iterable[dict[str, Any]], pools: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return what is shown, in one object: health, pools, workers, calls with their latency, and what waits.

    :param live: summaries of the sessions that run.
    :param pools: as ``/api/pools`` lists them.
    """
    latency = {each["id"]: (each.get("latency") or {}).get("e2e") for each in live}
    agents = {each["session"]: each for each in fleet["agents"] if each["session"] is not None}
    running = dict(_sessions(pools))
    calls = []
    for task in fleet["tasks"]:
        if task["status"] != "in_progress":
            continue
        agent = agents.get(task["session"], {})
        calls.append(
            {
                **_call(task["session"], running.pop(task["session"], None)),
                "agent": task["agent_name"],
                "room": agent.get("room"),
                "state": agent.get("state"),
                "action": agent.get("action"),
                "title": task["title"],
                "progress": task["progress"],
                "started_at": task["started_at"],
                "worker": (agent.get("machine") or "").removeprefix("machine:") or None,
                "latency": _latency(latency.get(task["session"])),
                "cost_usd": task["cost_usd"],
            }
        )
    calls += [_call(job, each) for job, each in running.items()]
    return {
        "at": fleet["at"],
        "health": fleet["health"],
        "workers_known": fleet["workers_known"],
        "pools": [_pool(each) for each in pools],
        "workers": fleet["machines"],
        "calls": calls,
        "waiting": [task for task in fleet["tasks"] if task["status"] == "pending"],
    }


def summary_of_pool(report: dict[str, Any]) -> dict[str, Any]:
    """Return what is shown of one pool that was asked itself: nobody tells of health, nor of what waits."""
    view = {"instance": report["instance"], "lost": False, "report": report}
    return {
        "at": report["at"],
        "health": None,
        "workers_known": False,
        "pools": [_pool(view)],
        "workers": [],
        "calls": [_call(job, each) for job, each in _sessions([view])],
        "waiting": [],
    }


def chosen(
    found: dict[str, Any],
    *,
    sort: str = "",
    agent: str | None = None,
    tenant: str | None = None,
    status: str | None = None,
) -> dict[str, Any]:
    """Return it with those calls alone that were asked for, in the order that was asked for."""
    calls = [
        call
        for call in found["calls"]
        if agent in (None, call["agent"])
        and tenant in (None, call["tenant"])
        and (status is None or status.lower() in {str(call[name]).lower() for name in ("state", "action")})
    ]
    if sort:
        largest = SORTS[sort]
        known = [call for call in calls if _key(call, sort) is not None]
        unknown = [call for call in calls if _key(call, sort) is None]
        calls = [*sorted(known, key=lambda call: _key(call, sort), reverse=largest), *unknown]
    return {**found, "calls": calls}


def _key(call: dict[str, Any], sort: str) -> Any:
    if sort == "latency":
        return call["latency"]["max"]
    if sort == "duration":
        return None if call["started_at"] is None else -call["started_at"]
    return call[{"started": "started_at", "cost": "cost_usd"}.get(sort, sort)]


def _sessions(pools: Iterable[dict[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    for view in pools:
        if not view["lost"]:
            for each in view["report"]["sessions"]:
                yield each["job_id"], {**each, "pool": view["instance"]}


def _call(job: str, session: dict[str, Any] | None) -> dict[str, Any]:
    """Return a call as its pool knows it; what only the log knows is unknown."""
    known = session or {}
    return {
        "session": job,
        "agent": known.get("agent"),
        "room": known.get("room"),
        "state": known.get("state"),
        "action": None,
        "title": f"{known.get('agent')}: {known.get('room')}",
        "progress": None,
        "started_at": known.get("started_at"),
        "worker": None,
        "latency": _latency(None),
        "cost_usd": None,
        **{name: known.get(name) for name in ("pool", "shard", "tenant", "cpu", "memory", "rescues")},
    }


def _latency(measured: dict[str, Any] | None) -> dict[str, Any]:
    return {name: (measured or {}).get(name) for name in ("p50", "p95", "max")}


def _pool(view: dict[str, Any]) -> dict[str, Any]:
    report = view["report"]
    shards = report["shards"]
    return {
        "instance": view["instance"],
        "machine": report["machine"],
        "pid": report["pid"],
        # "lost" is here who is not heard of; a pool itself says so of its server.
        "state": "lost" if view["lost"] else {"lost": "no server"}.get(report["state"], report["state"]),
        "load": report["load"],
        "calls": len(report["sessions"]),
        "max_sessions": report["max_sessions"],
        "memory": _sum(memory_of(each) for each in shards),
        "cpu": _sum(each["cpu"] for each in shards),
        "generation": report["generation"],
        "deployment": report["deployment"],
        "started_at": report["started_at"],
        "shards": shards,
        "failed": [each for each in report["agents"] if each["state"] == "failed"],
        **{name: report[name] for name in ("by_tenant", "started", "ended", "refused", "rescued", "breakers")},
    }


def memory_of(shard: dict[str, Any]) -> int | None:
    """Return what a shard holds in bytes: its share of what is common, where that is known."""
    found: int | None = shard["rss"] if shard["pss"] is None else shard["pss"]
    return found


def _sum(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
