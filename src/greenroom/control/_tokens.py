"""Room tokens for the page: ``POST /api/token``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from livekit.protocol import agent_dispatch
from livekit.protocol import room as room_pb
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.config import ApiKey, Limits
from greenroom.control._bodies import read_body
from greenroom.control._responses import RefusedError, json_response
from greenroom.grants import Claims, Grant, VideoGrant, mint
from greenroom.operations import Operation, operation

# Everything a request may carry, at its limit and JSON-escaped, fits.
_MAX_BODY: Final = 4 * 1024 * 1024
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``POST /api/token`` takes. Everything may be left out.

    :param room: a fresh name unless given.
    :param identity: a fresh one unless given.
    :param name: how the participant is shown.
    :param metadata: of the participant.
    :param agent_name: the agent to dispatch into the room when it is created. Without it the server
        dispatches its unnamed agents.
    :param agent_metadata: what the agent finds in its job; needs ``agent_name``.
    """

    room: str = ""
    identity: str = ""
    name: str = ""
    metadata: str = ""
    agent_name: str = ""
    agent_metadata: str = ""


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What ``POST /api/token`` answers: all a LiveKit client needs to join."""

    url: str
    token: str
    room: str
    identity: str


def token_routes(key: ApiKey, url_for: Callable[[Request], str], limits: Limits) -> list[Route]:
    """Return the routes that hand out room tokens.

    :param url_for: the LiveKit URL that the sender of a request should connect to.
    """

    @operation(
        Operation(
            summary="Make a token to join a room with, and to call an agent.",
            scope="operate",
            takes=TokenRequest,
            answers=TokenResponse,
            problems=(413, 415),
        )
    )
    async def create_token(request: Request) -> Response:
        asked = await read_body(request, TokenRequest, limit=_MAX_BODY)
        _check_lengths(asked, limits)
        return json_response(room_token(key, asked, url=url_for(request)))

    return [Route("/token", create_token, methods=["POST"])]


def room_token(key: ApiKey, asked: TokenRequest, *, url: str, now: float | None = None) -> TokenResponse:
    """Mint the token that was asked for, within the policy of ``key``.

    :param now: seconds since the epoch; the wall clock by default.
    :raises RefusedError: when the key's tokens may not touch that room or that agent.
    """
    room = asked.room or f"playground-{_fresh()}"
    identity = asked.identity or f"visitor-{_fresh()}"
    claims = Claims(
        identity=identity,
        name=asked.name,
        metadata=asked.metadata,
        video=VideoGrant(room_join=True, room=room),
        room_config=_room_config(asked),
    )
    _check_policy(Grant(claims, key), room, asked.agent_name)
    return TokenResponse(url=url, token=mint(key, claims, now=now), room=room, identity=identity)


def _room_config(asked: TokenRequest) -> room_pb.RoomConfiguration | None:
    if not asked.agent_name:
        return None
    dispatch = agent_dispatch.RoomAgentDispatch(agent_name=asked.agent_name, metadata=asked.agent_metadata)
    return room_pb.RoomConfiguration(agents=[dispatch])


def _check_policy(grant: Grant, room: str, agent_name: str) -> None:
    fix = "Choose another, or widen what the key may touch in the server's configuration"
    if not grant.allows_room(room):
        raise RefusedError(403, "room_not_allowed", f"API key '{grant.key.key}' may not open room '{room}'", fix=fix)
    if agent_name and not grant.allows_agent(agent_name):
        message = f"API key '{grant.key.key}' may not call agent '{agent_name}'"
        raise RefusedError(403, "agent_not_allowed", message, fix=fix)


def _check_lengths(asked: TokenRequest, limits: Limits) -> None:
    for field in asked.__struct_fields__:
        size = len(getattr(asked, field))
        limit = limits.metadata if field.endswith("metadata") else limits.name
        if size > limit:
            message = f"'{field}' has {size} characters, {limit} are allowed"
            raise RefusedError(400, "field_too_long", message, fix=f"Shorten '{field}'")
    if asked.agent_metadata and not asked.agent_name:
        raise RefusedError(
            400,
            "agent_name_missing",
            "'agent_metadata' is given without 'agent_name'",
            fix="Name the agent that it is for",
        )


def _fresh() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))
