"""``greenroom sessions``: the calls, the latest first."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from greenroom.cli._api import Api, print_json
from greenroom.cli._options import ApiOptions, SessionsRequest
from greenroom.cli._paper import UNKNOWN, Paper, money, plain, seconds
from greenroom.cli._settings import parse_duration
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.sessions import SessionSummary

_PAGE: Final = 200
_HEAD: Final = ("SESSION", "WHEN", "AGENT", "ROOM", "WHO", "DURATION", "TURNS", "SLOWEST", "COST", "OUTCOME")


def sessions_command(options: ApiOptions, request: SessionsRequest, *, as_json: bool) -> int:
    """Print a table of sessions. Raises :class:`GreenroomError`."""
    from greenroom.sessions import SessionPage  # noqa: PLC0415 - not before the options are read

    asked = _asked(request, time.time())
    api = Api.of(options)
    found: list[SessionSummary] = []
    after = request.after
    while True:
        limit = min(_PAGE, request.limit - len(found))
        page = api.get("/sessions", SessionPage, **asked, after=after, limit=limit)
        found += page.sessions
        after = page.next
        if not after or len(found) >= request.limit:
            break
    if as_json:
        print_json(SessionPage(sessions=tuple(found), next=after))
        return 0
    if not found:
        print("no sessions", file=sys.stderr)
        return 0
    paper = Paper.here()
    print(*paper.table(_HEAD, [row_of(each, paper) for each in found]), sep="\n")
    if after:
        print(f"there are more: add --after {after}", file=sys.stderr)
    return 0


def row_of(found: SessionSummary, paper: Paper) -> tuple[str, ...]:
    """Return a session as the cells of a line; ``?`` is what nobody knows."""
    slowest = found.latency.get("e2e")
    return (
        found.id,
        paper.moment(found.started_at),
        plain(found.agent.name) or "(unnamed)",
        plain(found.room.name) or UNKNOWN,
        who_of(found),
        seconds(found.duration),
        str(found.turns),
        seconds(slowest.max if slowest else None),
        money(found.cost, found.currency),
        outcome_of(found),
    )


def who_of(found: SessionSummary) -> str:
    """Return the people of a session: neither agents nor who listens unseen."""
    unseen = ("greenroom-observer-", "greenroom-listener-")
    people = dict.fromkeys(
        plain(each.phone or each.identity)
        for each in found.participants
        if each.kind != "agent" and each.identity not in {"", found.agent.identity}
        if not each.identity.startswith(unseen)
    )
    return ", ".join(people) or UNKNOWN


def outcome_of(found: SessionSummary) -> str:
    """Return how a session stands or ended, in a word or two."""
    words = [found.outcome.outcome if found.outcome else found.status]
    if found.outcome and found.status == "live":
        words.append("live")
    if found.errors:
        words.append(f"{found.errors} error{'s' if found.errors > 1 else ''}")
    return ", ".join(words)


def _asked(request: SessionsRequest, now: float) -> dict[str, Any]:
    if request.limit < 1:
        raise ConfigError(f"--limit {request.limit} is no number of sessions", fix="Use 1 or more")
    return {
        "agent": request.agent,
        "room": request.room,
        "participant": request.participant,
        "tag": request.tag,
        "outcome": request.outcome,
        "status": request.status,
        "text": request.text,
        "min_latency": request.slower_than,
        "errors": request.errors or None,
        "since": parse_moment(request.since, now, "--since"),
        "until": parse_moment(request.until, now, "--until"),
    }


def parse_moment(text: str | None, now: float, option: str) -> float | None:
    """Return the seconds since 1970 that ``2h`` (ago) or ``2026-11-20 09:00`` mean. Raises :class:`ConfigError`."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return now - parse_duration(text)
    except ConfigError:
        raise ConfigError(
            f"{option} '{text}' is no time",
            fix=f"For example: {option} 2h, {option} 2026-11-20, {option} 2026-11-20T09:00",
        ) from None
