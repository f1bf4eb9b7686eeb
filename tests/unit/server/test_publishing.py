"""Publishing tracks, in virtual time: announcements, offers, mute, ends, permissions."""

from __future__ import annotations

import pytest
from livekit.protocol import models, rtc

from greenroom._media import Receive
from greenroom.config import Limits
from greenroom.server.tracks._effects import Mute, Publish, Unpublish
from support.track_rooms import MIC, TrackStage

pytestmark = pytest.mark.unit

Reason = rtc.RequestResponse
Source = models.TrackSource


@pytest.fixture
def stage():
    return TrackStage()


def track_sids(info):
    return [track.sid for track in info.tracks]


class TestAnnouncing:
    def test_a_track_is_published_at_once_for_its_publisher_alone(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        before = len(bob.told)
        (message,) = alice.announce("mic", name="m", disable_dtx=True, stream="s")
        published = message.track_published
        assert published.cid == "mic"
        info = published.track
        assert info.sid.startswith("TR_AM")
        assert (info.type, info.source, info.name) == (models.AUDIO, MIC, "m")
        assert (info.mime_type, info.disable_dtx, info.stream) == ("audio/opus", True, "s")
        assert [(codec.mime_type, codec.cid) for codec in info.codecs] == [("audio/opus", "mic")]
        assert info.version.unix_micro > 0
        assert bob.told[before:] == []
        assert not alice.participant.is_publisher

    @pytest.mark.parametrize(
        ("source", "prefix", "stream"),
        [
            (Source.MICROPHONE, "TR_AM", "camera"),
            (Source.SCREEN_SHARE_AUDIO, "TR_As", "screen"),
            (Source.UNKNOWN, "TR_A", "unknown"),
        ],
    )
    def test_sid_and_stream_follow_from_the_source(self, stage, source, prefix, stream):
        (message,) = stage.client("alice").announce("c", source=source)
        info = message.track_published.track
        assert info.sid.startswith(prefix)
        assert len(info.sid) == len(prefix) + 12
        assert info.stream == stream

    def test_audio_features_and_trailers_are_kept(self, stage):
        features = [models.TF_ECHO_CANCELLATION, models.TF_STEREO]
        trailers = [models.PTF_USER_TIMESTAMP]
        (message,) = stage.client("alice").announce("c", audio_features=features, packet_trailer_features=trailers)
        info = message.track_published.track
        assert info.stereo
        assert set(info.audio_features) == set(features)
        assert list(info.packet_trailer_features) == trailers

    @pytest.mark.parametrize(
        ("grant", "source", "allowed"),
        [
            ({"can_publish": False}, MIC, False),
            ({"can_publish_sources": ["camera"]}, MIC, False),
            ({"can_publish_sources": ["microphone"]}, MIC, True),
            ({"can_publish_sources": ["microphone"]}, Source.UNKNOWN, False),
        ],
    )
    def test_what_the_token_does_not_permit_is_refused(self, stage, grant, source, allowed):
        (message,) = stage.client("alice", **grant).announce("c", source=source)
        if allowed:
            assert message.track_published.cid == "c"
        else:
            assert message.request_response.reason == Reason.NOT_ALLOWED
            assert message.request_response.add_track.cid == "c"

    def test_what_is_neither_audio_nor_video_is_refused_in_words(self, stage):
        (message,) = stage.client("alice").announce("d", type=models.DATA)
        assert message.request_response.reason == Reason.UNSUPPORTED_TYPE
        assert "only audio and video" in message.request_response.message

    def test_an_unknown_sid_is_not_found(self, stage):
        (message,) = stage.client("alice").announce("c", sid="TR_AMxxxxxxxxxxxx")
        assert message.request_response.reason == Reason.NOT_FOUND

    def test_too_many_that_wait_are_refused(self):
        alice = TrackStage(limits=Limits(pending_tracks=2)).client("alice")
        for cid in ("a", "b"):
            assert alice.announce(cid)[0].HasField("track_published")
        assert alice.announce("c")[0].request_response.reason == Reason.LIMIT_EXCEEDED

    def test_a_name_that_is_too_long_is_refused(self, stage):
        assert stage.client("alice").announce("c", name="n" * 257)[0].request_response.reason == Reason.LIMIT_EXCEEDED

    def test_the_same_client_id_is_queued_until_the_first_has_ended(self, stage):
        alice = stage.client("alice")
        first = alice.publish("mic")
        for _ in range(3):
            assert alice.announce("mic")[0].request_response.reason == Reason.QUEUED
        assert alice.announce("mic")[0].request_response.reason == Reason.LIMIT_EXCEEDED
        alice.set_direction("7", "inactive")
        alice.offer()
        second = alice.of("track_published")[-1].track.sid
        assert len(alice.of("track_published")) == 2
        assert second != first
        alice.add_section("mic")
        alice.offer()
        assert track_sids(alice.participant.info()) == [second]

    def test_a_queued_track_may_come_in_the_offer_that_ends_the_first(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        alice.announce("mic")
        alice.set_direction("7", "inactive")
        mid = alice.add_section("mic")
        alice.offer()
        assert alice.participant.info().tracks[0].mid == mid
        assert isinstance(alice.plan[mid], Receive)
        assert "7" not in alice.plan


class TestSections:
    def test_others_learn_of_a_track_only_once_it_was_offered(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.announce("mic")
        assert stage.updates(bob.participant)[-1].identity != "alice" or not stage.updates(bob.participant)[-1].tracks
        alice.add_section("mic")
        alice.offer()
        info = stage.updates(bob.participant)[-1]
        assert (info.identity, info.is_publisher) == ("alice", True)
        (track,) = info.tracks
        assert (track.mid, track.codecs[0].mid) == ("7", "7")

    def test_the_publisher_is_not_sent_an_update_of_its_own_tracks(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        assert all(not info.tracks for info in stage.updates(alice.participant))

    def test_the_update_comes_after_the_answer_and_before_the_requirement(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.publish("mic")
        kinds = stage.kinds(bob.participant)
        assert kinds.index("media_sections_requirement") == len(kinds) - 1
        assert kinds[-2] == "update"

    def test_a_section_is_answered_as_its_track_wants_it(self, stage):
        alice = stage.client("alice")
        alice.announce("a", disable_dtx=True)
        alice.announce("b", stereo=True)
        a, b = alice.add_section("a"), alice.add_section("b")
        alice.offer()
        assert alice.plan == {a: Receive(dtx=False), b: Receive(stereo=True)}

    def test_sections_find_their_tracks_by_client_id_in_any_order(self, stage):
        alice = stage.client("alice")
        a, b = (alice.announce(cid)[0].track_published.track.sid for cid in ("a", "b"))
        mid_b, mid_a = alice.add_section("b"), alice.add_section("a")
        alice.offer()
        assert {track.mid: track.sid for track in alice.participant.info().tracks} == {mid_a: a, mid_b: b}

    def test_a_section_with_another_id_gets_the_first_track_that_waits(self, stage):
        alice = stage.client("alice")
        sid = alice.announce("signalled")[0].track_published.track.sid
        alice.add_section("something-else")
        alice.offer()
        assert track_sids(alice.participant.info()) == [sid]

    def test_an_offer_may_come_before_its_announcement(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        mid = alice.add_section("mic")
        alice.offer()
        assert alice.plan[mid] == Receive()
        assert not alice.participant.tracks
        sid = alice.announce("mic")[0].track_published.track.sid
        assert track_sids(stage.updates(bob.participant)[-1]) == [sid]
        assert stage.commands[-1:] == [Publish(1, alice.participant.transport, mid)]

    def test_what_a_refused_client_sends_is_not_taken(self, stage):
        alice = stage.client("alice", can_publish=False)
        mid = alice.add_section("mic")
        alice.offer()
        assert mid not in alice.plan

    def test_a_stale_section_does_not_catch_the_next_track(self, stage):
        alice = stage.client("alice")
        alice.add_section("refused")
        alice.offer()
        alice.announce("mic")
        alice.offer()
        assert not alice.participant.tracks
        mid = alice.add_section("mic")
        alice.offer()
        assert [track.mid for track in alice.participant.tracks] == [mid]

    def test_an_offer_without_change_changes_nothing(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.publish("mic")
        before, commands = len(bob.told), list(stage.commands)
        alice.offer()
        assert bob.told[before:] == []
        assert stage.commands == commands
        assert isinstance(alice.plan["7"], Receive)

    def test_the_first_track_is_told_to_listeners(self, stage):
        alice = stage.client("alice")
        alice.publish("a")
        alice.publish("b")
        assert stage.publishers == ["alice"]
        assert stage.room.info().num_publishers == 1


class TestEnding:
    @pytest.mark.parametrize("direction", ["inactive", "recvonly"])
    def test_a_section_that_sends_no_longer_ends_its_track(self, stage, direction):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.publish("mic")
        alice.set_direction("7", direction)
        alice.offer()
        info = stage.updates(bob.participant)[-1]
        assert (info.identity, track_sids(info), info.is_publisher) == ("alice", [], False)
        assert Unpublish(1) in stage.commands
        assert "7" not in alice.plan

    def test_a_section_that_sent_is_not_used_for_receiving(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        alice.set_direction("7", "recvonly")
        for mid in "012":
            alice.set_direction(mid, "inactive")
        alice.offer()
        stage.client("bob").publish("mic")
        alice.offer()
        assert alice.receiving == {}

    def test_a_section_can_be_taken_over_by_another_track(self, stage):
        alice = stage.client("alice")
        first = alice.publish("a")
        second = alice.announce("b")[0].track_published.track.sid
        alice.set_direction("7", "sendonly", "b")
        alice.offer()
        assert track_sids(alice.participant.info()) == [second] != [first]

    def test_the_tracks_of_somebody_who_left_end(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        bob.follow()
        assert bob.hears == [sid]
        stage.do(stage.room.client_left(alice.participant, 1, stage.now))
        assert bob.hears == []
        gone = stage.updates(bob.participant)[-1]
        assert (gone.state, track_sids(gone)) == (models.ParticipantInfo.DISCONNECTED, [sid])
        bob.follow()
        assert bob.receiving == {}

    def test_a_closed_room_ends_every_track(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        stage.do(stage.room.close(models.DisconnectReason.ROOM_DELETED, stage.now))
        assert Unpublish(1) in stage.commands

    def test_a_publisher_that_leaves_while_its_offer_is_worked_on_publishes_nothing(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.announce("mic")
        alice.add_section("mic")
        negotiation = alice.begin_offer()
        stage.do(stage.room.client_left(alice.participant, 1, stage.now))
        assert alice.end_offer(negotiation) is None
        assert bob.of("media_sections_requirement") == []


class TestMuting:
    def test_a_muted_track_is_told_and_held_back(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        assert alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True)) == []
        assert stage.updates(bob.participant)[-1].tracks[0].muted
        assert stage.commands[-1] == Mute(1, muted=True)
        alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=False))
        assert not stage.updates(bob.participant)[-1].tracks[0].muted
        assert stage.commands[-1] == Mute(1, muted=False)

    def test_muting_twice_is_told_once(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True))
        before = len(bob.told)
        alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True))
        assert bob.told[before:] == []

    def test_a_track_can_be_muted_before_it_is_offered(self, stage):
        alice = stage.client("alice")
        sid = alice.announce("mic")[0].track_published.track.sid
        assert alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True)) == []
        alice.add_section("mic")
        alice.offer()
        assert alice.participant.info().tracks[0].muted
        assert stage.commands[-2:] == [Publish(1, alice.participant.transport, "7"), Mute(1, muted=True)]

    def test_nobody_mutes_what_belongs_to_another(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        (message,) = bob.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True))
        assert message.request_response.reason == Reason.NOT_FOUND

    def test_audio_features_can_be_changed(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic", audio_features=[models.TF_AUTO_GAIN_CONTROL], stereo=True)
        update = rtc.UpdateLocalAudioTrack(track_sid=sid, features=[models.TF_NOISE_SUPPRESSION])
        assert alice.ask(update_audio_track=update) == []
        features = stage.updates(bob.participant)[-1].tracks[0].audio_features
        assert set(features) == {models.TF_NOISE_SUPPRESSION, models.TF_STEREO}


class TestPermission:
    def revoke(self, stage, client, **permission):
        wanted = models.ParticipantPermission(
            **{"can_subscribe": True, "can_publish": True, "can_publish_data": True, **permission}
        )
        stage.do(stage.room.update_participant(client.participant, stage.now, permission=wanted))

    def test_losing_it_ends_the_tracks_and_tells_everybody(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        bob.follow()
        alice.announce("other")
        self.revoke(stage, alice, can_publish=False)
        assert {gone.track_sid for gone in alice.of("track_unpublished")} > {sid}
        assert len(alice.of("track_unpublished")) == 2
        assert not stage.updates(bob.participant)[-1].tracks
        assert not stage.updates(alice.participant)[-1].tracks
        assert bob.hears == []
        alice.offer()
        assert "7" not in alice.plan

    def test_losing_a_source_ends_only_its_tracks(self, stage):
        alice = stage.client("alice")
        mic = alice.publish("mic")
        screen = alice.publish("screen", source=Source.SCREEN_SHARE_AUDIO)
        self.revoke(stage, alice, can_publish_sources=[Source.SCREEN_SHARE_AUDIO])
        assert [gone.track_sid for gone in alice.of("track_unpublished")] == [mic]
        assert track_sids(alice.participant.info()) == [screen]

    def test_becoming_hidden_takes_the_tracks_away_from_the_others_and_back(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.publish("mic")
        bob.follow()
        self.revoke(stage, alice, hidden=True)
        assert bob.hears == []
        bob.follow()
        self.revoke(stage, alice)
        bob.follow()
        assert bob.hears == [sid]


class TestListeners:
    def test_they_hear_of_every_track_that_begins_and_ends(self, stage):
        alice = stage.client("alice")
        alice.announce("mic")
        assert stage.changes == []
        alice.add_section("mic")
        alice.offer()
        first = alice.of("track_published")[-1].track.sid
        second = alice.publish("screen", source=Source.SCREEN_SHARE_AUDIO)
        assert stage.changes == [("alice", first, True), ("alice", second, True)]
        stage.do(stage.room.remove(alice.participant, models.CLIENT_INITIATED, stage.now))
        assert stage.changes[2:] == [("alice", first, False), ("alice", second, False)]

    def test_they_hear_that_tracks_end_with_the_room(self, stage):
        alice = stage.client("alice")
        sid = alice.publish("mic")
        stage.do(stage.room.close(models.ROOM_DELETED, stage.now))
        assert stage.changes == [("alice", sid, True), ("alice", sid, False)]
