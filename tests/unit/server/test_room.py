"""The room core in virtual time: joining, leaving, duplicates, lifecycle."""

from __future__ import annotations

import pytest
from livekit.protocol import models, rtc
from livekit.protocol import room as room_pb

from greenroom.grants import verify
from greenroom.server.room import LimitError, RoomFullError
from greenroom.server.room._effects import Happened
from support.rooms import KEY, Stage

pytestmark = pytest.mark.unit

Info = models.ParticipantInfo
Reason = models.DisconnectReason
Leave = rtc.LeaveRequest


def test_the_first_message_is_a_join_response_that_every_client_accepts():
    stage = Stage()
    alice = stage.join("alice", active=False, name="Alice", metadata="m", attributes={"a": "1"})
    (message,) = stage.told[alice.sid]
    join = message.join
    assert join.room.sid.startswith("RM_")
    assert join.room.name == "lobby"
    assert join.participant.sid.startswith("PA_")
    assert join.participant.state == Info.JOINED
    assert (join.participant.name, join.participant.metadata) == ("Alice", "m")
    assert dict(join.participant.attributes) == {"a": "1"}
    assert join.ping_interval > 0
    assert join.ping_timeout > 0
    assert join.server_info.version
    assert not join.subscriber_primary
    assert join.enabled_publish_codecs


def test_a_newcomer_learns_of_those_who_are_there():
    stage = Stage()
    stage.join("alice")
    bob = stage.join("bob")
    assert [other.identity for other in stage.told[bob.sid][0].join.other_participants] == ["alice"]


def test_others_learn_of_a_newcomer_and_that_it_became_active():
    stage = Stage()
    alice = stage.join("alice")
    bob = stage.join("bob")
    states = [info.state for info in stage.updates(alice) if info.identity == "bob"]
    assert states == [Info.JOINED, Info.ACTIVE]
    assert [info.state for info in stage.updates(bob) if info.identity == "bob"] == [Info.ACTIVE]


def test_nothing_comes_between_the_join_response_and_the_answer():
    stage = Stage()
    stage.join("alice")
    bob = stage.join("bob", active=False)
    assert stage.kinds(bob) == ["join"]


def test_client_protocol_and_capabilities_are_mirrored():
    stage = Stage()
    alice = stage.join("alice")
    client = models.ClientInfo(client_protocol=1, capabilities=[models.ClientInfo.CAP_COMPRESSION_DEFLATE_RAW])
    stage.join("bob", client=client)
    (first, *_) = (info for info in stage.updates(alice) if info.identity == "bob")
    assert first.client_protocol == 1
    assert list(first.capabilities) == [models.ClientInfo.CAP_COMPRESSION_DEFLATE_RAW]


def test_every_update_carries_all_tracks_even_of_one_who_is_gone():
    stage = Stage()
    alice = stage.join("alice")
    bob = stage.join("bob")
    bob.tracks.extend([models.TrackInfo(sid="TR_AMone"), models.TrackInfo(sid="TR_VCtwo")])
    stage.do(stage.room.update_participant(bob, stage.now, name="Bob"))
    stage.do(stage.room.client_left(bob, Reason.CLIENT_INITIATED, stage.now))
    for info in stage.updates(alice)[-2:]:
        assert [track.sid for track in info.tracks] == ["TR_AMone", "TR_VCtwo"]


def test_versions_grow_and_states_never_go_back():
    stage = Stage()
    alice = stage.join("alice")
    bob = stage.join("bob")
    stage.do(stage.room.update_participant(bob, stage.now, metadata="x"))
    stage.do(stage.room.media_connected(bob, stage.now))
    stage.do(stage.room.client_left(bob, Reason.CLIENT_INITIATED, stage.now))
    seen = [(info.version, info.state) for info in stage.updates(alice) if info.identity == "bob"]
    assert seen == sorted(seen)
    assert [state for _, state in seen] == [Info.JOINED, Info.ACTIVE, Info.ACTIVE, Info.DISCONNECTED]
    assert not bob.advance(Info.JOINED)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Reason.CLIENT_INITIATED, Reason.CLIENT_INITIATED),
        (Reason.USER_REJECTED, Reason.USER_REJECTED),
        (Reason.USER_UNAVAILABLE, Reason.USER_UNAVAILABLE),
        (Reason.AGENT_ERROR, Reason.AGENT_ERROR),
        (Reason.ROOM_DELETED, Reason.CLIENT_INITIATED),
        (Reason.UNKNOWN_REASON, Reason.CLIENT_INITIATED),
    ],
)
def test_a_leaving_client_chooses_only_among_its_own_reasons(given, told):
    stage = Stage()
    alice = stage.join("alice")
    bob = stage.join("bob")
    stage.do(stage.room.client_left(bob, given, stage.now))
    assert stage.updates(alice)[-1].disconnect_reason == told
    assert stage.dropped == [(bob, None)]
    assert stage.heard[-1] == (Happened.LEFT, "bob", told)


