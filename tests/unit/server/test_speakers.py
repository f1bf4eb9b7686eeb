"""Who is told who speaks, from the engine's audio levels."""

from __future__ import annotations

import pytest
from livekit.protocol import rtc

from greenroom.server.tracks import Speakers
from support.track_rooms import TrackStage

pytestmark = pytest.mark.unit

LOUD, QUIET = (-6.0, 1.0), (-30.0, 1.0)


class TestLevels:
    def test_a_voice_is_told_when_it_begins_and_when_it_ends(self):
        speakers = Speakers()
        assert speakers.observe({"a": LOUD})["a"] > 0
        for _ in range(5):
            speakers.observe({"a": LOUD})
        assert speakers.observe({}) == {"a": 0.0}
        assert speakers.observe({}) == {}

    def test_a_steady_voice_is_told_until_it_has_settled(self):
        speakers = Speakers()
        told = [speakers.observe({"a": LOUD}) for _ in range(10)]
        assert told[0]
        assert not any(told[6:])

    def test_levels_come_in_eighths_up_to_one(self):
        speakers = Speakers()
        for level in (0.0, -6.0, -12.0, -20.0, -34.0, 5.0):
            for told in speakers.observe({"a": (level, 1.0)}).values():
                assert told * 8 == int(told * 8)
                assert 0 < told <= 1

    def test_a_louder_voice_has_a_higher_level(self):
        loud, quiet = Speakers(), Speakers()
        for _ in range(8):
            loud.observe({"a": LOUD})
            quiet.observe({"a": QUIET})
        assert loud.active["a"] > quiet.active["a"] > 0

    def test_too_short_a_sound_is_no_voice(self):
        assert Speakers().observe({"a": (-3.0, 0.39)}) == {}

    def test_a_shorter_sound_counts_less(self):
        assert Speakers().observe({"a": (0.0, 0.4)})["a"] < Speakers().observe({"a": (0.0, 1.0)})["a"]


class TestTelling:
    def speak(self, stage, *numbers, level=LOUD):
        stage.do(stage.room.tracks.levels([(number, *level) for number in numbers], stage.now))

    @pytest.fixture
    def stage(self):
        return TrackStage()

    def test_those_who_receive_it_and_the_speaker_are_told(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        carol = stage.client("carol", auto_subscribe=False)
        alice.publish("mic")
        bob.follow()
        self.speak(stage, 1)
        for client in (alice, bob):
            (message,) = client.of("speakers_changed")
            ((speaker,)) = message.speakers
            assert (speaker.sid, speaker.active) == (alice.sid, True)
            assert speaker.level > 0
        assert carol.of("speakers_changed") == []

    def test_silence_is_told_once(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        self.speak(stage, 1)
        self.speak(stage)
        self.speak(stage)
        messages = alice.of("speakers_changed")
        assert [(m.speakers[0].active, m.speakers[0].level > 0) for m in messages] == [(True, True), (False, False)]

    def test_silence_without_any_more_levels_is_noticed(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        self.speak(stage, 1)
        stage.pass_time(2)
        assert not alice.of("speakers_changed")[-1].speakers[0].active
        count = len(alice.of("speakers_changed"))
        stage.pass_time(10)
        assert len(alice.of("speakers_changed")) == count

    def test_a_muted_track_does_not_speak(self, stage):
        alice = stage.client("alice")
        sid = alice.publish("mic")
        alice.ask(mute=rtc.MuteTrackRequest(sid=sid, muted=True))
        self.speak(stage, 1)
        assert alice.of("speakers_changed") == []

    def test_the_loudest_track_of_a_participant_counts(self, stage):
        alice = stage.client("alice")
        alice.publish("a")
        alice.publish("b")
        stage.do(stage.room.tracks.levels([(1, -30.0, 1.0), (2, -3.0, 1.0)], stage.now))
        assert alice.of("speakers_changed")[0].speakers[0].level > 0.3

    def test_two_who_speak_share_a_message(self, stage):
        alice, bob, carol = (stage.client(name) for name in ("alice", "bob", "carol"))
        alice.publish("a")
        bob.publish("b")
        for client in (alice, bob, carol):
            client.follow()
        self.speak(stage, 1, 2)
        assert {speaker.sid for speaker in carol.of("speakers_changed")[0].speakers} == {alice.sid, bob.sid}

    def test_somebody_who_left_is_not_told_of(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.publish("mic")
        bob.follow()
        self.speak(stage, 1)
        stage.do(stage.room.client_left(alice.participant, 1, stage.now))
        self.speak(stage)
        assert len(bob.of("speakers_changed")) == 1
