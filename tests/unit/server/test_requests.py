"""What the server does with each kind of signalling request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, rtc

from greenroom.server.room import Participant
from greenroom.server.signal._frames import FrameError, decode_request
from greenroom.server.signal._requests import handle_request
from support.rooms import START, Stage

pytestmark = pytest.mark.unit

Reason = rtc.RequestResponse
Leave = rtc.LeaveRequest


class Asking(Stage):
    """A room in which participants ask for things."""

    def ask(self, participant: Participant, **request: object) -> list[rtc.SignalResponse]:
        """Handle a request and return what the participant was sent because of it."""
        before = len(self.told[participant.sid])
        self.do(handle_request(participant, rtc.SignalRequest(**request), self.now))
        return self.told[participant.sid][before:]


@pytest.fixture
def stage() -> Asking:
    return Asking()


def test_pings_are_answered_with_the_servers_time(stage):
    alice = stage.join("alice")
    (pong,) = stage.ask(alice, ping=12)
    assert pong.pong == START * 1000
    (pong,) = stage.ask(alice, ping_req=rtc.Ping(timestamp=77, rtt=3))
    assert (pong.pong_resp.last_ping_timestamp, pong.pong_resp.timestamp) == (77, START * 1000)


class TestMetadata:
    def test_a_change_is_confirmed_and_told(self, stage):
        alice = stage.join("alice", can_update_own_metadata=True)
        bob = stage.join("bob")
        wish = rtc.UpdateParticipantMetadata(attributes={"k": "v"}, name="A", request_id=9)
        update, response = stage.ask(alice, update_metadata=wish)
        assert dict(update.update.participants[0].attributes) == {"k": "v"}
        assert (response.request_response.request_id, response.request_response.reason) == (9, Reason.OK)
        assert stage.updates(bob)[-1].name == "A"

    def test_an_answer_is_repeated_for_a_client_that_was_not_ready_for_it(self, stage):
        alice = stage.join("alice", can_update_own_metadata=True)
        stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(name="A", request_id=3))
        bob = stage.join("bob", can_update_own_metadata=True)
        stage.ask(bob, update_metadata=rtc.UpdateParticipantMetadata(name="B", request_id=1))
        stage.do(stage.room.client_left(bob, 1, stage.now))
        stage.pass_time(5)
        answers = [m.request_response for m in stage.told[alice.sid] if m.HasField("request_response")]
        assert [(answer.request_id, answer.reason) for answer in answers] == [(3, Reason.OK)] * 3
        assert stage.kinds(bob).count("request_response") == 1
        assert stage.room.flush_at is None

    def test_an_unchanged_wish_is_confirmed_too(self, stage):
        alice = stage.join("alice", can_update_own_metadata=True, name="A")
        (response,) = stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(name="A", request_id=3))
        assert (response.request_response.request_id, response.request_response.reason) == (3, Reason.OK)

    def test_without_permission_it_is_refused(self, stage):
        alice = stage.join("alice")
        (response,) = stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(name="A", request_id=3))
        assert (response.request_response.request_id, response.request_response.reason) == (3, Reason.NOT_ALLOWED)
        assert alice.name == ""

    @pytest.mark.parametrize(
        "wish", [{"name": "n" * 257}, {"metadata": "é" * 300_000}, {"attributes": {"k": "v" * 66_000}}]
    )
    def test_what_is_too_long_is_refused(self, stage, wish):
        alice = stage.join("alice", can_update_own_metadata=True)
        (response,) = stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(request_id=4, **wish))
        assert (response.request_response.request_id, response.request_response.reason) == (4, Reason.LIMIT_EXCEEDED)
        assert response.request_response.message

    def test_attributes_together_have_a_limit(self, stage):
        alice = stage.join("alice", can_update_own_metadata=True)
        answers = [
            stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(attributes={f"k{n}": "v" * 20_000}))[-1]
            for n in range(4)
        ]
        reasons = [answer.request_response.reason for answer in answers]
        assert reasons == [Reason.OK, Reason.OK, Reason.OK, Reason.LIMIT_EXCEEDED]


def test_leaving_is_final_and_needs_no_answer(stage):
    alice = stage.join("alice")
    assert stage.ask(alice, leave=Leave(reason=models.DisconnectReason.USER_REJECTED)) == []
    assert "alice" not in stage.room.participants
    assert stage.dropped == [(alice, None)]


class TestMedia:
    def test_a_data_track_is_refused_with_the_reason(self, stage):
        alice = stage.join("alice")
        (response,) = stage.ask(alice, add_track=rtc.AddTrackRequest(cid="c1", type=models.DATA))
        answer = response.request_response
        assert (answer.reason, answer.add_track.cid) == (Reason.UNSUPPORTED_TYPE, "c1")

    def test_and_not_allowed_where_the_token_does_not(self, stage):
        alice = stage.join("alice", can_publish=False)
        (response,) = stage.ask(alice, add_track=rtc.AddTrackRequest(cid="c1"))
        assert response.request_response.reason == Reason.NOT_ALLOWED

    def test_a_data_track_is_refused(self, stage):
        alice = stage.join("alice")
        wish = rtc.PublishDataTrackRequest(pub_handle=1, name="d")
        (response,) = stage.ask(alice, publish_data_track_request=wish)
        assert response.request_response.reason == Reason.NOT_ALLOWED
        assert response.request_response.publish_data_track == wish

    def test_a_track_that_is_not_there_is_not_found(self, stage):
        alice = stage.join("alice")
        (response,) = stage.ask(alice, mute=rtc.MuteTrackRequest(sid="TR_AMx", muted=True))
        assert response.request_response.reason == Reason.NOT_FOUND

    def test_a_data_blob_is_refused_by_its_request_id(self, stage):
        alice = stage.join("alice")
        (response,) = stage.ask(alice, store_data_blob_request=rtc.StoreDataBlobRequest(request_id=8))
        assert (response.request_response.request_id, response.request_response.reason) == (8, Reason.NOT_ALLOWED)

    @pytest.mark.parametrize(
        "request_",
        [
            {"subscription": rtc.UpdateSubscription(track_sids=["TR_x"], subscribe=True)},
            {"track_setting": rtc.UpdateTrackSettings(track_sids=["TR_x"])},
            {"subscription_permission": rtc.SubscriptionPermission(all_participants=True)},
            {"sync_state": rtc.SyncState()},
            {"answer": rtc.SessionDescription(type="answer", sdp="v=0")},
            {"update_data_subscription": rtc.UpdateDataSubscription()},
            {},
        ],
    )
    def test_what_means_nothing_yet_is_ignored(self, stage, request_):
        alice = stage.join("alice")
        assert stage.ask(alice, **request_) == []
        assert "alice" in stage.room.participants


class TestSimulate:
    def test_server_leave_says_so_and_goes(self, stage):
        alice = stage.join("alice")
        stage.ask(alice, simulate=rtc.SimulateScenario(server_leave=True))
        ((_, leave),) = stage.dropped
        assert (leave.reason, leave.action) == (models.DisconnectReason.SERVER_SHUTDOWN, Leave.DISCONNECT)

    @pytest.mark.parametrize("scenario", ["node_failure", "migration"])
    def test_a_failing_node_says_nothing(self, stage, scenario):
        bob = stage.join("bob")
        alice = stage.join("alice")
        stage.ask(alice, simulate=rtc.SimulateScenario(**{scenario: True}))
        assert stage.dropped == [(alice, None)]
        assert stage.updates(bob)[-1].state == models.ParticipantInfo.DISCONNECTED

    def test_others_do_nothing(self, stage):
        alice = stage.join("alice")
        assert stage.ask(alice, simulate=rtc.SimulateScenario(speaker_update=3)) == []
        assert stage.ask(alice, simulate=rtc.SimulateScenario(server_leave=False)) == []
        assert not stage.dropped


class TestFrames:
    def test_protobuf_and_protojson_are_read(self):
        request = rtc.SignalRequest(ping_req=rtc.Ping(timestamp=5))
        assert decode_request(request.SerializeToString(), 1_000) == request
        assert decode_request('{"pingReq": {"timestamp": "5"}}', 1_000) == request
        assert decode_request('{"ping_req": {"timestamp": 5}, "novelty": 1}', 1_000) == request

    @pytest.mark.parametrize(
        "frame", [b"\xff\xff", "{", "[1]", "null", '{"leave": [1]}', "[" * 100_000, '{"ping": "x"}']
    )
    def test_what_cannot_be_read_is_said_to_be_so(self, frame):
        with pytest.raises(FrameError):
            decode_request(frame, 1_000_000)

    @pytest.mark.parametrize("frame", [b"\x00" * 101, " " * 101])
    def test_what_is_too_large_is_not_even_read(self, frame):
        with pytest.raises(FrameError, match="too large"):
            decode_request(frame, 100)

    @given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
    def test_no_frame_breaks_the_room(self, frame):
        stage = Asking()
        alice = stage.join("alice")
        try:
            request = decode_request(frame, 1_000)
        except FrameError:
            return
        stage.do(handle_request(alice, request, stage.now))
