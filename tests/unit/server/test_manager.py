"""The manager: rooms by name, effects in order, the media engine's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from livekit.protocol import agent_dispatch, models, rtc
from livekit.protocol import room as room_pb

from greenroom._media import FakeEngine, TransportConnected
from greenroom.config import Limits, ServerConfig
from greenroom.server.room import (
    CapacityError,
    LimitError,
    Outgoing,
    Participant,
    ParticipantNotFoundError,
    Room,
    RoomError,
    RoomManager,
)
from support.rooms import KEY, START, joining

pytestmark = pytest.mark.unit

Reason = models.DisconnectReason


class Port:
    """A signalling connection that remembers what it was given."""

    def __init__(self) -> None:
        self.messages: list[rtc.SignalResponse] = []
        self.closed = False
        self.gone = asyncio.Event()

    def send(self, message: Outgoing) -> None:
        if not self.closed:
            self.messages.append(message.message)

    def close(self) -> None:
        self.closed = True
        self.gone.set()

    async def wait_closed(self) -> None:
        await self.gone.wait()

    @property
    def kinds(self) -> list[str | None]:
        return [message.WhichOneof("message") for message in self.messages]


@dataclass
class Diary:
    """A listener that writes everything down."""

    lines: list[str] = field(default_factory=list)

    def room_started(self, room: Room) -> None:
        self.lines.append(f"{room.name} started")

    def participant_joined(self, _room: Room, participant: Participant) -> None:
        self.lines.append(f"{participant.identity} joined")

    def participant_active(self, _room: Room, participant: Participant) -> None:
        self.lines.append(f"{participant.identity} active")

    def participant_published(self, _room: Room, participant: Participant) -> None:
        self.lines.append(f"{participant.identity} published")

    def track_published(self, _room: Room, participant: Participant, track: models.TrackInfo) -> None:
        self.lines.append(f"{participant.identity} published {track.name}")

    def track_unpublished(self, _room: Room, participant: Participant, track: models.TrackInfo) -> None:
        self.lines.append(f"{participant.identity} unpublished {track.name}")

    def agents_requested(self, _room: Room, agents: Sequence[agent_dispatch.RoomAgentDispatch]) -> None:
        self.lines.append(f"asked for {', '.join(agent.agent_name for agent in agents)}")

    def participant_left(self, _room: Room, participant: Participant, reason: models.DisconnectReason) -> None:
        self.lines.append(f"{participant.identity} left {Reason.Name(reason)}")

    def room_finished(self, room: Room) -> None:
        self.lines.append(f"{room.name} finished")


class House:
    """A manager over the fake engine, with a clock that the test moves."""

    def __init__(self, **config: object) -> None:
        self.now = START
        self.engine = FakeEngine()
        self.rooms = RoomManager(ServerConfig(keys=(KEY,), **config), self.engine, lambda: self.now)
        self.diary = Diary()
        self.rooms.add_listener(self.diary)

    def join(self, identity: str, room: str = "lobby", **options: object) -> tuple[Participant, Port]:
        port = Port()
        return self.rooms.join(self.rooms.create(room), joining(identity, **options), port), port

    async def connect(self, participant: Participant) -> None:
        peer = self.engine.peer(participant.transport)
        await self.engine.accept_offer(participant.transport, peer.offer())
        peer.connect()
        peer.open_channel("_reliable")
        await self.engine.settle()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.engine.start(house.rooms.on_events)
    yield house
    await house.rooms.aclose()
    await house.engine.stop()


class TestRooms:
    async def test_creating_is_idempotent_and_keeps_the_sid(self, house):
        room = house.rooms.create("lobby")
        assert house.rooms.create("lobby") is room
        assert house.rooms.get("lobby") is room
        assert house.diary.lines == ["lobby started"]

    async def test_a_request_changes_a_room_that_exists_and_everybody_is_told(self, house):
        _, port = house.join("alice")
        house.rooms.create("lobby", request=room_pb.CreateRoomRequest(metadata="new", max_participants=5))
        assert port.messages[-1].room_update.room.metadata == "new"
        assert house.rooms.get("lobby").max_participants == 5

    async def test_agents_for_a_room_that_exists_are_asked_for_once(self, house):
        def ask(*names: str) -> None:
            agents = [agent_dispatch.RoomAgentDispatch(agent_name=name) for name in names]
            house.rooms.create("lobby", request=room_pb.CreateRoomRequest(agents=agents))

        ask("a")
        ask("a", "b")
        ask("b")
        assert house.diary.lines == ["lobby started", "asked for b"]
        assert [agent.agent_name for agent in house.rooms.get("lobby").agents] == ["a", "b"]

    async def test_what_a_token_wants_counts_only_for_a_new_room(self, house):
        agents = [agent_dispatch.RoomAgentDispatch(agent_name="a")]
        room = house.rooms.create("lobby", config=room_pb.RoomConfiguration(agents=agents, metadata="first"))
        house.rooms.create("lobby", config=room_pb.RoomConfiguration(metadata="second"))
        assert room.metadata == "first"
        assert [agent.agent_name for agent in room.agents] == ["a"]
        assert house.rooms.create("hall").agents is None

    async def test_rooms_are_listed_all_or_by_name(self, house):
        for name in ("a", "b", "c"):
            house.rooms.create(name)
        assert [room.name for room in house.rooms.list()] == ["a", "b", "c"]
        assert [room.name for room in house.rooms.list(["c", "x", "a", "c"])] == ["c", "a"]

    @pytest.mark.parametrize(("name", "error"), [("", RoomError), ("n" * 257, LimitError)])
    async def test_an_unusable_name_is_refused(self, house, name, error):
        with pytest.raises(error):
            house.rooms.create(name)

    async def test_metadata_over_the_limit_creates_nothing(self, house):
        with pytest.raises(LimitError):
            house.rooms.create("lobby", request=room_pb.CreateRoomRequest(metadata="m" * 600_000))
        assert house.rooms.get("lobby") is None
        assert house.diary.lines == []

    async def test_a_defect_in_one_room_is_not_the_others_loss(self, house, monkeypatch, caplog):
        def fail(*_args: object) -> None:
            raise ZeroDivisionError

        (alice, _), (bob, _) = house.join("alice"), house.join("bob", "hall")
        for name in ("tick", "media_connected"):
            monkeypatch.setattr(alice.room, name, fail)
        house.rooms.on_events([TransportConnected(alice.transport), TransportConnected(bob.transport)])
        assert house.diary.lines[-1] == "bob active"
        house.join("carol", "kitchen")
        house.now += 60
        house.rooms.tick()
        assert house.diary.lines[-1] == "carol left JOIN_FAILURE"
        assert [record.levelname for record in caplog.records].count("ERROR") == 2

    async def test_there_is_a_limit_to_rooms_and_to_participants(self):
        house = House(limits=Limits(rooms=1, participants=1))
        await house.engine.start(house.rooms.on_events)
        house.join("alice")
        with pytest.raises(CapacityError):
            house.rooms.create("hall")
        with pytest.raises(CapacityError):
            house.join("bob")

    async def test_a_deleted_room_sends_everybody_away_and_comes_back_as_another(self, house):
        alice, port = house.join("alice")
        room = house.rooms.get("lobby")
        assert await house.rooms.delete("lobby")
        assert port.messages[-1].leave.reason == Reason.ROOM_DELETED
        assert port.messages[-1].leave.action == rtc.LeaveRequest.DISCONNECT
        assert alice.state == models.ParticipantInfo.DISCONNECTED
        assert house.diary.lines[-2:] == ["alice left ROOM_DELETED", "lobby finished"]
        assert not await house.rooms.delete("lobby")
        assert house.rooms.create("lobby").sid != room.sid

    async def test_time_ends_an_empty_room(self, house):
        house.rooms.create("lobby")
        house.now += 300
        house.rooms.tick()
        assert house.rooms.get("lobby") is None


class TestOrder:
    async def test_listeners_hear_everything_in_order(self, house):
        alice, _ = house.join("alice")
        await house.connect(alice)
        house.join("alice")
        house.rooms.remove_participant(house.rooms.get("lobby"), "alice", Reason.PARTICIPANT_REMOVED)
        assert house.diary.lines == [
            "lobby started",
            "alice joined",
            "alice active",
            "alice left DUPLICATE_IDENTITY",
            "alice joined",
            "alice left PARTICIPANT_REMOVED",
        ]

    async def test_a_listener_hears_of_a_join_before_the_join_response_is_sent(self, house):
        seen = []

        class Early(Diary):
            def participant_joined(self, _room: Room, _participant: Participant) -> None:
                seen.append(list(port.messages))

        house.rooms.add_listener(Early())
        port = Port()
        house.rooms.join(house.rooms.create("lobby"), joining("alice"), port)
        assert seen == [[]]
        assert port.kinds == ["join"]

    async def test_what_a_listener_causes_happens_afterwards(self, house):
        class Meddler(Diary):
            def participant_joined(self, room: Room, participant: Participant) -> None:
                house.rooms.update_room_metadata(room, f"{participant.identity} is here")

        house.rooms.add_listener(Meddler())
        _, port = house.join("alice")
        assert port.kinds == ["join", "room_update"]

    async def test_a_listener_that_fails_costs_nobody_else_anything(self, house, caplog):
        class Broken(Diary):
            def participant_joined(self, _room: Room, _participant: Participant) -> None:
                raise RuntimeError("boom")

        late = Diary()
        house.rooms.add_listener(Broken())
        house.rooms.add_listener(late)
        _, port = house.join("alice")
        assert port.kinds == ["join"]
        assert late.lines == ["lobby started", "alice joined"]
        assert "a room listener failed" in caplog.text


class TestMedia:
    async def test_a_participant_becomes_active_with_its_transport(self, house):
        alice, _ = house.join("alice")
        assert alice.state == models.ParticipantInfo.JOINED
        await house.connect(alice)
        assert alice.state == models.ParticipantInfo.ACTIVE

    async def test_data_is_forwarded_and_waits_for_a_channel_that_is_not_open_yet(self, house):
        alice, _ = house.join("alice")
        bob, _ = house.join("bob")
        await house.connect(alice)
        for number in range(1, 4):
            packet = models.DataPacket(sequence=number, user=models.UserPacket(payload=b"hi"))
            house.engine.peer(alice.transport).send("_reliable", packet.SerializeToString())
        await house.engine.settle()
        await house.connect(bob)
        received = house.engine.peer(bob.transport).received["_reliable"]
        assert [models.DataPacket.FromString(payload).sequence for payload in received] == [1, 2, 3]

    async def test_a_silent_client_is_given_up(self, house):
        alice, port = house.join("alice")
        await house.connect(alice)
        house.engine.peer(alice.transport).go_silent()
        house.engine.advance(16)
        await house.engine.settle()
        assert port.messages[-1].leave.action == rtc.LeaveRequest.RECONNECT
        assert house.diary.lines[-1] == "alice left CONNECTION_TIMEOUT"

    async def test_media_ends_only_after_the_goodbye_has_been_written(self, house):
        class Slow(Port):
            def close(self) -> None:
                self.closed = True

        port = Slow()
        alice = house.rooms.join(house.rooms.create("lobby"), joining("alice"), port)
        await house.connect(alice)
        house.rooms.remove_participant(alice.room, "alice", Reason.PARTICIPANT_REMOVED)
        await asyncio.sleep(0)
        assert house.engine.peer(alice.transport).alive
        port.gone.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not house.engine.peer(alice.transport).alive

    async def test_one_who_is_gone_is_not_heard_any_more(self, house):
        alice, _ = house.join("alice")
        bob, _ = house.join("bob")
        await house.connect(alice)
        await house.connect(bob)
        packet = models.DataPacket(user=models.UserPacket(payload=b"late"))
        house.engine.peer(alice.transport).send("_reliable", packet.SerializeToString())
        house.rooms.remove_participant(alice.room, "alice", Reason.PARTICIPANT_REMOVED)
        await house.engine.settle()
        assert house.engine.peer(bob.transport).received.get("_reliable", []) == []


class TestApi:
    async def test_a_participant_is_removed_for_good(self, house):
        _, port = house.join("alice")
        room = house.rooms.get("lobby")
        assert house.rooms.remove_participant(room, "alice", Reason.PARTICIPANT_REMOVED)
        assert not house.rooms.remove_participant(room, "alice", Reason.PARTICIPANT_REMOVED)
        leave = port.messages[-1].leave
        assert (leave.reason, leave.action) == (Reason.PARTICIPANT_REMOVED, rtc.LeaveRequest.DISCONNECT)
        assert port.closed

    async def test_a_participant_is_changed_and_returned(self, house):
        house.join("alice")
        info = house.rooms.update_participant(house.rooms.get("lobby"), "alice", name="Alice", attributes={"a": "1"})
        assert (info.name, dict(info.attributes)) == ("Alice", {"a": "1"})
        with pytest.raises(ParticipantNotFoundError):
            house.rooms.update_participant(house.rooms.get("lobby"), "bob", name="Bob")

    async def test_the_server_sends_data_as_nobody(self, house):
        alice, _ = house.join("alice")
        await house.connect(alice)
        packet = models.DataPacket(user=models.UserPacket(payload=b"news", topic="t"))
        house.rooms.send_data(house.rooms.get("lobby"), packet)
        (payload,) = house.engine.peer(alice.transport).received["_reliable"]
        received = models.DataPacket.FromString(payload)
        assert (received.user.payload, received.participant_identity) == (b"news", "")

    async def test_stopping_sends_everybody_away(self, house):
        _, port = house.join("alice")
        await house.rooms.aclose()
        leave = port.messages[-1].leave
        assert (leave.reason, leave.action) == (Reason.SERVER_SHUTDOWN, rtc.LeaveRequest.DISCONNECT)
        assert house.rooms.list() == []

    async def test_gathered_announcements_are_told_without_anybody_asking(self, house, monkeypatch):
        monkeypatch.setattr("greenroom.server.room._announcements.SMALL_ROOM", 1)
        monkeypatch.setattr("greenroom.server.room._announcements.GATHER", 0.0)
        _, alice = house.join("alice")
        house.join("bob")
        assert "update" not in alice.kinds
        await asyncio.sleep(0.01)
        assert "update" in alice.kinds
