"""``greenroom token``: a signed token on stdout."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec
from livekit.protocol import agent_dispatch
from livekit.protocol import room as room_pb

from greenroom.cli._options import KeyOptions
from greenroom.cli._settings import api_keys, parse_duration
from greenroom.errors import ConfigError
from greenroom.grants import AgentGrant, InferenceGrant, ObservabilityGrant, SipGrant, VideoGrant, mint

_GROUPS: Final[dict[str, type[msgspec.Struct]]] = {
    "video": VideoGrant,
    "sip": SipGrant,
    "agent": AgentGrant,
    "inference": InferenceGrant,
    "observability": ObservabilityGrant,
}
_TRUTH: Final = {"true": True, "false": False}


@dataclass(kw_only=True)
class TokenRequest:
    """What a token is to say."""

    identity: str | None = None
    room: str | None = None
    name: str | None = None
    metadata: str | None = None
    attributes: Sequence[str] = ()
    agents: Sequence[str] = ()
    grants: Sequence[str] = ()
    ttl: str = "6h"


def token_command(options: KeyOptions, request: TokenRequest, *, as_json: bool) -> int:
    """Print a token. Raises :class:`ConfigError`."""
    key = api_keys(options)[0]
    seconds = parse_duration(request.ttl)
    for option, value in (("--room", request.room), ("--identity", request.identity)):
        if value == "":
            # A token without a room would open every one.
            raise ConfigError(f"{option} is empty", fix="Give it a value, or leave it out")
    grants = parse_grants(request.grants, request.room)
    identity = request.identity
    if identity is None and getattr(grants.get("video"), "room_join", False):
        identity = f"caller-{secrets.token_hex(3)}"
    fields: dict[str, Any] = {
        "identity": identity,
        "name": request.name,
        "metadata": request.metadata,
        "attributes": dict(_pair(text, "--attribute") for text in request.attributes) or None,
        "room_config": room_config(request.agents),
        **grants,
    }
    now = time.time()
    token = mint(key, ttl=seconds, now=now, **{name: value for name, value in fields.items() if value is not None})
    if as_json:
        said = {
            "token": token,
            "identity": identity,
            "room": request.room,
            "expires_at": int(now + seconds),
        }
        token = msgspec.json.encode(said).decode()
    print(token)
    return 0


def parse_grants(texts: Sequence[str], room: str | None) -> dict[str, msgspec.Struct]:
    """Return the grants of a token by the claim they stand in.

    :param texts: LiveKit's names, with a value unless it is ``true``: ``roomAdmin``, ``canPublish=false``,
        ``canPublishSources=camera,microphone``, ``sip.call``.
    :param room: the room to join, if any.
    :raises ConfigError: for a grant LiveKit does not know, or a value it cannot have.
    """
    said: dict[str, dict[str, Any]] = {}
    if room is not None:
        said["video"] = {"room_join": True, "room": room}
    for text in texts:
        name, equals, value = text.partition("=")
        group, _, field = name.rpartition(".")
        kind = _GROUPS.get(group or "video")
        field = re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), field)
        if kind is None or field not in kind.__struct_fields__:
            raise ConfigError(
                f"--grant '{name}' is not a grant", fix="For example: --grant roomAdmin, --grant canPublish=false"
            )
        said.setdefault(group or "video", {})[field] = _grant_value(kind, field, value if equals else "true", name)
    if not said:
        raise ConfigError("The token would allow nothing", fix="Pass --room NAME to join, or --grant NAME")
    return {group: _GROUPS[group](**fields) for group, fields in said.items()}


def room_config(agents: Sequence[str]) -> room_pb.RoomConfiguration | None:
    """Return the configuration that asks for agents, each ``NAME`` or ``NAME=METADATA``; ``None`` without any."""
    if not agents:
        return None
    dispatches = []
    for text in agents:
        name, _, metadata = text.partition("=")
        dispatches.append(agent_dispatch.RoomAgentDispatch(agent_name=name, metadata=metadata))
    return room_pb.RoomConfiguration(agents=dispatches)


def _grant_value(kind: type[msgspec.Struct], field: str, text: str, name: str) -> object:
    hint = get_type_hints(kind)[field]
    if hint == tuple[str, ...]:
        return tuple(text.split(","))
    if hint is str:
        return text
    if text.lower() not in _TRUTH:
        raise ConfigError(f"--grant '{name}' is true or false, not '{text}'", fix=f"For example: --grant {name}=false")
    return _TRUTH[text.lower()]


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"{option} takes NAME=VALUE, not '{text}'", fix=f"For example: {option} language=en")
    return name, value
