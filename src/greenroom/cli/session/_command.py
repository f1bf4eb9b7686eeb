"""Finding a session and printing it, once or as long as it lives."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from greenroom.cli._api import Api, ApiError, path_of, print_json
from greenroom.cli._options import ApiOptions
from greenroom.cli._paper import Paper
from greenroom.errors import ConfigError, GreenroomError
from greenroom.sessions import Session, SessionPage

_LAST: Final = "last"
_LISTED: Final = 5
# No such job runs, or the extra to listen with is not installed.
_UNWATCHED: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)


def session_command(options: ApiOptions, session: str, *, follow: bool, as_json: bool) -> int:
    """Print a session. Raises :class:`GreenroomError`."""
    api = Api.of(options)
    found = found_session(api, session)
    if follow:
        return _follow(api, found, as_json=as_json)
    if as_json:
        print_json(found)
    else:
        _print_whole(found)
    return 0


def found_session(api: Api, session: str) -> Session:
    """Return the session with this id, the only one whose id begins so, or the ``last``.

    :raises GreenroomError: there is none, or there are several.
    """
    if not session.strip():
        raise ConfigError("A session needs an id", fix="List them with greenroom sessions, or say last")
    asked = {"limit": 1} if session == _LAST else {"id": session, "limit": _LISTED}
    page = api.get("/sessions", SessionPage, **asked)
    ids = [each.id for each in page.sessions]
    if session in ids:
        ids = [session]
    if not ids:
        what = "no session yet" if session == _LAST else f"no session '{session[:80]}'"
        raise ApiError(f"There is {what}", fix="List them with greenroom sessions", problem="session_not_found")
    if len(ids) > 1:
        more = ", …" if page.next else ""
        raise GreenroomError(
            f"Several sessions begin with '{session}': {', '.join(ids)}{more}", fix="Write more of the id"
        )
    return api.get(path_of("sessions", ids[0]), Session)


def _print_whole(found: Session) -> None:
    from greenroom.cli.session._page import entries_of, foot_of, head_of  # noqa: PLC0415 - not for JSON

    paper = Paper.here()
    conversation = [line for entry in entries_of(found, paper) for line in entry.lines]
    print(*head_of(found, paper), "", *conversation, *foot_of(found, paper), sep="\n")


def _follow(api: Api, found: Session, *, as_json: bool) -> int:
    """Print what is new whenever the record has changed, until the session has ended."""
    session = found.summary.id
    show = print_json if as_json else _Follower(found).show
    if found.summary.status == "ended":
        show(found)
        return 0
    for name, data in _changes(api, session):
        if name in {"hello", "reset"} or (name == "sessions.changed" and session in data["ids"]):
            found = api.get(path_of("sessions", session), Session)
            show(found)
            if found.summary.status == "ended":
                break
    return 0


def _changes(api: Api, session: str) -> Iterator[tuple[str, Any]]:
    told = False
    try:
        for change in api.events(type="sessions.changed", watch=session):
            told = True
            yield change
    except ApiError as error:
        if told or error.status not in _UNWATCHED:
            raise
        # Nobody can listen to it: its record tells what the other sources do.
        yield from api.events(type="sessions.changed")


class _Follower:
    """Prints what has not been printed yet."""

    def __init__(self, found: Session) -> None:
        from greenroom.cli.session._page import entries_of, foot_of, head_of  # noqa: PLC0415 - not for JSON

        self._paper = Paper.here()
        self._entries_of, self._foot_of = entries_of, foot_of
        self._shown: set[str] = set()
        self._provisional = found.provisional
        print(*head_of(found, self._paper), "", sep="\n", flush=True)

    def show(self, found: Session) -> None:
        """Print what is new, and the end of what has ended."""
        if self._provisional and not found.provisional:
            # The trace has other ids than the conversation it was heard of.
            print("now by the session's own account:")
            self._shown.clear()
        self._provisional = found.provisional
        for entry in self._entries_of(found, self._paper):
            if entry.key not in self._shown:
                self._shown.add(entry.key)
                print(*entry.lines, sep="\n", flush=True)
        if found.summary.status == "ended":
            print(*self._foot_of(found, self._paper), sep="\n", flush=True)
