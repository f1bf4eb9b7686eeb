"""RoomService as the official client uses it, against a whole server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import api
from livekit.protocol import models

from greenroom._media import FakeEngine
from greenroom.config import RoomDefaults
from support.signal_client import SignalClient
from support.twirp_stage import KEY, NARROW, Stage, refusal, twirp_stage

pytestmark = pytest.mark.conformance

NO_ROOM = (404, "not_found", "requested room does not exist")
NO_PARTICIPANT = (404, "not_found", "participant does not exist")
DENIED = (401, "unauthenticated", "permissions denied")


async def create(stage: Stage, name: str = "lobby", **fields: Any) -> models.Room:
    return await stage.api.room.create_room(api.CreateRoomRequest(name=name, **fields))


async def packets(stage: Stage, client: SignalClient) -> list[models.UserPacket]:
    """Return what a client has received on its reliable channel."""
    assert isinstance(stage.server.engine, FakeEngine)
    peer = client.peer
    await stage.server.engine.settle()
    return [models.DataPacket.FromString(message).user for message in peer.received.get("_reliable", [])]


async def test_a_room_lives_from_creation_to_deletion(stage: Stage) -> None:
    created = await create(stage, empty_timeout=30, max_participants=5, metadata="m")
    assert created.sid.startswith("RM_")
    assert (created.empty_timeout, created.departure_timeout, created.max_participants) == (30, 20, 5)
    assert created.creation_time_ms // 1000 == created.creation_time > 1_700_000_000

    again = await create(stage, metadata="n")
    assert (again.sid, again.metadata, again.empty_timeout) == (created.sid, "n", 30)

    listed = await stage.api.room.list_rooms(api.ListRoomsRequest(names=["lobby", "nowhere"]))
    assert [room.sid for room in listed.rooms] == [created.sid]

    await stage.api.room.delete_room(api.DeleteRoomRequest(room="lobby"))
    assert not (await stage.api.room.list_rooms(api.ListRoomsRequest())).rooms
    assert (await create(stage)).sid != created.sid


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "no room name"),
        ({"name": "r" * 257}, "room name exceeds the limit of 256 characters"),
        ({"name": "r", "metadata": "m" * (512 * 1024 + 1)}, "metadata exceeds the limit of 524288 bytes"),
        (
            {"name": "r", "agents": [api.RoomAgentDispatch(attributes={"a": "v" * 65536})]},
            "attributes exceeds the limit of 65536 bytes",
        ),
    ],
)
async def test_a_room_that_cannot_be_is_an_invalid_argument(stage: Stage, fields: dict[str, Any], message: str) -> None:
    assert await refusal(create(stage, **fields)) == (400, "invalid_argument", message)
    assert stage.server.rooms.list() == []


async def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    rooms = stage.api.room
    who = {"room": "lobby", "identity": "ann"}
    assert await refusal(rooms.delete_room(api.DeleteRoomRequest(room="lobby"))) == NO_ROOM
    assert await refusal(rooms.update_room_metadata(api.UpdateRoomMetadataRequest(room="lobby"))) == NO_ROOM
    assert await refusal(rooms.send_data(api.SendDataRequest(room="lobby", data=b"x"))) == NO_ROOM
    assert await refusal(rooms.get_participant(api.RoomParticipantIdentity(**who))) == NO_PARTICIPANT
    assert await refusal(rooms.remove_participant(api.RoomParticipantIdentity(**who))) == NO_PARTICIPANT
    assert await refusal(rooms.update_participant(api.UpdateParticipantRequest(**who))) == NO_PARTICIPANT
    assert not (await rooms.list_participants(api.ListParticipantsRequest(room="lobby"))).participants


async def test_participants_are_seen_and_found(stage: Stage) -> None:
    ann = await stage.join("ann", name="Ann", attributes={"a": "1"})
    await stage.join("spy", video={"hidden": True})
    listed = (await stage.api.room.list_participants(api.ListParticipantsRequest(room="lobby"))).participants
    assert [participant.identity for participant in listed] == ["ann", "spy"]
    found = await stage.api.room.get_participant(api.RoomParticipantIdentity(room="lobby", identity="ann"))
    assert (found.sid, found.name, found.state) == (ann.sid, "Ann", models.ParticipantInfo.ACTIVE)
    assert found.permission.can_publish_data
    (room,) = (await stage.api.room.list_rooms(api.ListRoomsRequest())).rooms
    assert room.num_participants == 1


async def test_a_removed_participant_is_told_and_the_others_too(stage: Stage) -> None:
    ann, bob = await stage.join("ann"), await stage.join("bob")
    await stage.api.room.remove_participant(api.RoomParticipantIdentity(room="lobby", identity="ann"))
    leave = (await ann.receive("leave")).leave
    assert leave.reason == models.DisconnectReason.PARTICIPANT_REMOVED
    gone = await bob.participant("ann", lambda info: info.state == models.ParticipantInfo.DISCONNECTED)
    assert gone.disconnect_reason == models.DisconnectReason.PARTICIPANT_REMOVED
    await ann.wait_closed()


async def test_deleting_a_room_sends_everybody_away(stage: Stage) -> None:
    ann = await stage.join("ann")
    await stage.api.room.delete_room(api.DeleteRoomRequest(room="lobby"))
    assert (await ann.receive("leave")).leave.reason == models.DisconnectReason.ROOM_DELETED
    await ann.wait_closed()


async def test_an_updated_participant_is_seen_by_all_and_gets_a_fresh_token(stage: Stage) -> None:
    ann, bob = await stage.join("ann", attributes={"a": "1", "b": "2"}), await stage.join("bob")
    updated = await stage.api.room.update_participant(
        api.UpdateParticipantRequest(
            room="lobby",
            identity="ann",
            name="Ann",
            metadata="m",
            attributes={"a": "", "c": "3"},
            permission=models.ParticipantPermission(can_subscribe=True),
        )
    )
    assert (updated.name, updated.metadata, dict(updated.attributes)) == ("Ann", "m", {"b": "2", "c": "3"})
    for client in (ann, bob):
        seen = await client.participant("ann", lambda info: info.name == "Ann")
        assert seen.permission == updated.permission == models.ParticipantPermission(can_subscribe=True)
    verifier = api.TokenVerifier(KEY.key, KEY.secret)
    fresh = await ann.receive("refresh_token", lambda token: verifier.verify(token).name == "Ann")
    claims = verifier.verify(fresh.refresh_token)
    assert claims.video is not None
    assert (claims.identity, claims.metadata, claims.video.can_publish) == ("ann", "m", False)


@pytest.mark.parametrize(
    "fields", [{"name": "n" * 257}, {"metadata": "m" * 524_289}, {"attributes": {"a": "v" * 65536}}]
)
async def test_an_update_that_is_too_long_is_an_invalid_argument(stage: Stage, fields: dict[str, Any]) -> None:
    await stage.join("ann")
    request = api.UpdateParticipantRequest(room="lobby", identity="ann", **fields)
    assert (await refusal(stage.api.room.update_participant(request)))[:2] == (400, "invalid_argument")


async def test_data_reaches_everybody_or_those_named_without_a_sender(stage: Stage) -> None:
    ann, bob = await stage.join("ann"), await stage.join("bob")
    for request in (
        api.SendDataRequest(room="lobby", data=b"one", destination_identities=["bob"], topic="t"),
        api.SendDataRequest(room="lobby", data=b"all"),
        api.SendDataRequest(room="lobby", data=b"none", destination_identities=["eve"]),
    ):
        await stage.api.room.send_data(request)
    assert [packet.payload for packet in await packets(stage, ann)] == [b"all"]
    first, second = await packets(stage, bob)
    assert (first.payload, first.topic, second.payload) == (b"one", "t", b"all")
    assert (first.participant_sid, first.participant_identity, len(first.nonce)) == ("", "", 16)


async def test_data_that_cannot_be_sent_is_an_invalid_argument(stage: Stage) -> None:
    await create(stage)
    request = api.SendDataRequest(room="lobby", data=b"x" * 64_001)
    assert (await refusal(stage.api.room.send_data(request)))[:2] == (400, "invalid_argument")


async def test_room_metadata_is_told_to_everybody(stage: Stage) -> None:
    ann = await stage.join("ann")
    request = api.UpdateRoomMetadataRequest(room="lobby", metadata="m")
    assert (await stage.api.room.update_room_metadata(request)).metadata == "m"
    await ann.receive("room_update", lambda update: update.room.metadata == "m")


async def test_what_this_server_does_not_do_is_unimplemented(stage: Stage) -> None:
    rooms = stage.api.room
    who = {"room": "lobby", "identity": "ann"}
    for call in (
        rooms.forward_participant(api.ForwardParticipantRequest(**who, destination_room="other")),
        rooms.move_participant(api.MoveParticipantRequest(**who, destination_room="other")),
    ):
        assert (await refusal(call))[:2] == (501, "unimplemented")


async def test_another_key_or_a_lesser_token_is_denied(stage: Stage) -> None:
    async with api.LiveKitAPI(stage.url, "APIwho", KEY.secret) as stranger:
        assert await refusal(stranger.room.list_rooms(api.ListRoomsRequest())) == (
            401,
            "unauthenticated",
            "invalid API key",
        )
    async with api.LiveKitAPI(stage.url, KEY.key, "some other secret, also of thirty-two bytes") as forger:
        status, code, message = await refusal(forger.room.list_rooms(api.ListRoomsRequest()))
        assert (status, code, "signature" in message) == (401, "unauthenticated", True)
    grants = api.VideoGrants(room_join=True, room="lobby", room_admin=True)
    guest = api.AccessToken(KEY.key, KEY.secret).with_identity("ann").with_grants(grants).to_jwt()
    async with api.LiveKitAPI.with_token(guest, stage.url) as limited:
        assert await refusal(limited.room.list_rooms(api.ListRoomsRequest())) == DENIED
        assert await refusal(limited.room.create_room(api.CreateRoomRequest(name="lobby"))) == DENIED
        assert await refusal(limited.room.list_participants(api.ListParticipantsRequest(room="other"))) == DENIED
        await limited.room.list_participants(api.ListParticipantsRequest(room="lobby"))


async def test_a_key_sees_and_touches_only_what_its_policy_allows(stage: Stage) -> None:
    await create(stage, "lobby")
    async with api.LiveKitAPI(stage.url, NARROW.key, NARROW.secret) as narrow:
        await narrow.room.create_room(api.CreateRoomRequest(name="front-1"))
        assert [room.name for room in (await narrow.room.list_rooms(api.ListRoomsRequest())).rooms] == ["front-1"]
        for call in (
            narrow.room.create_room(api.CreateRoomRequest(name="back")),
            narrow.room.delete_room(api.DeleteRoomRequest(room="lobby")),
            narrow.room.send_data(api.SendDataRequest(room="lobby", data=b"x")),
            narrow.room.create_room(
                api.CreateRoomRequest(name="front-2", agents=[api.RoomAgentDispatch(agent_name="back-office")])
            ),
        ):
            status, code, message = await refusal(call)
            assert (status, code) == (403, "permission_denied")
            assert "API key 'APInarrow' may not use" in message


async def test_the_url_may_end_in_a_slash_or_speak_websocket(stage: Stage) -> None:
    for url in (stage.url + "/", stage.url.replace("http", "ws")):
        async with api.LiveKitAPI(url, KEY.key, KEY.secret) as client:
            await client.room.list_rooms(api.ListRoomsRequest())


async def test_egress_ingress_and_sip_answer_as_livekit_without_redis(stage: Stage) -> None:
    for name, call in (
        ("egress", stage.api.egress.list_egress(api.ListEgressRequest())),
        ("egress", stage.api.egress.stop_egress(api.StopEgressRequest(egress_id="EG_1"))),
        ("ingress", stage.api.ingress.list_ingress(api.ListIngressRequest())),
        ("sip", stage.api.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())),
        ("sip", stage.api.sip.create_sip_participant(api.CreateSIPParticipantRequest(room_name="lobby"))),
    ):
        assert await refusal(call) == (500, "internal", f"{name} not connected (redis required)")


async def test_hundreds_of_calls_at_once_are_all_answered(stage: Stage) -> None:
    await asyncio.gather(*(create(stage, f"room-{number}") for number in range(200)))
    listed = await stage.api.room.list_rooms(api.ListRoomsRequest())
    assert {room.name for room in listed.rooms} == {f"room-{number}" for number in range(200)}


async def test_rooms_can_be_made_where_joining_makes_none() -> None:
    async with twirp_stage(room=RoomDefaults(auto_create=False)) as stage:
        await create(stage)
        await stage.join("ann")