class TestDuplicateIdentity:
    def test_the_first_one_is_sent_away_and_the_second_gets_a_new_sid(self):
        stage = Stage()
        first = stage.join("alice")
        second = stage.join("alice")
        assert first.sid != second.sid
        ((dropped, leave),) = stage.dropped
        assert dropped is first
        assert (leave.reason, leave.action) == (Reason.DUPLICATE_IDENTITY, Leave.DISCONNECT)

    def test_others_hear_of_the_departure_strictly_before_the_arrival(self):
        stage = Stage()
        bob = stage.join("bob")
        first = stage.join("alice")
        second = stage.join("alice")
        told = [(i.sid, i.state == Info.DISCONNECTED) for i in stage.updates(bob) if i.identity == "alice"]
        assert told.index((first.sid, True)) < told.index((second.sid, False))
        assert (first.sid, False) not in told[told.index((first.sid, True)) :]

    def test_the_newcomer_hears_nothing_of_its_predecessor(self):
        stage = Stage()
        first = stage.join("alice")
        second = stage.join("alice")
        assert first.sid not in {info.sid for info in stage.updates(second)}
        assert not stage.told[second.sid][0].join.other_participants

    def test_the_order_holds_in_a_room_that_gathers_updates(self, monkeypatch):
        monkeypatch.setattr("greenroom.server.room._announcements.SMALL_ROOM", 1)
        stage = Stage()
        bob = stage.join("bob")
        first = stage.join("alice")
        second = stage.join("alice")
        stage.pass_time(1)
        told = [(i.sid, i.state) for i in stage.updates(bob) if i.identity == "alice"]
        assert told.index((first.sid, Info.DISCONNECTED)) < told.index((second.sid, Info.ACTIVE))

    def test_events_of_the_old_connection_do_not_touch_the_new_one(self):
        stage = Stage()
        first = stage.join("alice")
        second = stage.join("alice")
        stage.do(stage.room.client_left(first, Reason.CLIENT_INITIATED, stage.now))
        stage.do(stage.room.signal_lost(first, stage.now))
        stage.do(stage.room.media_lost(first, "ice_timeout", stage.now))
        assert stage.room.participants["alice"] is second


class TestHidden:
    def test_nobody_learns_of_a_hidden_participant(self):
        stage = Stage()
        alice = stage.join("alice")
        ghost = stage.join("ghost", hidden=True)
        carol = stage.join("carol")
        stage.do(stage.room.update_participant(ghost, stage.now, name="Boo"))
        stage.do(stage.room.client_left(ghost, Reason.CLIENT_INITIATED, stage.now))
        assert "ghost" not in {info.identity for p in (alice, carol) for info in stage.updates(p)}
        assert [other.identity for other in stage.told[carol.sid][0].join.other_participants] == ["alice"]
        assert stage.room.info().num_participants == 2

    def test_it_sees_the_others_and_itself(self):
        stage = Stage()
        stage.join("alice")
        ghost = stage.join("ghost", hidden=True)
        stage.do(stage.room.update_participant(ghost, stage.now, attributes={"k": "v"}))
        stage.join("carol")
        assert stage.told[ghost.sid][0].join.other_participants[0].identity == "alice"
        assert [dict(i.attributes) for i in stage.updates(ghost) if i.identity == "ghost"][-1] == {"k": "v"}
        assert "carol" in {info.identity for info in stage.updates(ghost)}

    def test_one_who_becomes_hidden_disappears_for_the_others_and_comes_back(self):
        stage = Stage()
        alice = stage.join("alice")
        bob = stage.join("bob")
        hidden = models.ParticipantPermission(can_subscribe=True, hidden=True)
        stage.do(stage.room.update_participant(bob, stage.now, permission=hidden))
        assert stage.updates(alice)[-1].state == Info.DISCONNECTED
        assert stage.updates(bob)[-1].state == Info.ACTIVE
        stage.do(stage.room.update_participant(bob, stage.now, permission=models.ParticipantPermission()))
        assert (stage.updates(alice)[-1].identity, stage.updates(alice)[-1].state) == ("bob", Info.ACTIVE)


