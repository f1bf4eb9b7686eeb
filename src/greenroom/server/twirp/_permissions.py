"""Who may call what: LiveKit's grants first, then the policy of the API key.

A missing grant reads exactly as LiveKit's (401, ``permissions denied``), also when the token is valid.
What only our key policy forbids is a 403 that names the key and what it may not touch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from greenroom.grants import Grant, SipGrant, VideoGrant
from greenroom.server.twirp._service import Call
from greenroom.server.twirp._wire import TwirpError

PERMISSIONS_DENIED: Final = "permissions denied"


def require_room_create(call: Call, room: str) -> Grant:
    """Let only tokens with ``roomCreate`` through."""
    grant = _granted(call, _video(call).room_create)
    require_room_policy(grant, room)
    return grant


def require_room_list(call: Call) -> Grant:
    """Let only tokens with ``roomList`` through."""
    return _granted(call, _video(call).room_list)


def require_room_admin(call: Call, room: str) -> Grant:
    """Let only tokens with ``roomAdmin`` for exactly this room through."""
    video = _video(call)
    grant = _granted(call, video.room_admin and video.room == room)
    require_room_policy(grant, room)
    return grant


def require_destination_room(call: Call, room: str, destination: str) -> Grant:
    """Let only administrators of ``room`` through whose token also names ``destination``."""
    video = _video(call)
    grant = _granted(call, video.room_admin and video.room == room and video.destination_room == destination)
    require_room_policy(grant, room)
    require_room_policy(grant, destination)
    return grant


def require_room_record(call: Call) -> Grant:
    """Let only tokens with ``roomRecord`` through."""
    return _granted(call, _video(call).room_record)


def require_ingress_admin(call: Call) -> Grant:
    """Let only tokens with ``ingressAdmin`` through."""
    return _granted(call, _video(call).ingress_admin)


def require_sip_admin(call: Call) -> Grant:
    """Let only tokens with the SIP grant's ``admin`` through."""
    return _granted(call, _sip(call).admin)


def require_sip_call(call: Call) -> Grant:
    """Let only tokens with the SIP grant's ``call`` through."""
    return _granted(call, _sip(call).call)


def require_room_policy(grant: Grant, room: str) -> None:
    """Refuse rooms that the API key may not touch."""
    if not grant.allows_room(room):
        raise _forbidden(grant, "room", room)


def require_agent_policy(grant: Grant, agents: Iterable[str]) -> None:
    """Refuse agent names that the API key may not ask for."""
    for agent in agents:
        if not grant.allows_agent(agent):
            raise _forbidden(grant, "agent", agent)


def _video(call: Call) -> VideoGrant:
    return (call.grant.claims.video if call.grant else None) or VideoGrant()


def _sip(call: Call) -> SipGrant:
    return (call.grant.claims.sip if call.grant else None) or SipGrant()


def _granted(call: Call, allowed: bool) -> Grant:
    if call.grant is None or not allowed:
        raise TwirpError("unauthenticated", PERMISSIONS_DENIED)
    return call.grant


def _forbidden(grant: Grant, what: str, name: str) -> TwirpError:
    return TwirpError(
        "permission_denied",
        f"API key '{grant.key.key}' may not use {what} '{name}'. Use another key, or add the name to the key's {what}s",
        {"api_key": grant.key.key, what: name},
    )
