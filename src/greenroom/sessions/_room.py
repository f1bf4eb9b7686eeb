"""What webhooks tell of a room, of which one or more sessions run in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from greenroom.eventlog import Record, StreamErased
from greenroom.sessions._items import amount
from greenroom.sessions._join import greatest, join, joined, least
from greenroom.sessions._state import RoomParticipant, RoomState
from greenroom.sessions._step import fields_of

ROOM: Final = "room:"
_LEFT: Final = frozenset({"participant.left", "participant.connection_aborted"})


def step_room(state: RoomState | None, record: Record) -> RoomState | None:
    """Return what is known of a room after an event of its stream; ``None`` of one that is erased or unheard of."""
    if isinstance(record.data, StreamErased):
        return None
    if record.data is None:
        return state
    known = state or RoomState(sid=record.stream.removeprefix(ROOM))
    message = _message(record)
    room = message.get("room")
    if isinstance(room, Mapping):
        known = msgspec.structs.replace(
            known,
            name=join(known.name, _word(room, "name")),
            started_at=least(known.started_at, _time(room, "creationTime", "creationTimeMs")),
        )
    if record.type == "room.finished":
        known = msgspec.structs.replace(known, finished_at=greatest(known.finished_at, record.at))
    who = message.get("participant")
    if not isinstance(who, Mapping) or not _word(who, "sid"):
        return known
    permission = who.get("permission")
    participant = RoomParticipant(
        sid=_word(who, "sid"),
        identity=_word(who, "identity"),
        name=_word(who, "name"),
        kind=(_word(who, "kind") or "standard").lower(),
        hidden=isinstance(permission, Mapping) and permission.get("hidden") is True,
        joined_at=_time(who, "joinedAt", "joinedAtMs"),
        left_at=record.at if record.type in _LEFT else None,
    )
    return msgspec.structs.replace(known, participants=joined(known.participants, {participant.sid: participant}))


def _message(record: Record) -> Mapping[str, Any]:
    """Return the webhook: LiveKit's own message as protobuf's JSON, in the payload's ``message``."""
    raw = fields_of(record).get("message")
    if isinstance(raw, str):
        try:
            raw = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return {}
    return raw if isinstance(raw, Mapping) else {}


def _time(raw: Mapping[str, Any], in_seconds: str, in_milliseconds: str) -> float | None:
    for key, unit in ((in_milliseconds, 1000.0), (in_seconds, 1.0)):
        found = amount(raw.get(key))
        if found:
            return found / unit
    return None


def _word(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""
