"""A session as lines to read: who, what was said and done when, how long it took, what it cost. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from greenroom.cli._paper import UNKNOWN, Paper, money, plain, seconds
from greenroom.cli.session._waterfall import LEGEND, bar_of, total_of, words_of
from greenroom.cli.sessions import outcome_of, who_of
from greenroom.sessions import Cost, Session, SessionSummary, ToolCall, Turn

_BAR: Final = 40
_LABEL: Final = 10
_NO_UPLOAD: Final = (
    "its agent uploaded nothing: set LIVEKIT_OBSERVABILITY_URL in its worker's environment, and on LiveKit's own "
    "server agents.enable_user_data_recording: true"
)
_STAGES: Final = {
    "stt": "stt",
    "end_of_turn": "eou",
    "llm_first_token": "llm",
    "tts_first_byte": "tts",
    "e2e": "all",
}
_CONTROLS: Final = {
    "listen": "listens",
    "type": "typed to the agent",
    "mute": "muted or unmuted the agent",
    "end": "ended the call",
}


_STYLES: Final = {
    "user": "bold",
    "agent": "green",
    "tool": "blue",
    "hand-off": "magenta",
    "operator": "magenta",
    "error": "red",
    "note": "dim",
}


class Entry(msgspec.Struct, frozen=True):
    """Something that happened. ``key`` is the same as long as nothing more is known of it."""

    key: str
    at: float
    lines: tuple[str, ...]


def head_of(found: Session, paper: Paper) -> list[str]:
    """Return the lines above the conversation."""
    summary = found.summary
    agent = plain(summary.agent.name) or "(unnamed)"
    sdk = f", livekit-agents {summary.agent.sdk_version}" if summary.agent.sdk_version else ""
    state = f", {summary.agent.state}" if summary.status == "live" and summary.agent.state else ""
    lines = [
        f"{paper.ink(summary.id, 'bold')}  {outcome_of(summary)}",
        _labelled("agent", f"{agent}{sdk}{state}"),
        _labelled("room", f"{plain(summary.room.name) or UNKNOWN}  {summary.room.sid or UNKNOWN}"),
        _labelled("who", who_of(summary)),
        _labelled("when", f"{paper.moment(summary.started_at)}, {_length(summary)}"),
    ]
    if summary.close_reason:
        lines.append(_labelled("closed", summary.close_reason.replace("_", " ")))
    if summary.outcome and summary.outcome.reason:
        lines.append(_labelled("outcome", f"{summary.outcome.outcome}: {plain(summary.outcome.reason)}"))
    if summary.tags:
        lines.append(_labelled("tags", ", ".join(map(plain, summary.tags))))
    lines += [
        _labelled("judged", f"{plain(each.name)}: {each.verdict or UNKNOWN}  {plain(each.reasoning)}".rstrip())
        for each in found.evaluations
    ]
    if summary.redacted:
        lines.append(_labelled("note", "redacted: what was said is not kept"))
    if summary.status == "ended" and not (found.telemetry or found.recordings or found.cost.lines):
        lines.append(_labelled("note", _NO_UPLOAD))
    if found.provisional:
        lines.append(_labelled("note", "nobody has told of the conversation yet: this is what the trace heard of it"))
    return lines


def entries_of(found: Session, paper: Paper) -> list[Entry]:
    """Return what happened, in order of time: turns, errors, and what operators did."""
    longest = max((total_of(turn.latency) or 0.0 for turn in found.turns), default=0.0)
    entries: list[Entry] = []
    for turn in found.turns:
        entries += _turn(turn, longest, paper)
    for error in found.errors:
        what = ": ".join(part for part in (plain(error.where), plain(error.type), plain(error.message)) if part)
        key = f"error {error.at} {error.where} {error.message}"
        entries.append(_entry(key, error.at, "error", what, paper))
    for act in found.controls:
        words = f"{plain(act.by) or UNKNOWN} {_CONTROLS.get(act.verb, act.verb)}"
        entries.append(_entry(f"control {act.at} {act.verb}", act.at, "operator", words, paper))
    entries += [
        _entry(f"false {at}", at, "note", "the user had not interrupted after all", paper)
        for at in found.false_interruptions
    ]
    return sorted(entries, key=lambda entry: entry.at)


def foot_of(found: Session, paper: Paper) -> list[str]:
    """Return the lines below the conversation: latency, usage, cost, what is kept."""
    lines = [""]
    spreads = found.summary.latency
    if spreads:
        rows = [
            (name, f"{spread.p50:.2f} s", f"{spread.p95:.2f} s", f"{spread.max:.2f} s", str(spread.count))
            for stage, name in _STAGES.items()
            if (spread := spreads.get(stage))
        ]
        lines += [*paper.table(("LATENCY", "MEDIAN", "P95", "SLOWEST", "TURNS"), rows), paper.ink(LEGEND, "dim"), ""]
    else:
        lines += [_labelled("latency", "unknown: no turn was measured")]
    lines += _cost(found.cost, paper)
    counts = {"interruptions": found.summary.interruptions, "hand-offs": found.summary.handoffs}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if told:
        lines.append(_labelled("also", told))
    recordings = [f"{seconds(each.duration)} of {each.format}" for each in found.recordings]
    lines.append(_labelled("recording", ", ".join(recordings) or "none"))
    return lines


def _cost(cost: Cost, paper: Paper) -> Iterator[str]:
    if cost.lines:
        rows = [
            (
                line.kind,
                plain(f"{line.provider} {line.model}"),
                ", ".join(f"{_amount(value)} {name.replace('_', ' ')}" for name, value in line.amounts.items())
                or UNKNOWN,
                money(line.cost, cost.currency),
            )
            for line in cost.lines
        ]
        yield from paper.table(("USED", "MODEL", "HOW MUCH", "COST"), rows)
    if cost.amount is None:
        known = f"; what has a price cost {money(cost.known, cost.currency)}" if cost.lines else ""
        why = "a price is missing" if cost.lines else "nobody told what was used"
        yield _labelled("cost", f"unknown: {why}{known}")
    else:
        yield _labelled("cost", f"{money(cost.amount, cost.currency)} by the prices of {cost.price_table}")


def _turn(turn: Turn, longest: float, paper: Paper) -> Iterator[Entry]:
    start = turn.at or 0.0
    if turn.user is not None:
        yield _entry(turn.user.id, turn.user.at or start, "user", plain(turn.user.text or "(withheld)"), paper)
    for tool in turn.tools:
        yield _tool(tool, tool.at or start, paper)
    for handoff in turn.handoffs:
        if handoff.old_agent is not None:
            words = f"{plain(handoff.old_agent)} -> {plain(handoff.new_agent or UNKNOWN)}"
            at = handoff.at or start
            yield _entry(f"handoff {at} {words}", at, "hand-off", words, paper)
    for number, said in enumerate(turn.agent):
        mark = paper.ink(" [interrupted]", "yellow") if said.interrupted else ""
        text = plain(said.text or "(withheld)") + mark
        extra = (_waterfall(turn, longest, paper),) if number == 0 and _is_timed(turn) else ()
        yield _entry(said.id, said.at or start, "agent", text, paper, *extra)


def _is_timed(turn: Turn) -> bool:
    # What begins without a user, a greeting, has no delay that anybody waited for.
    return turn.user is not None or total_of(turn.latency) is not None


def _waterfall(turn: Turn, longest: float, paper: Paper) -> str:
    width = _BAR if paper.width is None else min(_BAR, paper.width - 60)
    bar = bar_of(turn.latency, longest, width, paper)
    return " " * _LABEL + "          " + "  ".join(part for part in (bar, words_of(turn.latency)) if part)


def _tool(tool: ToolCall, at: float, paper: Paper) -> Entry:
    took = f"  ({seconds(tool.duration)})" if tool.duration is not None else ""
    result = "(no result)" if tool.result is None else plain(tool.result)
    failed = paper.ink("failed: ", "red") if tool.is_error else ""
    words = f"{plain(tool.name)}({plain(tool.arguments or '')}){took}"
    below = f"{' ' * _LABEL}          -> {failed}{result}"
    key = f"{tool.call_id} {tool.result is not None}"
    return _entry(key, at, "tool", words, paper, below)


def _entry(key: str, at: float, label: str, text: str, paper: Paper, *more: str) -> Entry:
    line = f"{paper.clock(at or None)}  {paper.ink(label.ljust(_LABEL - 2), _STYLES[label])}  {text}"
    return Entry(key, at, (line, *more))


def _labelled(label: str, text: str) -> str:
    return f"{label.ljust(_LABEL)}{text}"


def _length(summary: SessionSummary) -> str:
    return "still going on" if summary.status == "live" else seconds(summary.duration)


def _amount(value: float) -> str:
    return f"{value:g}" if value != int(value) else f"{int(value)}"