class TestLosses:
    def test_signalling_lost_before_media_was_up_ends_the_participant(self):
        stage = Stage()
        alice = stage.join("alice")
        bob = stage.join("bob", active=False)
        stage.do(stage.room.signal_lost(bob, stage.now))
        assert stage.updates(alice)[-1].disconnect_reason == Reason.SIGNAL_CLOSE

    def test_signalling_lost_while_media_is_up_keeps_the_participant_until_media_dies(self):
        stage = Stage()
        alice = stage.join("alice")
        bob = stage.join("bob")
        stage.do(stage.room.signal_lost(bob, stage.now))
        stage.pass_time(120)
        assert stage.room.participants["bob"] is bob
        stage.do(stage.room.media_lost(bob, "ice_timeout", stage.now))
        assert "bob" not in stage.room.participants
        assert stage.updates(alice)[-1].disconnect_reason == Reason.CONNECTION_TIMEOUT

    @pytest.mark.parametrize(
        ("why", "reason"),
        [
            ("ice_timeout", Reason.CONNECTION_TIMEOUT),
            ("overflow", Reason.STATE_MISMATCH),
            ("fault", Reason.MEDIA_FAILURE),
        ],
    )
    def test_a_client_that_lost_its_media_is_sent_into_a_full_reconnect(self, why, reason):
        stage = Stage()
        bob = stage.join("bob")
        stage.do(stage.room.media_lost(bob, why, stage.now))
        ((_, leave),) = stage.dropped
        assert (leave.reason, leave.action, leave.can_reconnect) == (reason, Leave.RECONNECT, True)

    def test_a_client_that_closes_its_connection_has_time_to_say_goodbye(self):
        stage = Stage()
        alice = stage.join("alice")
        bob = stage.join("bob")
        stage.do(stage.room.media_lost(bob, "dtls", stage.now))
        stage.pass_time(2)
        stage.do(stage.room.client_left(bob, Reason.CLIENT_INITIATED, stage.now))
        assert stage.updates(alice)[-1].disconnect_reason == Reason.CLIENT_INITIATED

    def test_one_that_says_nothing_is_sent_into_a_full_reconnect_after_five_seconds(self):
        stage = Stage()
        bob = stage.join("bob")
        stage.do(stage.room.media_lost(bob, "dtls", stage.now))
        stage.pass_time(4)
        assert not stage.dropped
        stage.pass_time(1)
        ((_, leave),) = stage.dropped
        assert (leave.reason, leave.action) == (Reason.CONNECTION_TIMEOUT, Leave.RECONNECT)

    def test_media_and_signalling_lost_together_end_the_participant(self):
        stage = Stage()
        bob = stage.join("bob")
        stage.do(stage.room.media_lost(bob, "dtls", stage.now))
        stage.do(stage.room.signal_lost(bob, stage.now))
        assert stage.heard[-1] == (Happened.LEFT, "bob", Reason.CONNECTION_TIMEOUT)

    def test_one_who_never_connects_is_given_up_after_a_minute(self):
        stage = Stage()
        stage.join("alice")
        bob = stage.join("bob", active=False)
        stage.pass_time(59)
        assert not stage.dropped
        stage.pass_time(1)
        ((dropped, leave),) = stage.dropped
        assert dropped is bob
        assert (leave.reason, leave.action) == (Reason.JOIN_FAILURE, Leave.DISCONNECT)


