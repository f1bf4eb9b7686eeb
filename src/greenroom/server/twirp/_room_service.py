"""``livekit.RoomService`` (``docs/protocol.md``, "RoomService"; LiveKit's ``pkg/service/roomservice.go``)."""

from __future__ import annotations

from typing import NoReturn

from livekit.protocol import models, rtc
from livekit.protocol import room as room_pb

from greenroom.server.room import ParticipantNotFoundError, Room, RoomManager, RoomNotFoundError
from greenroom.server.twirp._permissions import (
    require_agent_policy,
    require_destination_room,
    require_room_admin,
    require_room_create,
    require_room_list,
)
from greenroom.server.twirp._service import Call, Method, Service
from greenroom.server.twirp._unconfigured import EGRESS_NOT_CONNECTED
from greenroom.server.twirp._validate import check_agent, check_data
from greenroom.server.twirp._wire import TwirpError


def room_service(rooms: RoomManager) -> Service:
    """Return the service that manages ``rooms`` and who is in them."""
    service = _RoomService(rooms)
    return Service(
        "livekit.RoomService",
        {
            "CreateRoom": Method(room_pb.CreateRoomRequest, service.create_room),
            "ListRooms": Method(room_pb.ListRoomsRequest, service.list_rooms),
            "DeleteRoom": Method(room_pb.DeleteRoomRequest, service.delete_room),
            "ListParticipants": Method(room_pb.ListParticipantsRequest, service.list_participants),
            "GetParticipant": Method(room_pb.RoomParticipantIdentity, service.get_participant),
            "RemoveParticipant": Method(room_pb.RoomParticipantIdentity, service.remove_participant),
            "UpdateParticipant": Method(room_pb.UpdateParticipantRequest, service.update_participant),
            "SendData": Method(room_pb.SendDataRequest, service.send_data),
            "UpdateRoomMetadata": Method(room_pb.UpdateRoomMetadataRequest, service.update_room_metadata),
            "MutePublishedTrack": Method(room_pb.MuteRoomTrackRequest, service.mute_published_track),
            "UpdateSubscriptions": Method(room_pb.UpdateSubscriptionsRequest, service.update_subscriptions),
            "PerformRpc": Method(room_pb.PerformRpcRequest, service.perform_rpc),
            "ForwardParticipant": Method(room_pb.ForwardParticipantRequest, service.relocate),
            "MoveParticipant": Method(room_pb.MoveParticipantRequest, service.relocate),
        },
    )


