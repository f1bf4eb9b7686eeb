"""What ``greenroom top`` shows, as lines. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from greenroom.cli.top._summary import memory_of

_UNKNOWN: Final = "-"
_GONE: Final = frozenset({"lost", "stopped"})
_CALL: Final = ("CALL", "WHAT", "STATE", "FOR", "P50", "SLOWEST", "COST")
_POOLED: Final = ("CALL", "WHAT", "TENANT", "SHARD", "STATE", "FOR", "P50", "SLOWEST", "CPU", "MEMORY", "COST")


def table(found: dict[str, Any], *, width: int, where: str) -> list[str]:
    """Return the lines to show, none of them longer than ``width``."""
    now = found["at"]
    lines = [f"greenroom top  {where}  {time.strftime('%H:%M:%S', time.localtime(now))}"]
    if found["health"] is not None:
        health = found["health"]
        lines.append(
            f"{health['level']}  calls {health['tasks_in_progress']}  waiting {health['tasks_pending']}"
            f"  completed today {health['tasks_completed_today']}  cost today {_money(health['cost_usd_today'])}"
        )
        lines += [f"! {reason['message']}" for reason in health["reasons"]]
    lines += _pools(found["pools"], now)
    lines += _workers(found, now)
    lines.append("")
    pooled = bool(found["pools"])
    rows = [_pooled_row(each, now) if pooled else _row(each, now) for each in found["calls"]]
    lines += _columns(_POOLED if pooled else _CALL, rows, "no calls")
    if found["waiting"]:
        lines.append("")
        waiting = [
            (each["title"], _since(each["started_at"], now), each["why"] or _UNKNOWN) for each in found["waiting"]
        ]
        lines += _columns(("WAITING", "FOR", "WHY"), waiting, "")
    return [_clean(line)[:width] for line in lines]


def fitted(lines: Sequence[str], height: int) -> list[str]:
    """Return what fits on a screen, and say so when that is not all."""
    if len(lines) <= height:
        return list(lines)
    return [*lines[: max(0, height - 1)], f"… {len(lines) - height + 1} more lines; a taller window shows them"]


def _pools(pools: Sequence[dict[str, Any]], now: float) -> list[str]:
    if not pools:
        return []
    lines = []
    rows: list[tuple[str, ...]] = []
    for pool in sorted(pools, key=lambda pool: pool["state"] in _GONE):
        name = f"{pool['machine']}/{pool['pid']}" + (f" {pool['deployment']}" if pool["deployment"] else "")
        if pool["state"] in _GONE:
            # What it said last is not true any more.
            rows.append((name, pool["state"], *[_UNKNOWN] * 6))
            continue
        rows.append(
            (
                name,
                pool["state"],
                f"{pool['load']:.0%}",
                f"{pool['calls']}/{pool['max_sessions']}",
                _UNKNOWN,
                _share(pool["cpu"]),
                _bytes(pool["memory"]),
                _since(pool["started_at"], now),
            )
        )
        rows += [_shard(each) for each in pool["shards"]]
        lines += [f"! {pool['machine']}: the provider {name} is {state}" for name, state in pool["breakers"].items()]
        lines += [f"! {each['source']} is not in service: {each['detail']}" for each in pool["failed"]]
    names = ("POOL", "STATE", "LOAD", "CALLS", "LAG", "CPU", "MEMORY", "UP")
    return [*lines, "", *_columns(names, rows, "")]


def _shard(shard: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"  shard {shard['number']} (pid {shard['pid']})",
        shard["state"] + (f" at {shard['where']}" if shard["where"] else ""),
        _UNKNOWN,
        str(shard["sessions"]),
        _UNKNOWN if shard["lag"] is None else f"{shard['lag'] * 1000:.0f} ms",
        _share(shard["cpu"]),
        _bytes(memory_of(shard)),
        _UNKNOWN,
    )


def _workers(found: dict[str, Any], now: float) -> list[str]:
    if found["health"] is None:
        return []
    rows = [
        (
            each["worker"],
            each["agent_name"] or "agent",
            (each["status"] or _UNKNOWN) if each["online"] else "gone",
            _UNKNOWN if each["load"] is None else f"{each['load']:.0%}",
            _UNKNOWN if each["jobs"] is None else str(each["jobs"]),
            _since(each["connected_at"], now) if each["online"] else _UNKNOWN,
        )
        for each in found["workers"]
        # Those of a pool stand there.
        if each.get("pool") is None
    ]
    if not rows and found["pools"]:
        return []
    if not found["workers_known"]:
        return ["", "workers: this LiveKit server does not tell of them"]
    return ["", *_columns(("WORKER", "AGENT", "STATUS", "LOAD", "CALLS", "UP"), rows, "no workers")]


def _row(call: dict[str, Any], now: float) -> tuple[str, ...]:
    return (
        call["session"],
        call["title"],
        call["action"] or call["state"] or _UNKNOWN,
        _since(call["started_at"], now),
        _seconds(call["latency"]["p50"]),
        _seconds(call["latency"]["max"]),
        _money(call["cost_usd"]),
    )


def _pooled_row(call: dict[str, Any], now: float) -> tuple[str, ...]:
    session, title, *middle, cost = _row(call, now)
    shard = _UNKNOWN if call["shard"] is None else str(call["shard"])
    spent = (_share(call["cpu"]), _bytes(call["memory"]))
    return (session, title, call["tenant"] or _UNKNOWN, shard, *middle, *spent, cost)


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> list[str]:
    if not rows:
        return [none]
    widths = [max(len(row[column]) for row in (names, *rows)) for column in range(len(names))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (names, *rows)
    ]


def _clean(line: str) -> str:
    """Titles are somebody's words: nothing of them may move the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _since(at: float | None, now: float) -> str:
    if at is None:
        return _UNKNOWN
    minutes, seconds = divmod(max(0, int(now - at)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f} s"


def _money(value: float | None) -> str:
    return _UNKNOWN if value is None else f"${value:.4f}"


def _share(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.0%}"


def _bytes(value: int | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"