class TestLifecycle:
    def test_a_room_that_nobody_joins_ends_after_its_empty_timeout(self):
        stage = Stage()
        stage.pass_time(299)
        assert not stage.room.closed
        stage.pass_time(1)
        assert stage.heard == [(Happened.ROOM_FINISHED, "", Reason.UNKNOWN_REASON)]

    def test_a_room_ends_some_time_after_the_last_one_left(self):
        stage = Stage(departure_timeout=20)
        alice = stage.join("alice")
        stage.pass_time(1000)
        stage.do(stage.room.client_left(alice, Reason.CLIENT_INITIATED, stage.now))
        stage.pass_time(19)
        assert not stage.room.closed
        stage.pass_time(1)
        assert stage.room.closed

    def test_somebody_who_comes_back_in_time_keeps_it_open(self):
        stage = Stage(departure_timeout=20)
        alice = stage.join("alice")
        stage.do(stage.room.client_left(alice, Reason.CLIENT_INITIATED, stage.now))
        stage.pass_time(19)
        stage.join("alice")
        stage.pass_time(600)
        assert not stage.room.closed

    @pytest.mark.parametrize(
        "dependent", [{"kind": "agent"}, {"kind": "egress", "hidden": True}, {"recorder": True, "hidden": True}]
    )
    def test_agents_and_recorders_do_not_keep_a_room_open(self, dependent):
        stage = Stage(departure_timeout=20)
        helper = stage.join("helper", **dependent)
        alice = stage.join("alice")
        stage.do(stage.room.client_left(alice, Reason.CLIENT_INITIATED, stage.now))
        stage.pass_time(20)
        ((_, first), (dropped, leave)) = stage.dropped
        assert first is None
        assert dropped is helper
        assert (leave.reason, leave.action) == (Reason.ROOM_CLOSED, Leave.DISCONNECT)
        assert [what for what, *_ in stage.heard][-2:] == [Happened.LEFT, Happened.ROOM_FINISHED]

    def test_a_hidden_person_keeps_a_room_open(self):
        stage = Stage(empty_timeout=10)
        stage.join("ghost", hidden=True)
        stage.pass_time(600)
        assert not stage.room.closed

    def test_max_participants_does_not_count_agents_and_refuses_the_next(self):
        stage = Stage(max_participants=2)
        stage.join("agent", kind="agent")
        stage.join("alice")
        stage.join("bob")
        stage.join("another-agent", kind="agent")
        with pytest.raises(RoomFullError, match="max participants"):
            stage.join("carol")
        stage.join("bob")

    def test_counts_are_told_within_a_second_or_so_and_only_when_they_change(self):
        stage = Stage()
        alice = stage.join("alice")
        stage.join("helper", kind="agent")
        stage.pass_time(3)
        bob = stage.join("bob")
        stage.pass_time(3)
        rooms = [m.room_update.room for m in stage.told[alice.sid] if m.HasField("room_update")]
        assert [room.num_participants for room in rooms] == [1, 2]
        assert stage.told[bob.sid][0].join.room.num_participants == 2

    def test_a_recorder_makes_the_room_say_that_it_is_recorded(self):
        stage = Stage()
        alice = stage.join("alice")
        stage.join("rec", kind="egress", hidden=True)
        stage.pass_time(1)
        assert stage.told[alice.sid][-1].room_update.room.active_recording

    def test_metadata_of_the_room_is_told_at_once(self):
        stage = Stage()
        alice = stage.join("alice")
        stage.do(stage.room.update_metadata("topic: tea"))
        assert stage.told[alice.sid][-1].room_update.room.metadata == "topic: tea"

    def test_a_room_takes_over_what_its_creator_sets_and_nothing_else(self):
        stage = Stage(empty_timeout=300, departure_timeout=20)
        stage.room.configure(room_pb.CreateRoomRequest(empty_timeout=5, metadata="m"))
        info = stage.room.info()
        assert (info.empty_timeout, info.departure_timeout, info.metadata) == (5, 20, "m")