class _RoomService:
    def __init__(self, rooms: RoomManager) -> None:
        self._rooms = rooms
        self._limits = rooms.config.limits

    # Rooms

    async def create_room(self, call: Call, request: room_pb.CreateRoomRequest) -> models.Room:
        grant = require_room_create(call, request.name)
        require_agent_policy(grant, (agent.agent_name for agent in request.agents))
        if request.HasField("egress"):
            raise TwirpError("internal", EGRESS_NOT_CONNECTED)
        for agent in request.agents:
            check_agent(agent, self._limits)
        return self._rooms.create(request.name, request=request).info()

    async def list_rooms(self, call: Call, request: room_pb.ListRoomsRequest) -> room_pb.ListRoomsResponse:
        grant = require_room_list(call)
        rooms = self._rooms.list(request.names)
        return room_pb.ListRoomsResponse(rooms=[room.info() for room in rooms if grant.allows_room(room.name)])

    async def delete_room(self, call: Call, request: room_pb.DeleteRoomRequest) -> room_pb.DeleteRoomResponse:
        require_room_create(call, request.room)
        if not await self._rooms.delete(request.room):
            raise RoomNotFoundError(request.room)
        return room_pb.DeleteRoomResponse()

    async def update_room_metadata(self, call: Call, request: room_pb.UpdateRoomMetadataRequest) -> models.Room:
        require_room_admin(call, request.room)
        room = self._room(request.room)
        self._rooms.update_room_metadata(room, request.metadata)
        return room.info()

    # Participants

    async def list_participants(
        self, call: Call, request: room_pb.ListParticipantsRequest
    ) -> room_pb.ListParticipantsResponse:
        require_room_admin(call, request.room)
        room = self._rooms.get(request.room)
        participants = room.participants.values() if room is not None else ()
        return room_pb.ListParticipantsResponse(participants=[participant.info() for participant in participants])

    async def get_participant(self, call: Call, request: room_pb.RoomParticipantIdentity) -> models.ParticipantInfo:
        require_room_admin(call, request.room)
        room = self._rooms.get(request.room)
        participant = room.participants.get(request.identity) if room is not None else None
        if participant is None:
            raise ParticipantNotFoundError(request.identity)
        return participant.info()

    async def remove_participant(
        self, call: Call, request: room_pb.RoomParticipantIdentity
    ) -> room_pb.RemoveParticipantResponse:
        require_room_admin(call, request.room)
        room = self._rooms.get(request.room)
        reason = models.DisconnectReason.PARTICIPANT_REMOVED
        if room is None or not self._rooms.remove_participant(room, request.identity, reason):
            raise ParticipantNotFoundError(request.identity)
        return room_pb.RemoveParticipantResponse()

    async def update_participant(self, call: Call, request: room_pb.UpdateParticipantRequest) -> models.ParticipantInfo:
        require_room_admin(call, request.room)
        return self._rooms.update_participant(
            self._room_of(request.room, request.identity),
            request.identity,
            metadata=request.metadata,
            name=request.name,
            attributes=request.attributes,
            permission=request.permission if request.HasField("permission") else None,
        )

    # Tracks

    async def mute_published_track(
        self, call: Call, request: room_pb.MuteRoomTrackRequest
    ) -> room_pb.MuteRoomTrackResponse:
        require_room_admin(call, request.room)
        room = self._room_of(request.room, request.identity)
        track = self._rooms.mute_track(room, request.identity, request.track_sid, muted=request.muted)
        return room_pb.MuteRoomTrackResponse(track=track)

    async def update_subscriptions(
        self, call: Call, request: room_pb.UpdateSubscriptionsRequest
    ) -> room_pb.UpdateSubscriptionsResponse:
        require_room_admin(call, request.room)
        room = self._room_of(request.room, request.identity)
        update = rtc.UpdateSubscription(
            track_sids=request.track_sids, subscribe=request.subscribe, participant_tracks=request.participant_tracks
        )
        self._rooms.update_subscriptions(room, request.identity, update)
        return room_pb.UpdateSubscriptionsResponse()

    # Data

    async def send_data(self, call: Call, request: room_pb.SendDataRequest) -> room_pb.SendDataResponse:
        require_room_admin(call, request.room)
        check_data(request.data, request.nonce, self._limits)
        packet = models.DataPacket(
            kind=request.kind,
            destination_identities=request.destination_identities,
            user=models.UserPacket(
                payload=request.data,
                destination_sids=request.destination_sids,
                destination_identities=request.destination_identities,
                topic=request.topic if request.HasField("topic") else None,
                nonce=request.nonce,
            ),
        )
        self._rooms.send_data(self._room(request.room), packet)
        return room_pb.SendDataResponse()

    async def perform_rpc(self, call: Call, request: room_pb.PerformRpcRequest) -> NoReturn:
        require_room_admin(call, request.room)
        if not request.destination_identity:
            raise TwirpError("invalid_argument", "destination identity is required")
        raise TwirpError(
            "unimplemented", "this server cannot perform RPCs itself; join the room and call performRpc from there"
        )

    # What this server does not do

    async def relocate(
        self, call: Call, request: room_pb.ForwardParticipantRequest | room_pb.MoveParticipantRequest
    ) -> NoReturn:
        require_destination_room(call, request.room, request.destination_room)
        if request.room == request.destination_room:
            raise TwirpError("invalid_argument", "destination room cannot be the same as source room")
        raise TwirpError("unimplemented", "participants cannot be forwarded or moved between rooms")

    def _room_of(self, name: str, identity: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            raise ParticipantNotFoundError(identity)
        return room

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            raise RoomNotFoundError(name)
        return room
