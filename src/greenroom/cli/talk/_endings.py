"""Why a call could not be made, or is over, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from greenroom.errors import ConfigError, GreenroomError

_REFUSED: Final = re.compile(r"client error: (\d+)[^-]*(?:- (.*))?", re.DOTALL)
_LOG: Final = "Its log says why"
_AGAIN: Final = "Start it again, then call again"
_UDP: Final = "Check that the server's UDP port can be reached from here"


class CallError(GreenroomError):
    """The call could not be made or broke off; not by a mistake in the command."""

    code = "call_failed"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why a call that came about is over.

    :param calm: whether somebody wanted it so.
    :param by_caller: whether this somebody is who called.
    """

    calm: bool
    message: str
    fix: str = ""
    by_caller: bool = False


_ENDINGS: Final = {
    "ROOM_DELETED": Ending(calm=True, message="The call was ended"),
    "ROOM_CLOSED": Ending(calm=True, message="The room was closed"),
    "SERVER_SHUTDOWN": Ending(calm=False, message="The server stopped", fix=_AGAIN),
    "PARTICIPANT_REMOVED": Ending(
        calm=False, message="You were removed from the room", fix="Somebody with the API key did it"
    ),
    "DUPLICATE_IDENTITY": Ending(calm=False, message="Somebody else joined as you", fix="Call again"),
    "CONNECTION_TIMEOUT": Ending(calm=False, message="No packets came through any more", fix=_UDP),
    "MEDIA_FAILURE": Ending(calm=False, message="The connection failed", fix=_UDP),
    "JOIN_FAILURE": Ending(calm=False, message="The server gave up setting up the call", fix=_LOG),
    "AGENT_ERROR": Ending(calm=False, message="The agent ended the call because of an error", fix=_LOG),
}
HUNG_UP: Final = Ending(calm=True, message="You left the call", by_caller=True)
_LOST: Final = Ending(calm=False, message="The server is gone", fix=_AGAIN)
_CALM_LEAVING: Final = frozenset({"CLIENT_INITIATED", "ROOM_DELETED", "ROOM_CLOSED"})


def ending_of_call(reason: str) -> Ending:
    """Return why the server closed the call. ``reason`` is LiveKit's name of it."""
    return _ENDINGS.get(reason, _LOST)


def ending_by_agent(agent: str, reason: str) -> Ending:
    """Return what it means that the agent left and no other came."""
    if reason in _CALM_LEAVING:
        return Ending(calm=True, message=f"{agent} hung up")
    return Ending(calm=False, message=f"{agent} is gone", fix=_LOG)


def refusal(said: str, url: str, key: str) -> GreenroomError:
    """Return the error for a call that did not come about.

    :param said: the words of LiveKit's client.
    :param key: the name of the API key.
    """
    match = _REFUSED.search(said)
    status, words = (int(match[1]), (match[2] or "").strip()) if match else (0, "")
    if status == 401 and ("expired" in words or "not valid yet" in words):
        return CallError(f"{url} refused the call: {words}", fix="Set the clocks of this machine and the server")
    if status == 401:
        why = f": {words}" if words else ""
        return ConfigError(
            f"{url} does not accept the key '{key}'{why}",
            fix="Pass the server's own with --key KEY:SECRET, or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        )
    if status == 404 and not words.startswith("requested room"):
        return ConfigError(f"What answers at {url} is not a LiveKit server", fix="Check --url or LIVEKIT_URL")
    if status:
        return CallError(f"{url} refused the call: {words or status}", fix=_LOG)
    if "pc connection" in said or "peer connection" in said:
        return CallError(f"{url} let the call in, but no packets came through", fix=_UDP)
    if "IO error" in said or "transport connection" in said or "timed out" in said or "timeout" in said:
        return silence(url)
    return CallError(f"The call to {url} failed: {said}", fix="Check that the server is running")


def silence(url: str) -> CallError:
    """Return the error for a server that is not there."""
    return CallError(
        f"Nothing answers at {url}", fix="Start it with: greenroom dev, or say where it is with --url or LIVEKIT_URL"
    )