class TestChanges:
    def test_everybody_hears_of_a_change_and_so_does_its_subject(self):
        stage = Stage()
        alice = stage.join("alice")
        bob = stage.join("bob")
        stage.do(stage.room.update_participant(bob, stage.now, name="Bob", metadata="m", attributes={"k": "v"}))
        for participant in (alice, bob):
            info = stage.updates(participant)[-1]
            assert (info.identity, info.name, info.metadata, dict(info.attributes)) == ("bob", "Bob", "m", {"k": "v"})

    def test_quick_changes_are_all_told_in_order(self, monkeypatch):
        monkeypatch.setattr("greenroom.server.room._announcements.SMALL_ROOM", 1)
        stage = Stage()
        alice = stage.join("alice")
        agent = stage.join("agent", kind="agent")
        for state in ("listening", "thinking", "speaking", "listening"):
            stage.do(stage.room.update_participant(agent, stage.now, attributes={"lk.agent.state": state}))
        states = [i.attributes["lk.agent.state"] for i in stage.updates(alice) if "lk.agent.state" in i.attributes]
        assert states == ["listening", "thinking", "speaking", "listening"]

    def test_an_empty_text_changes_nothing_and_an_empty_attribute_is_removed(self):
        stage = Stage()
        bob = stage.join("bob", name="Bob", metadata="m", attributes={"a": "1", "b": "2"})
        stage.do(stage.room.update_participant(bob, stage.now, name="", metadata="", attributes={"a": "", "c": "3"}))
        assert (bob.name, bob.metadata, bob.attributes) == ("Bob", "m", {"b": "2", "c": "3"})

    def test_nothing_is_told_when_nothing_changed(self):
        stage = Stage()
        bob = stage.join("bob", attributes={"a": "1"})
        assert stage.room.update_participant(bob, stage.now, attributes={"a": "1"}) == []

    @pytest.mark.parametrize(
        "change", [{"name": "n" * 257}, {"metadata": "m" * (512 * 1024 + 1)}, {"attributes": {"k": "v" * 65536}}]
    )
    def test_what_is_too_long_is_refused_and_changes_nothing(self, change):
        stage = Stage()
        bob = stage.join("bob", name="Bob")
        version = bob.version
        with pytest.raises(LimitError):
            stage.room.update_participant(bob, stage.now, **{"name": "New", **change})
        assert (bob.name, bob.version) == ("Bob", version)

    def test_a_new_permission_is_told_and_comes_with_a_token_that_says_so(self):
        stage = Stage()
        bob = stage.join("bob")
        before = len(stage.told[bob.sid])
        permission = models.ParticipantPermission(can_subscribe=True)
        stage.do(stage.room.update_participant(bob, stage.now, permission=permission))
        update, token = stage.told[bob.sid][before:]
        assert update.update.participants[0].permission == permission
        grant = verify(token.refresh_token, [KEY], now=stage.now)
        assert not grant.claims.video.may_publish_data
        assert grant.claims.video.may_subscribe


def test_tokens_are_refreshed_every_five_minutes_with_what_is_true_by_then():
    stage = Stage()
    alice = stage.join("alice", kind="agent", name="A", room="lobby")
    stage.do(stage.room.update_participant(alice, stage.now, name="B", attributes={"k": "v"}))
    stage.join("keeper")
    stage.pass_time(601)
    tokens = [m.refresh_token for m in stage.told[alice.sid] if m.refresh_token]
    assert len(tokens) == 3
    claims = verify(tokens[-1], [KEY], now=stage.now).claims
    assert (claims.identity, claims.name, claims.kind, claims.attributes) == ("alice", "B", "agent", {"k": "v"})
    assert claims.video.room == "lobby"
    assert claims.expires_at >= stage.now + 600


def test_a_large_room_is_told_of_many_arrivals_at_once():
    stage = Stage()
    everybody = [stage.join(f"p{n}") for n in range(200)]
    stage.pass_time(1)
    first = everybody[0]
    assert {info.identity for info in stage.updates(first)} >= {p.identity for p in everybody[1:]}
    assert stage.kinds(first).count("update") < 80


def test_nobody_is_heard_before_the_others_know_of_him_even_in_a_large_room():
    stage = Stage()
    everybody = [stage.join(f"p{n}") for n in range(40)]
    last = everybody[-1]
    packet = models.DataPacket(user=models.UserPacket(payload=b"hi")).SerializeToString()
    assert last.identity not in {info.identity for info in stage.updates(everybody[0])}
    stage.do(stage.room.data(last, "_reliable", packet, stage.now))
    assert last.identity in {info.identity for info in stage.updates(everybody[0])}
    assert len(stage.sent) == 1
