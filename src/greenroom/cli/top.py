"""``greenroom top``: the fleet in a terminal, as ``/api`` tells of it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from greenroom.cli._api import Api
from greenroom.cli._options import ApiOptions
from greenroom.errors import ConfigError

_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END: Final = "\x1b[J"
_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
_BACK: Final = "\x1b[?25h\x1b[?1049l"
_FASTEST: Final = 0.1
_SLOWEST: Final = 3600.0
_UNKNOWN: Final = "-"
_SHOWN: Final = 200


@dataclass(kw_only=True)
class TopRequest:
    """What to show, and how often."""

    once: bool = False
    as_json: bool = False
    every: float = 1.0


def top_command(options: ApiOptions, request: TopRequest) -> int:
    """Show the fleet until told to stop. Raises :class:`GreenroomError`."""
    if not _FASTEST <= request.every <= _SLOWEST:
        raise ConfigError(f"--every {request.every:g} is out of range", fix="Use seconds from 0.1 to 3600")
    api = Api.of(options)
    screen = sys.stdout.isatty() and not (request.once or request.as_json)
    if screen:
        sys.stdout.write(_SCREEN)
    try:
        while True:
            _show(api, request, screen=screen)
            if request.once:
                return 0
            time.sleep(request.every)
    except KeyboardInterrupt:
        return 0
    finally:
        if screen:
            sys.stdout.write(_BACK)
            sys.stdout.flush()


def _show(api: Api, request: TopRequest, *, screen: bool) -> None:
    fleet = api.get("/fleet", dict[str, Any])
    live = api.get("/sessions", dict[str, Any], status="live", limit=_SHOWN)
    found = summary(fleet, live.get("sessions", ()))
    if request.as_json:
        text = msgspec.json.encode(found).decode() + "\n"
    else:
        size = shutil.get_terminal_size()
        lines = table(found, width=size.columns, where=api.url)
        if screen:
            lines = fitted(lines, size.lines)
            text = _HOME + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines[:-1]) + lines[-1] + _TO_END
        else:
            text = "".join(f"{line}\n" for line in lines) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()


def summary(fleet: dict[str, Any], live: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what is shown, in one object: health, workers, calls with their latency, and what waits.

    :param live: summaries of the sessions that run.
    """
    latency = {each["id"]: (each.get("latency") or {}).get("e2e") for each in live}
    agents = {each["session"]: each for each in fleet["agents"] if each["session"] is not None}
    calls = []
    for task in fleet["tasks"]:
        if task["status"] != "in_progress":
            continue
        agent = agents.get(task["session"], {})
        measured = latency.get(task["session"]) or {}
        calls.append(
            {
                "session": task["session"],
                "agent": task["agent_name"],
                "room": agent.get("room"),
                "state": agent.get("state"),
                "action": agent.get("action"),
                "title": task["title"],
                "progress": task["progress"],
                "started_at": task["started_at"],
                "worker": (agent.get("machine") or "").removeprefix("machine:") or None,
                "latency": {name: measured.get(name) for name in ("p50", "p95", "max")},
                "cost_usd": task["cost_usd"],
            }
        )
    return {
        "at": fleet["at"],
        "health": fleet["health"],
        "workers_known": fleet["workers_known"],
        "workers": fleet["machines"],
        "calls": calls,
        "waiting": [task for task in fleet["tasks"] if task["status"] == "pending"],
    }


def table(found: dict[str, Any], *, width: int, where: str) -> list[str]:
    """Return the lines to show, none of them longer than ``width``."""
    health, now = found["health"], found["at"]
    cost = health["cost_usd_today"]
    lines = [
        f"greenroom top  {where}  {time.strftime('%H:%M:%S', time.localtime(now))}",
        f"{health['level']}  calls {health['tasks_in_progress']}  waiting {health['tasks_pending']}"
        f"  completed today {health['tasks_completed_today']}  cost today {_money(cost)}",
    ]
    lines += [f"! {reason['message']}" for reason in health["reasons"]]
    lines.append("")
    if found["workers_known"]:
        workers = [
            (
                each["worker"],
                each["agent_name"] or "agent",
                (each["status"] or _UNKNOWN) if each["online"] else "gone",
                _UNKNOWN if each["load"] is None else f"{each['load']:.0%}",
                _UNKNOWN if each["jobs"] is None else str(each["jobs"]),
                _since(each["connected_at"], now) if each["online"] else _UNKNOWN,
            )
            for each in found["workers"]
        ]
        lines += _columns(("WORKER", "AGENT", "STATUS", "LOAD", "CALLS", "UP"), workers, "no workers")
    else:
        lines.append("workers: this LiveKit server does not tell of them")
    lines.append("")
    calls = [
        (
            each["session"],
            each["title"],
            each["action"] or _UNKNOWN,
            _since(each["started_at"], now),
            _seconds(each["latency"]["p50"]),
            _seconds(each["latency"]["max"]),
            _money(each["cost_usd"]),
        )
        for each in found["calls"]
    ]
    lines += _columns(("CALL", "WHAT", "STATE", "FOR", "P50", "SLOWEST", "COST"), calls, "no calls")
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
