"""Who may join which room, decided before the WebSocket upgrade (``docs/protocol.md``, "Join validation").

Pure: it is given the request and the rooms, and answers with an admission or with an HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from livekit.protocol import room as room_pb
from livekit.protocol import rtc

from greenroom.errors import GreenroomError, TokenError
from greenroom.grants import Grant, VideoGrant, read_http_token, verify
from greenroom.server.room import (
    CapacityError,
    Joining,
    RoomManager,
    check_attributes,
    check_metadata,
    check_name,
    check_room_name,
    merge_attributes,
)
from greenroom.server.signal._join_request import JoinRequestError, parse_join_request

DENIED: Final = "permissions denied"
# Clients take "requested room does not exist" for a wrong room name, so this says something else.
SINGLE_ONLY: Final = (
    "dual peer connection is not served yet: connect to /rtc/v1, or send join_request, "
    "with a client that uses a single peer connection"
)


class RefusedError(GreenroomError):
    """An HTTP answer instead of the upgrade. The message is its body.

    :param validation: the status that ``/validate`` answers; the same unless given.
    """

    code = "join_refused"

    def __init__(self, status: int, body: str, *, validation: int = 0) -> None:
        super().__init__(body, context={"status": status})
        self.status = status
        self.validation = validation or status


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Leave to join ``room``."""

    room: str
    joining: Joining
    request: rtc.JoinRequest
    room_config: room_pb.RoomConfiguration | None

    @property
    def lite(self) -> bool:
        """Whether the client gets on with an ICE-lite server."""
        firefox = self.request.client_info.browser.lower() == "firefox"
        return not (firefox or self.request.connection_settings.disable_ice_lite)


def admit(rooms: RoomManager, headers: Mapping[str, str], query: Mapping[str, str], *, single: bool) -> Admission:
    """Check a request to join.

    :param headers: by lower-case name.
    :param single: whether the path is for single peer connection only (``/rtc/v1``).
    :raises RefusedError: with the status and body to answer.
    """
    grant = authenticate(rooms, headers, query)
    video = grant.claims.video if grant else None
    if grant is None or video is None or not video.room_join:
        raise RefusedError(401, DENIED)
    try:
        name = _room_name(rooms, grant, video, query)
        request = _join_request(rooms, query, single=single)
        joining = _joining(rooms, grant, video, request)
        _check_capacity(rooms, name, video, joining)
    except CapacityError as error:
        raise RefusedError(503, error.message) from None
    except RefusedError:
        raise
    except GreenroomError as error:
        raise RefusedError(400, error.message) from None
    return Admission(room=name, joining=joining, request=request, room_config=grant.claims.room_config)


def authenticate(rooms: RoomManager, headers: Mapping[str, str], query: Mapping[str, str]) -> Grant | None:
    """Read and check the token of a request; ``None`` without one. Raises :class:`RefusedError`."""
    try:
        token = read_http_token(headers, query)
        return None if token is None else verify(token, rooms.config.keys, now=rooms.clock())
    except TokenError as error:
        raise RefusedError(401, error.message) from None


def _room_name(rooms: RoomManager, grant: Grant, video: VideoGrant, query: Mapping[str, str]) -> str:
    identity = grant.claims.identity
    if not identity:
        raise RefusedError(400, "identity cannot be empty")
    if len(identity) > rooms.config.limits.name:
        raise RefusedError(400, f"identity exceeds the limit of {rooms.config.limits.name} characters")
    name = video.room or query.get("room", "")
    check_room_name(name, rooms.config.limits)
    if not grant.allows_room(name):
        raise RefusedError(401, f"{DENIED}: the API key may not be used for this room")
    for dispatch in grant.claims.room_config.agents if grant.claims.room_config else ():
        if not grant.allows_agent(dispatch.agent_name):
            raise RefusedError(401, f"{DENIED}: the API key may not be used for the agents in roomConfig")
    return name


def _join_request(rooms: RoomManager, query: Mapping[str, str], *, single: bool) -> rtc.JoinRequest:
    text = query.get("join_request", "")
    if not text:
        if single:
            raise RefusedError(400, "join_request is required")
        # A browser client that finds 404 here, too, tries the same again without end; 403 ends it with the reason.
        raise RefusedError(404, SINGLE_ONLY, validation=403)
    try:
        return parse_join_request(text, rooms.config.limits.join_request)
    except JoinRequestError as error:
        raise RefusedError(400, str(error)) from None


def _joining(rooms: RoomManager, grant: Grant, video: VideoGrant, request: rtc.JoinRequest) -> Joining:
    wants = request.metadata or request.participant_attributes
    if wants and not video.may_update_own_metadata:
        raise RefusedError(401, f"{DENIED}: the token does not allow the participant to set its own metadata")
    joining = Joining(
        grant=grant,
        identity=grant.claims.identity,
        name=grant.claims.name,
        metadata=request.metadata or grant.claims.metadata,
        attributes=merge_attributes(grant.claims.attributes, request.participant_attributes),
        client=request.client_info,
        auto_subscribe=not request.HasField("connection_settings") or request.connection_settings.auto_subscribe,
    )
    check_name(joining.name, rooms.config.limits)
    check_metadata(joining.metadata, rooms.config.limits)
    check_attributes(joining.attributes, rooms.config.limits)
    return joining


def _check_capacity(rooms: RoomManager, name: str, video: VideoGrant, joining: Joining) -> None:
    if rooms.get(name) is None and not rooms.config.room.auto_create and not video.room_create:
        raise RefusedError(404, "requested room does not exist")
    rooms.check_join(name, joining)
