"""RoomService on a real RoomManager: grants, key policy, limits, and what reaches the participants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from livekit.protocol import agent_dispatch, egress, models, rtc
from livekit.protocol import room as room_pb

from greenroom._media import FakeEngine
from greenroom.config import ApiKey, Limits, ServerConfig
from greenroom.errors import GreenroomError
from greenroom.grants import VideoGrant, mint, verify
from greenroom.server.room import Joining, Outgoing, Participant, RoomManager
from greenroom.server.twirp import Call, Service, TwirpError, room_service

pytestmark = pytest.mark.unit

KEY = ApiKey(key="APIkey", secret="a secret of more than thirty-two bytes")
NARROW = ApiKey(key="narrow", secret="secret", agents=("front-*",), rooms=("front-*",))
ADMIN = VideoGrant(room_admin=True, room="lobby")
CREATE = VideoGrant(room_create=True)
LIST = VideoGrant(room_list=True)
DENIED = ("unauthenticated", "permissions denied")


class Port:
    """A signalling connection that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, message: Outgoing) -> None:
        self.messages.append(message.message)

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...

    def last(self, kind: str) -> Any:
        return next(getattr(m, kind) for m in reversed(self.messages) if m.WhichOneof("message") == kind)


class Engine(FakeEngine):
    """An engine that also keeps what it was told to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[list[int], str, models.DataPacket]] = []

    def send(self, transports: Sequence[int], label: str, payload: bytes) -> None:
        self.sent.append((list(transports), str(label), models.DataPacket.FromString(payload)))
        super().send(transports, label, payload)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    fake = Engine()
    await fake.start(lambda _: None)
    yield fake
    await fake.stop()


@pytest.fixture
async def rooms(engine: Engine) -> AsyncIterator[RoomManager]:
    limits = Limits(metadata=1000, attributes=200, rooms=3)
    manager = RoomManager(ServerConfig(keys=(KEY, NARROW), limits=limits), engine, lambda: 1_800_000_000.0)
    yield manager
    await manager.aclose()


@pytest.fixture
def service(rooms: RoomManager) -> Service:
    return room_service(rooms)


def caller(video: VideoGrant | None, key: ApiKey = KEY) -> Call:
    return Call(verify(mint(key, video=video), (KEY, NARROW)))


def join(rooms: RoomManager, room: str, identity: str, video: VideoGrant | None = None) -> tuple[Participant, Port]:
    grant = verify(mint(KEY, identity=identity, video=video or VideoGrant(room_join=True, room=room)), (KEY,))
    port = Port()
    return rooms.join(rooms.create(room), Joining(grant=grant, identity=identity), port), port


async def call(service: Service, name: str, video: VideoGrant | None, /, key: ApiKey = KEY, **fields: Any) -> Any:
    method = service.methods[name]
    return await method.handler(caller(video, key), method.request_type(**fields))


async def refusal(service: Service, name: str, video: VideoGrant | None, /, **fields: Any) -> tuple[str, str]:
    with pytest.raises((TwirpError, GreenroomError)) as caught:
        await call(service, name, video, **fields)
    error = caught.value
    return (error.code, error.msg) if isinstance(error, TwirpError) else (error.code, error.message)


OF_ONE_ROOM = [
    "ListParticipants",
    "GetParticipant",
    "RemoveParticipant",
    "UpdateParticipant",
    "SendData",
    "UpdateRoomMetadata",
    "MutePublishedTrack",
    "UpdateSubscriptions",
    "PerformRpc",
]


def test_every_method_of_the_service_is_there(service: Service) -> None:
    expected = room_pb.DESCRIPTOR.services_by_name["RoomService"].methods
    assert {name: method.request_type.DESCRIPTOR for name, method in service.methods.items()} == {
        method.name: method.input_type for method in expected
    }


@pytest.mark.parametrize("name", OF_ONE_ROOM)
@pytest.mark.parametrize(
    "video",
    [
        None,
        VideoGrant(room_admin=True),
        VideoGrant(room_admin=True, room="other"),
        VideoGrant(room_join=True, room="lobby"),
        VideoGrant(room_create=True, room_list=True, room_record=True, room="lobby"),
    ],
)
async def test_a_room_is_for_its_administrators(service: Service, name: str, video: VideoGrant | None) -> None:
    assert await refusal(service, name, video, room="lobby") == DENIED


@pytest.mark.parametrize(("name", "field"), [("CreateRoom", "name"), ("DeleteRoom", "room")])
async def test_creating_and_deleting_need_their_grant(service: Service, name: str, field: str) -> None:
    assert await refusal(service, name, ADMIN, **{field: "lobby"}) == DENIED
    assert await refusal(service, name, None, **{field: "lobby"}) == DENIED


async def test_listing_rooms_needs_its_grant(service: Service) -> None:
    assert await refusal(service, "ListRooms", ADMIN) == DENIED


@pytest.mark.parametrize("name", [*OF_ONE_ROOM, "DeleteRoom", "CreateRoom"])
async def test_a_key_is_refused_rooms_outside_its_policy(service: Service, name: str) -> None:
    video = VideoGrant(room_admin=True, room_create=True, room="back")
    code, message = await refusal(service, name, video, key=NARROW, **{_room_field(name): "back"})
    assert code == "permission_denied"
    assert message == ("API key 'narrow' may not use room 'back'. Use another key, or add the name to the key's rooms")


def _room_field(name: str) -> str:
    return "name" if name == "CreateRoom" else "room"


async def test_a_room_is_created_with_what_is_asked(service: Service, rooms: RoomManager) -> None:
    room = await call(
        service,
        "CreateRoom",
        CREATE,
        name="lobby",
        empty_timeout=10,
        departure_timeout=5,
        max_participants=2,
        metadata="m",
        agents=[agent_dispatch.RoomAgentDispatch(agent_name="front-desk")],
    )
    assert room.sid.startswith("RM_")
    assert (room.name, room.metadata, room.creation_time) == ("lobby", "m", 1_800_000_000)
    assert (room.empty_timeout, room.departure_timeout, room.max_participants) == (10, 5, 2)
    created = rooms.get("lobby")
    assert created is not None
    assert [agent.agent_name for agent in created.agents or ()] == ["front-desk"]


async def test_creating_again_keeps_the_room_and_changes_what_is_set(service: Service, rooms: RoomManager) -> None:
    first = await call(service, "CreateRoom", CREATE, name="lobby", empty_timeout=10, metadata="m")
    _, port = join(rooms, "lobby", "ann")
    second = await call(service, "CreateRoom", CREATE, name="lobby", max_participants=7, metadata="n")
    assert second.sid == first.sid
    assert (second.empty_timeout, second.max_participants, second.metadata) == (10, 7, "n")
    assert port.last("room_update").room.metadata == "n"


async def test_rooms_that_cannot_be_are_refused(service: Service) -> None:
    long = "m" * 1001
    agent = agent_dispatch.RoomAgentDispatch
    refused: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "r" * 257},
        {"name": "lobby", "metadata": long},
        {"name": "lobby", "agents": [agent(agent_name="a" * 257)]},
        {"name": "lobby", "agents": [agent(metadata=long)]},
        {"name": "lobby", "agents": [agent(attributes={"a": "v" * 200})]},
        {"name": "lobby", "agents": [agent(deployment="a_b")]},
        {"name": "lobby", "agents": [agent(deployment="a b")]},
        {"name": "lobby", "agents": [agent(deployment="d" * 65)]},
    ]
    for fields in refused:
        code, _ = await refusal(service, "CreateRoom", CREATE, **fields)
        assert code in {"limit_exceeded", "room_refused", "dispatch_invalid"}, fields


async def test_a_room_with_egress_is_refused_as_livekit_does_without_a_backend(service: Service) -> None:
    wanted = room_pb.RoomEgress(room=egress.RoomCompositeEgressRequest(room_name="lobby"))
    assert await refusal(service, "CreateRoom", CREATE, name="lobby", egress=wanted) == (
        "internal",
        "egress not connected (redis required)",
    )


async def test_a_server_full_of_rooms_refuses_another(service: Service) -> None:
    for name in "abc":
        await call(service, "CreateRoom", CREATE, name=name)
    assert (await refusal(service, "CreateRoom", CREATE, name="d"))[0] == "capacity_exceeded"
    await call(service, "CreateRoom", CREATE, name="a")


async def test_a_key_is_refused_agents_outside_its_policy(service: Service, rooms: RoomManager) -> None:
    agents = [agent_dispatch.RoomAgentDispatch(agent_name=name) for name in ("front-desk", "back-office")]
    code, message = await refusal(service, "CreateRoom", CREATE, key=NARROW, name="front-1", agents=agents)
    assert (code, "agent 'back-office'" in message) == ("permission_denied", True)
    assert rooms.get("front-1") is None
    await call(service, "CreateRoom", CREATE, key=NARROW, name="front-1", agents=agents[:1])
    assert rooms.get("front-1") is not None


async def test_rooms_are_listed_all_or_by_name(service: Service) -> None:
    for name in ("lobby", "front-1", "front-2"):
        await call(service, "CreateRoom", CREATE, name=name)

    async def names(key: ApiKey = KEY, **fields: Any) -> list[str]:
        return [room.name for room in (await call(service, "ListRooms", LIST, key, **fields)).rooms]

    assert await names() == ["lobby", "front-1", "front-2"]
    assert await names(names=["front-2", "nowhere", "lobby"]) == ["front-2", "lobby"]
    assert await names(names=["nowhere"]) == []
    assert await names(NARROW) == ["front-1", "front-2"]


async def test_a_deleted_room_sends_everybody_away(service: Service, rooms: RoomManager) -> None:
    _, port = join(rooms, "lobby", "ann")
    await call(service, "DeleteRoom", CREATE, room="lobby")
    assert rooms.get("lobby") is None
    assert port.last("leave").reason == models.DisconnectReason.ROOM_DELETED
    assert await refusal(service, "DeleteRoom", CREATE, room="lobby") == (
        "room_not_found",
        "requested room does not exist",
    )


async def test_participants_are_listed_hidden_ones_too(service: Service, rooms: RoomManager) -> None:
    join(rooms, "lobby", "ann")
    join(rooms, "lobby", "spy", VideoGrant(room_join=True, room="lobby", hidden=True))
    listed = (await call(service, "ListParticipants", ADMIN, room="lobby")).participants
    assert [participant.identity for participant in listed] == ["ann", "spy"]


async def test_an_unknown_room_has_no_participants(service: Service) -> None:
    assert (await call(service, "ListParticipants", ADMIN, room="lobby")).participants == []


async def test_a_participant_is_found_by_identity(service: Service, rooms: RoomManager) -> None:
    ann, _ = join(rooms, "lobby", "ann")
    assert await call(service, "GetParticipant", ADMIN, room="lobby", identity="ann") == ann.info()


@pytest.mark.parametrize("name", ["GetParticipant", "RemoveParticipant", "UpdateParticipant"])
async def test_who_is_not_there_is_not_found(service: Service, rooms: RoomManager, name: str) -> None:
    missing = ("participant_not_found", "participant does not exist")
    assert await refusal(service, name, ADMIN, room="lobby", identity="ann") == missing
    join(rooms, "lobby", "bob")
    assert await refusal(service, name, ADMIN, room="lobby", identity="ann") == missing
    assert await refusal(service, name, ADMIN, room="lobby") == missing


async def test_a_removed_participant_is_told_why(service: Service, rooms: RoomManager) -> None:
    _, port = join(rooms, "lobby", "ann")
    await call(service, "RemoveParticipant", ADMIN, room="lobby", identity="ann")
    assert port.last("leave").reason == models.DisconnectReason.PARTICIPANT_REMOVED
    room = rooms.get("lobby")
    assert room is not None
    assert not room.participants


async def test_a_participant_is_updated_by_what_is_given(service: Service, rooms: RoomManager) -> None:
    ann, port = join(rooms, "lobby", "ann")
    where = {"room": "lobby", "identity": "ann"}
    await call(service, "UpdateParticipant", ADMIN, **where, name="Ann", metadata="m", attributes={"a": "1", "b": "2"})
    info = await call(service, "UpdateParticipant", ADMIN, **where, attributes={"a": "", "c": "3"})
    assert (info.name, info.metadata, dict(info.attributes)) == ("Ann", "m", {"b": "2", "c": "3"})
    assert info.permission.can_publish
    assert port.last("update").participants[0] == info

    permission = models.ParticipantPermission(can_subscribe=True)
    info = await call(service, "UpdateParticipant", ADMIN, **where, permission=permission)
    assert info.permission == permission
    assert ann.permission == permission
    assert port.last("refresh_token")


async def test_updates_that_are_too_long_are_refused_and_change_nothing(service: Service, rooms: RoomManager) -> None:
    ann, _ = join(rooms, "lobby", "ann")
    before = ann.info()
    too_long: list[dict[str, Any]] = [
        {"name": "n" * 257},
        {"metadata": "m" * 1001},
        {"attributes": {"a": "v" * 200}},
        {"attributes": {"a" * 200: "v"}},
    ]
    for fields in too_long:
        code, _ = await refusal(service, "UpdateParticipant", ADMIN, room="lobby", identity="ann", **fields)
        assert code == "limit_exceeded"
    assert ann.info() == before


async def test_data_is_sent_to_everybody_or_to_those_named(
    service: Service, rooms: RoomManager, engine: Engine
) -> None:
    ann, bob = (join(rooms, "lobby", name)[0] for name in ("ann", "bob"))
    await call(service, "SendData", ADMIN, room="lobby", data=b"all", topic="t")
    await call(service, "SendData", ADMIN, room="lobby", data=b"one", destination_identities=["bob"], kind=1)
    await call(service, "SendData", ADMIN, room="lobby", data=b"sid", destination_sids=[ann.sid])
    await call(service, "SendData", ADMIN, room="lobby", data=b"none", destination_identities=["eve"])
    assert [(to, label, packet.user.payload) for to, label, packet in engine.sent] == [
        ([ann.transport, bob.transport], "_reliable", b"all"),
        ([bob.transport], "_lossy", b"one"),
        ([ann.transport], "_reliable", b"sid"),
    ]
    packet = engine.sent[0][2]
    assert packet.user.topic == "t"
    assert (packet.participant_identity, packet.participant_sid, packet.user.participant_sid) == ("", "", "")


async def test_data_with_the_same_nonce_is_sent_once(service: Service, rooms: RoomManager, engine: Engine) -> None:
    join(rooms, "lobby", "ann")
    for nonce in (b"0" * 16, b"0" * 16, b"1" * 16):
        await call(service, "SendData", ADMIN, room="lobby", data=b"x", nonce=nonce)
    assert [packet.user.nonce for _, _, packet in engine.sent] == [b"0" * 16, b"1" * 16]


async def test_data_that_cannot_be_is_refused(service: Service, rooms: RoomManager) -> None:
    assert (await refusal(service, "SendData", ADMIN, room="lobby", data=b"x"))[0] == "room_not_found"
    rooms.create("lobby")
    assert await refusal(service, "SendData", ADMIN, room="lobby", data=b"x", nonce=b"short") == (
        "invalid_argument",
        "nonce should be 16-bytes or not present, got: 5 bytes",
    )
    code, _ = await refusal(service, "SendData", ADMIN, room="lobby", data=b"x" * 64_001)
    assert code == "invalid_argument"


async def test_room_metadata_is_replaced_and_told(service: Service, rooms: RoomManager) -> None:
    assert (await refusal(service, "UpdateRoomMetadata", ADMIN, room="lobby", metadata="m"))[0] == "room_not_found"
    _, port = join(rooms, "lobby", "ann")
    assert (await call(service, "UpdateRoomMetadata", ADMIN, room="lobby", metadata="m")).metadata == "m"
    assert port.last("room_update").room.metadata == "m"
    assert (await refusal(service, "UpdateRoomMetadata", ADMIN, room="lobby", metadata="m" * 1001))[0] == (
        "limit_exceeded"
    )
    assert (await call(service, "UpdateRoomMetadata", ADMIN, room="lobby")).metadata == ""


@pytest.mark.parametrize("name", ["MutePublishedTrack", "UpdateSubscriptions"])
async def test_track_methods_need_the_participant(service: Service, rooms: RoomManager, name: str) -> None:
    assert (await refusal(service, name, ADMIN, room="lobby", identity="ann"))[0] == "participant_not_found"
    join(rooms, "lobby", "bob")
    assert (await refusal(service, name, ADMIN, room="lobby", identity="ann"))[0] == "participant_not_found"


async def test_a_track_is_muted_from_afar_and_its_publisher_told(service: Service, rooms: RoomManager) -> None:
    ann, port = join(rooms, "lobby", "ann")
    rooms.apply(ann.room, ann.room.tracks.add(ann, rtc.AddTrackRequest(cid="mic"), rooms.clock()))
    sid = port.last("track_published").track.sid
    who = {"room": "lobby", "identity": "ann", "track_sid": sid}
    answer = await call(service, "MutePublishedTrack", ADMIN, **who, muted=True)
    assert (answer.track.sid, answer.track.muted) == (sid, True)
    assert (port.last("mute").sid, port.last("mute").muted) == (sid, True)


async def test_an_unknown_track_is_answered_with_none(service: Service, rooms: RoomManager) -> None:
    join(rooms, "lobby", "ann")
    answer = await call(
        service, "MutePublishedTrack", ADMIN, room="lobby", identity="ann", track_sid="TR_x", muted=True
    )
    assert not answer.HasField("track")


async def test_nobody_is_unmuted_from_afar(service: Service, rooms: RoomManager) -> None:
    join(rooms, "lobby", "ann")
    code, message = await refusal(service, "MutePublishedTrack", ADMIN, room="lobby", identity="ann", track_sid="TR_x")
    assert (code, message) == ("remote_unmute_disabled", "remote unmute not enabled")


async def test_subscriptions_can_be_asked_for_on_behalf_of_a_participant(service: Service, rooms: RoomManager) -> None:
    join(rooms, "lobby", "ann")
    await call(
        service, "UpdateSubscriptions", ADMIN, room="lobby", identity="ann", track_sids=["TR_AMx"], subscribe=True
    )


async def test_rpc_is_not_there_yet(service: Service) -> None:
    assert (await refusal(service, "PerformRpc", ADMIN, room="lobby"))[0] == "invalid_argument"
    code, _ = await refusal(service, "PerformRpc", ADMIN, room="lobby", destination_identity="ann", method="m")
    assert code == "unimplemented"


@pytest.mark.parametrize("name", ["ForwardParticipant", "MoveParticipant"])
async def test_relocation_needs_both_rooms_and_is_not_there(service: Service, name: str) -> None:
    where = {"room": "lobby", "destination_room": "other"}
    both = VideoGrant(room_admin=True, room="lobby", destination_room="other")
    same = VideoGrant(room_admin=True, room="lobby", destination_room="lobby")
    assert await refusal(service, name, ADMIN, **where) == DENIED
    assert await refusal(service, name, same, **where) == DENIED
    assert (await refusal(service, name, both, **where))[0] == "unimplemented"
    assert await refusal(service, name, same, room="lobby", destination_room="lobby") == (
        "invalid_argument",
        "destination room cannot be the same as source room",
    )


def test_the_messages_are_livekits_own(service: Service) -> None:
    assert all(issubclass(method.request_type, Message) for method in service.methods.values())
