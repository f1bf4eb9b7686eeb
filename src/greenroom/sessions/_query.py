"""Searching sessions: what may be asked, and as SQL."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from greenroom.errors import GreenroomError

MAX_LIMIT: Final = 200
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=-1e15, lt=1e15)]
_WORD: Final = re.compile(r"\w+")


class QueryError(GreenroomError):
    """A search that cannot be made."""

    code = "query_invalid"


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions to list, newest first. What is ``None`` or empty does not matter.

    :param id: the beginning of their ids.
    :param agent: the agent's name; ``room``, the room's name or sid; ``participant``, an identity: exact.
    :param since: only sessions that began then or later, seconds since 1970; ``until``, before then.
    :param tag: one of their tags.
    :param outcome: ``success`` or ``fail``; ``none`` for sessions that did not say.
    :param status: ``live`` or ``ended``.
    :param min_latency: the slowest turn took at least so many seconds end to end.
    :param text: words that were all said, or stood in tools' arguments and results; the last may be a beginning.
    :param after: the ``next`` of the page before.
    """

    id: str | None = None
    agent: str | None = None
    room: str | None = None
    participant: str | None = None
    since: Seconds | None = None
    until: Seconds | None = None
    tag: str | None = None
    outcome: Literal["success", "fail", "none"] | None = None
    status: Literal["live", "ended"] | None = None
    min_latency: Seconds | None = None
    errors: bool | None = None
    recording: bool | None = None
    text: str | None = None
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = 50


# What each field of a query asks of a row; the value is given as often as there are question marks.
_CONDITIONS: Final = {
    "id": "(id >= ? AND id < ? || '~')",
    "agent": "agent = ?",
    "room": "(room_name = ? OR room_sid = ?)",
    "participant": "id IN (SELECT session FROM participant WHERE identity = ?)",
    "since": "started_at >= ?",
    "until": "started_at < ?",
    "tag": "id IN (SELECT session FROM tag WHERE name = ?)",
    "outcome": "outcome = ?",
    "status": "status = ?",
    "min_latency": "latency >= ?",
    "errors": "(errors > 0) = ?",
    "recording": "recording = ?",
    "text": "rowid IN (SELECT rowid FROM words WHERE words MATCH ?)",
}


def sql_of(query: SessionQuery) -> tuple[str, list[Any]]:
    """Return the statement for one page and one row more. Raises :class:`QueryError`."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise QueryError(f"limit {query.limit} is not between 1 and {MAX_LIMIT}", fix="Ask for fewer and page on")
    where: list[str] = []
    given: list[Any] = []
    for name, condition in _CONDITIONS.items():
        value = getattr(query, name)
        if value is not None:
            where.append(condition)
            given += [_READ.get(name, _same)(value)] * condition.count("?")
    if query.after:
        where.append("(started_at, id) < (?, ?)")
        given += _place(query.after)
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    statement = f"SELECT summary, started_at, id FROM session {condition} ORDER BY started_at DESC, id DESC LIMIT ?"  # noqa: S608 - conditions are constants
    return statement, [*given, query.limit + 1]


def place_of(started_at: float, session: str) -> str:
    """Return where a page ends, for the ``after`` of the next one."""
    return base64.urlsafe_b64encode(msgspec.json.encode((started_at, session))).decode().rstrip("=")


def _place(text: str) -> tuple[float, str]:
    try:
        padded = text + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=tuple[float, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise QueryError("'after' is not the end of a page", fix="Pass the 'next' of the page before") from None


def _match(text: str) -> str:
    words = _WORD.findall(text)
    if not words:
        raise QueryError("'text' has no word in it", fix="Search for a word")
    return " ".join([*(f'"{word}"' for word in words[:-1]), f'"{words[-1]}"*'])


def _same(value: Any) -> Any:
    return value


def _outcome(value: str) -> str:
    return "" if value == "none" else value


_READ: Final[dict[str, Callable[[Any], Any]]] = {"text": _match, "outcome": _outcome}
