"""LiveKit's server API, from outside: any server that speaks it."""

from __future__ import annotations

from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from google.protobuf.message import DecodeError, Message
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as room_pb

from greenroom.config import ApiKey
from greenroom.grants import AgentGrant, VideoGrant, mint
from greenroom.httpclient import HttpClient, HttpError, Response
from greenroom.link._errors import LinkError, NotFoundError, NotServedError
from greenroom.link._workers import WorkerList

_Answer = TypeVar("_Answer", bound=Message)

TOKEN_TTL: Final = 300.0
_ROOMS: Final = "livekit.RoomService"
_DISPATCHES: Final = "livekit.AgentDispatchService"
_WAIT_SLACK: Final = 10.0


class LiveKit:
    """A LiveKit server and the API key to ask it with. Close with :meth:`aclose`.

    Every method raises :class:`LinkError` when the server cannot be reached or refuses, and
    :class:`NotFoundError` when what it is about does not exist.

    :param url: ``ws``, ``wss``, ``http`` or ``https``.
    """

    def __init__(self, url: str, key: ApiKey, *, timeout: float = 10.0) -> None:
        scheme, _, rest = url.rstrip("/").partition("://")
        self.url = f"{ {'ws': 'http', 'wss': 'https'}.get(scheme, scheme) }://{rest}"
        self.key = key
        self._http = HttpClient(timeout=timeout)

    async def aclose(self) -> None:
        """Close the connections that are kept. Idempotent."""
        await self._http.aclose()

    @property
    def websocket_url(self) -> str:
        """Where SDKs connect to."""
        return self.url.replace("http", "ws", 1)

    # Rooms

    async def list_rooms(self, *names: str) -> list[models.Room]:
        """Return all rooms, or those of ``names`` that exist."""
        request = room_pb.ListRoomsRequest(names=names)
        answer = await self._call(_ROOMS, "ListRooms", request, room_pb.ListRoomsResponse, VideoGrant(room_list=True))
        return list(answer.rooms)

    async def delete_room(self, room: str) -> None:
        """End a room and send everybody away."""
        request = room_pb.DeleteRoomRequest(room=room)
        await self._call(_ROOMS, "DeleteRoom", request, room_pb.DeleteRoomResponse, VideoGrant(room_create=True))

    # Participants

    async def list_participants(self, room: str) -> list[models.ParticipantInfo]:
        """Return who is in a room; hidden participants are listed, too."""
        request = room_pb.ListParticipantsRequest(room=room)
        answer = await self._call(_ROOMS, "ListParticipants", request, room_pb.ListParticipantsResponse, _admin(room))
        return list(answer.participants)

    async def get_participant(self, room: str, identity: str) -> models.ParticipantInfo:
        """Return one participant."""
        request = room_pb.RoomParticipantIdentity(room=room, identity=identity)
        return await self._call(_ROOMS, "GetParticipant", request, models.ParticipantInfo, _admin(room))

    async def remove_participant(self, room: str, identity: str) -> None:
        """Send a participant away."""
        request = room_pb.RoomParticipantIdentity(room=room, identity=identity)
        await self._call(_ROOMS, "RemoveParticipant", request, room_pb.RemoveParticipantResponse, _admin(room))

    async def mute_track(self, room: str, identity: str, sid: str, *, muted: bool) -> None:
        """Mute a participant's track, or unmute it, which servers refuse unless they are told otherwise."""
        request = room_pb.MuteRoomTrackRequest(room=room, identity=identity, track_sid=sid, muted=muted)
        await self._call(_ROOMS, "MutePublishedTrack", request, room_pb.MuteRoomTrackResponse, _admin(room))

    # Dispatches

    async def list_dispatches(self, room: str, dispatch_id: str = "") -> list[agent_dispatch.AgentDispatch]:
        """Return a room's dispatches with their jobs; none for a room that does not exist."""
        request = agent_dispatch.ListAgentDispatchRequest(room=room, dispatch_id=dispatch_id)
        answer = await self._call(
            _DISPATCHES, "ListDispatch", request, agent_dispatch.ListAgentDispatchResponse, _admin(room)
        )
        return list(answer.agent_dispatches)

    async def create_dispatch(
        self, room: str, agent_name: str, *, metadata: str = "", **fields: Any
    ) -> agent_dispatch.AgentDispatch:
        """Ask for an agent in a room; ``fields`` are further ones of the request."""
        request = agent_dispatch.CreateAgentDispatchRequest(
            room=room, agent_name=agent_name, metadata=metadata, **fields
        )
        return await self._call(_DISPATCHES, "CreateDispatch", request, agent_dispatch.AgentDispatch, _admin(room))

    async def delete_dispatch(self, room: str, dispatch_id: str) -> None:
        """End a dispatch and its jobs."""
        request = agent_dispatch.DeleteAgentDispatchRequest(room=room, dispatch_id=dispatch_id)
        await self._call(_DISPATCHES, "DeleteDispatch", request, agent_dispatch.AgentDispatch, _admin(room))

    # Greenroom's own

    async def workers(self, after: str = "", *, wait: float = 30.0) -> WorkerList:
        """Return the worker list: at once, or past the version ``after`` when it changes or ``wait`` seconds are over.

        :raises NotServedError: when this is not an embedded server.
        """
        query = urlencode({"after": after, "wait": wait}) if after else ""
        token = mint(self.key, agent=AgentGrant(admin=True), ttl=TOKEN_TTL)
        response = await self._request(
            "GET",
            f"/greenroom/v1/workers{'?' if query else ''}{query}",
            token,
            timeout=(wait if after else 0.0) + _WAIT_SLACK,
        )
        if response.status in {404, 405}:
            raise NotServedError("This LiveKit server has no worker list", status=response.status)
        if not response.is_success:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.body, type=WorkerList)
        except msgspec.MsgspecError:
            raise NotServedError("This LiveKit server has no worker list", status=response.status) from None

    def token(self, *, identity: str, room: str, ttl: float = TOKEN_TTL, kind: str = "", **video: Any) -> str:
        """Mint a token to join a room with; ``video`` are further fields of the grant."""
        grant = VideoGrant(room_join=True, room=room, **video)
        return mint(self.key, identity=identity, kind=kind, video=grant, ttl=ttl)

    async def _call(
        self, service: str, method: str, request: Message, kind: type[_Answer], video: VideoGrant
    ) -> _Answer:
        token = mint(self.key, video=video, ttl=TOKEN_TTL)
        path = f"/twirp/{service}/{method}"
        body = request.SerializeToString()
        response = await self._request("POST", path, token, body=body)
        if not response.is_success:
            raise _refusal(response)
        try:
            return kind.FromString(response.body)
        except DecodeError:
            raise LinkError(f"{self.url} does not answer as LiveKit does", fix="Check the address") from None

    async def _request(
        self,
        verb: str,
        path: str,
        token: str,
        *,
        body: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Response:
        headers = {"authorization": f"Bearer {token}"}
        if body or verb == "POST":
            headers["content-type"] = "application/protobuf"
        try:
            return await self._http.request(verb, self.url + path, headers=headers, body=body, timeout=timeout)
        except HttpError as error:
            raise LinkError(error.message, fix="Check that the LiveKit server runs and its address") from None


class _Refusal(msgspec.Struct):
    code: str = ""
    msg: str = ""


def _refusal(response: Response) -> LinkError:
    try:
        said = msgspec.json.decode(response.body, type=_Refusal)
    except msgspec.MsgspecError:
        said = _Refusal()
    message = f"LiveKit answered {response.status}" + (f": {said.msg}" if said.msg else "")
    if said.code == "not_found":
        return NotFoundError(message, status=response.status, reason=said.code)
    fix = "Check the API key and its secret" if response.status == 401 else ""
    return LinkError(message, fix=fix, status=response.status, reason=said.code)


def _admin(room: str) -> VideoGrant:
    return VideoGrant(room_admin=True, room=room)
