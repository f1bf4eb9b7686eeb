"""Receiving tracks, in virtual time: sections, requirements, wishes, permissions."""

from __future__ import annotations

import random

import pytest
from livekit.protocol import models, rtc

from greenroom._media import Receive, Section
from greenroom.server.tracks import _tracks
from greenroom.server.tracks._effects import Forward, Pause, Unpublish
from greenroom.server.tracks._subscriber import MAX_UNKNOWN, OFFER_PATIENCE, UNKNOWN_PATIENCE
from support.track_rooms import TrackStage

pytestmark = pytest.mark.unit


@pytest.fixture
def stage():
    return TrackStage()


def subscribe(*sids, wanted=True):
    return {"subscription": rtc.UpdateSubscription(track_sids=sids, subscribe=wanted)}


def pair(stage, **bob):
    """Alice, who publishes a track, and bob, who has not offered since."""
    alice, bob = stage.client("alice"), stage.client("bob", **bob)
    return alice, bob, alice.publish("mic")


class TestSections:
    def test_an_offer_is_asked_for_when_a_track_has_come(self, stage):
        _, bob, sid = pair(stage)
        (requirement,) = bob.of("media_sections_requirement")
        assert (requirement.num_audios, requirement.num_videos) == (0, 0)
        answer = bob.offer()
        assert dict(answer.mid_to_track_id) == {"0": sid}

    def test_a_track_goes_out_under_the_publishers_name(self, stage):
        alice, bob, sid = pair(stage)
        bob.follow()
        assert (bob.plan["0"].stream, bob.plan["0"].track) == (f"{alice.sid}|{sid}", sid)
        assert stage.commands[-1] == Forward(1, bob.participant.transport, "0")

    def test_the_map_of_sections_stands_in_every_later_answer(self, stage):
        _, bob, sid = pair(stage)
        bob.follow()
        commands = len(stage.commands)
        assert dict(bob.offer().mid_to_track_id) == {"0": sid}
        assert len(stage.commands) == commands

    def test_a_newcomer_gets_what_is_there_with_its_first_answer(self, stage):
        alice = stage.client("alice")
        sid = alice.publish("mic")
        bob = stage.client("bob")
        assert [other.tracks[0].sid for other in bob.of("join")[0].other_participants] == [sid]
        assert dict(bob.of("answer")[0].mid_to_track_id) == {"0": sid}
        assert bob.hears == [sid]
        assert bob.of("media_sections_requirement") == []

    def test_nobody_receives_its_own_tracks(self, stage):
        alice = stage.client("alice")
        alice.publish("mic")
        alice.follow()
        assert alice.receiving == {}

    def test_more_sections_are_asked_for_when_they_run_out(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        for cid in "abcde":
            alice.announce(cid)
            alice.add_section(cid)
        alice.offer()
        (requirement,) = bob.of("media_sections_requirement")
        assert (requirement.num_audios, requirement.num_videos) == (2, 0)
        assert bob.follow() == 1
        assert len(bob.hears) == 5

    def test_what_comes_while_an_offer_is_awaited_is_asked_for_together(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        for cid in "abcdefgh":
            alice.publish(cid)
        assert len(bob.of("media_sections_requirement")) == 1
        assert bob.follow() == 2
        assert len(bob.hears) == 8
        assert [m.num_audios for m in bob.of("media_sections_requirement")] == [0, 5]

    def test_an_offer_that_crossed_the_request_for_sections_is_not_its_answer(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        for cid in "abcde":
            alice.announce(cid)
            alice.add_section(cid)
        alice.offer()
        bob.offer()
        assert len(bob.hears) == 3
        assert len(bob.of("media_sections_requirement")) == 1
        bob.follow()
        assert len(bob.hears) == 5
        assert len(bob.of("media_sections_requirement")) == 1

    def test_a_client_that_does_not_offer_is_asked_again(self, stage):
        _, bob, _ = pair(stage)
        stage.pass_time(OFFER_PATIENCE + 1)
        assert len(bob.of("media_sections_requirement")) == 2
        bob.follow()
        stage.pass_time(60)
        assert len(bob.of("media_sections_requirement")) == 2

    def test_a_section_is_emptied_before_it_is_used_again(self, stage):
        alice, bob, first = pair(stage)
        bob.follow()
        alice.set_direction("7", "inactive")
        alice.offer()
        assert stage.commands[-1] == Unpublish(1)
        second = alice.publish("other")
        assert len(bob.of("media_sections_requirement")) == 2
        assert dict(bob.offer().mid_to_track_id) == {"1": second} != {"0": first}
        assert "0" not in bob.plan
        for mid in "12":
            bob.set_direction(mid, "inactive")
        bob.offer()
        bob.offer()
        assert dict(bob.of("answer")[-1].mid_to_track_id) == {"0": second}

    def test_ending_and_beginning_anew_needs_no_more_sections(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        for _ in range(20):
            sid = alice.publish("mic")
            bob.follow()
            assert bob.hears == [sid]
            alice.set_direction(alice.sections[-1].mid, "inactive")
            alice.offer()
        bob.follow()
        assert len(bob.sections) == 6
        assert bob.hears == []

    def test_a_track_that_ended_while_the_offer_was_worked_on_is_not_in_the_map(self, stage):
        alice, bob, _ = pair(stage)
        negotiation = bob.begin_offer()
        alice.set_direction("7", "inactive")
        alice.offer()
        answer = bob.end_offer(negotiation)
        assert dict(answer.mid_to_track_id) == {}
        assert bob.hears == []
        assert bob.follow() >= 1
        assert "0" not in bob.plan

    def test_a_section_that_the_client_closes_gives_its_track_to_another(self, stage):
        _, bob, sid = pair(stage)
        bob.follow()
        bob.set_direction("0", "inactive")
        assert dict(bob.offer().mid_to_track_id) == {"1": sid}
        assert bob.hears == [sid]

    def test_mids_may_be_any(self, stage):
        alice = stage.client("alice")
        sid = alice.publish("mic")
        bob = stage.client("bob", offer=False)
        bob.sections = [Section("7", "audio", "recvonly"), Section("x", "application", "sendrecv")]
        assert dict(bob.offer().mid_to_track_id) == {"7": sid}

    def test_receiving_and_sending_share_one_offer(self, stage):
        alice, bob, sid = pair(stage)
        bob.announce("mic")
        mid = bob.add_section("mic")
        bob.offer()
        assert bob.receiving == {"0": sid}
        assert bob.plan[mid] == Receive()
        alice.follow()
        assert alice.hears == [bob.participant.tracks[0].sid]


class TestFirstReceiver:
    def test_the_publisher_is_told_once_when_somebody_listens(self, stage):
        alice, bob, sid = pair(stage)
        assert alice.of("track_subscribed") == []
        bob.follow()
        assert [message.track_sid for message in alice.of("track_subscribed")] == [sid]
        stage.client("carol")
        assert len(alice.of("track_subscribed")) == 1


class TestWishes:
    def test_without_auto_subscribe_nothing_comes_until_it_is_wanted(self, stage):
        _, bob, sid = pair(stage, auto_subscribe=False)
        assert bob.of("media_sections_requirement") == []
        bob.ask(**subscribe(sid))
        bob.follow()
        assert bob.hears == [sid]

    def test_an_unwanted_track_ends_at_once(self, stage):
        _, bob, sid = pair(stage)
        bob.follow()
        bob.ask(**subscribe(sid, wanted=False))
        assert bob.hears == []
        bob.follow()
        assert bob.receiving == {}
        bob.ask(**subscribe(sid))
        bob.follow()
        assert bob.hears == [sid]

    def test_tracks_can_be_named_by_participant(self, stage):
        alice, bob, sid = pair(stage, auto_subscribe=False)
        named = models.ParticipantTracks(participant_sid=alice.sid, track_sids=[sid])
        bob.ask(subscription=rtc.UpdateSubscription(participant_tracks=[named], subscribe=True))
        bob.follow()
        assert bob.hears == [sid]

    def test_a_track_can_be_wanted_before_it_is_there(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob", auto_subscribe=False)
        sid = alice.announce("mic")[0].track_published.track.sid
        bob.ask(**subscribe(sid))
        alice.add_section("mic")
        alice.offer()
        bob.follow()
        assert bob.hears == [sid]
        stage.pass_time(UNKNOWN_PATIENCE + 2)
        assert bob.of("subscription_response") == []

    def test_or_declined_before_it_is_there(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        sid = alice.announce("mic")[0].track_published.track.sid
        bob.ask(**subscribe(sid, wanted=False))
        alice.add_section("mic")
        alice.offer()
        assert bob.of("media_sections_requirement") == []

    def test_a_track_that_never_comes_is_reported(self, stage):
        bob = stage.client("bob")
        bob.ask(**subscribe("TR_AMnever"))
        stage.pass_time(UNKNOWN_PATIENCE - 1)
        assert bob.of("subscription_response") == []
        stage.pass_time(2)
        (response,) = bob.of("subscription_response")
        assert (response.track_sid, response.err) == ("TR_AMnever", models.SE_TRACK_NOTFOUND)

    def test_wishes_for_unknown_tracks_do_not_grow_without_end(self, stage):
        bob = stage.client("bob")
        for n in range(MAX_UNKNOWN + 50):
            bob.ask(**subscribe(f"TR_{n}"))
        subscriber = stage.room.tracks._seats[bob.sid].subscriber
        assert len(subscriber._explicit) == len(subscriber._unknown) == MAX_UNKNOWN

    def test_nothing_is_remembered_of_tracks_that_ended(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob", auto_subscribe=False)
        for _ in range(5):
            sid = alice.publish("mic")
            bob.ask(**subscribe(sid))
            bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True))
            bob.follow()
            alice.set_direction(alice.sections[-1].mid, "inactive")
            alice.offer()
        subscriber = stage.room.tracks._seats[bob.sid].subscriber
        for memory in (subscriber._explicit, subscriber._disabled, subscriber._unknown, subscriber.wanted):
            assert not memory

    def test_a_disabled_track_is_held_back(self, stage):
        _, bob, sid = pair(stage)
        bob.follow()
        assert bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True)) == []
        assert stage.commands[-1] == Pause(bob.participant.transport, "0", paused=True)
        bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True))
        bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid]))
        assert stage.commands[-2:] == [
            Pause(bob.participant.transport, "0", paused=True),
            Pause(bob.participant.transport, "0", paused=False),
        ]

    def test_a_track_disabled_before_it_flows_begins_held_back(self, stage):
        _, bob, sid = pair(stage)
        bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True))
        bob.follow()
        assert bob.hears == []
        bob.ask(track_setting=rtc.UpdateTrackSettings(track_sids=[sid]))
        assert bob.hears == [sid]


class TestPermission:
    def permission(self, *identities, sids=(), **fields):
        return {
            "subscription_permission": rtc.SubscriptionPermission(
                track_permissions=[
                    rtc.TrackPermission(participant_identity=i, all_tracks=not sids, track_sids=sids)
                    for i in identities
                ],
                **fields,
            )
        }

    def test_a_publisher_takes_its_tracks_away_and_gives_them_back(self, stage):
        alice, bob, sid = pair(stage)
        carol = stage.client("carol")
        bob.follow()
        alice.ask(**self.permission("carol"))
        assert bob.hears == []
        assert carol.hears == [sid]
        (denied,) = bob.of("subscription_permission_update")
        assert (denied.participant_sid, denied.track_sid, denied.allowed) == (alice.sid, sid, False)
        assert carol.of("subscription_permission_update") == []
        alice.ask(**self.permission(all_participants=True))
        bob.follow()
        assert bob.hears == [sid]
        assert [update.allowed for update in bob.of("subscription_permission_update")] == [False, True]

    def test_it_may_be_said_before_anything_is_published(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        alice.ask(**self.permission())
        alice.publish("mic")
        assert bob.of("media_sections_requirement") == []
        assert [update.allowed for update in bob.of("subscription_permission_update")] == [False]

    def test_single_tracks_can_be_permitted(self, stage):
        alice, bob = stage.client("alice"), stage.client("bob")
        first, _ = alice.publish("a"), alice.publish("b")
        alice.ask(**self.permission("bob", sids=[first]))
        bob.follow()
        assert bob.hears == [first]

    def test_by_participant_sid_too(self, stage):
        alice, bob, sid = pair(stage)
        entry = rtc.TrackPermission(participant_sid=bob.sid, all_tracks=True)
        alice.ask(subscription_permission=rtc.SubscriptionPermission(track_permissions=[entry]))
        bob.follow()
        assert bob.hears == [sid]

    def test_everybody_permitted_is_not_worth_a_message(self, stage):
        alice, bob, _ = pair(stage)
        before = len(bob.told)
        alice.ask(**self.permission(all_participants=True))
        assert bob.told[before:] == []

    def test_losing_the_right_to_subscribe_ends_everything_and_its_return_brings_it_back(self, stage):
        _, bob, sid = pair(stage)
        bob.follow()
        nothing = models.ParticipantPermission(can_publish=True, can_publish_data=True)
        stage.do(stage.room.update_participant(bob.participant, stage.now, permission=nothing))
        assert bob.hears == []
        bob.follow()
        assert bob.receiving == {}
        everything = models.ParticipantPermission(can_publish=True, can_publish_data=True, can_subscribe=True)
        stage.do(stage.room.update_participant(bob.participant, stage.now, permission=everything))
        bob.follow()
        assert bob.hears == [sid]

    def test_who_may_not_subscribe_gets_nothing(self, stage):
        _, bob, sid = pair(stage, can_subscribe=False)
        bob.ask(**subscribe(sid))
        assert bob.of("media_sections_requirement") == []

    def test_the_tracks_of_hidden_participants_are_not_sent(self, stage):
        ghost, bob = stage.client("ghost", hidden=True), stage.client("bob")
        ghost.publish("mic")
        assert bob.of("media_sections_requirement") == []
        assert stage.client("carol").of("join")[0].other_participants[0].identity == "bob"

    def test_a_hidden_participant_hears_the_others(self, stage):
        _, ghost, sid = pair(stage, hidden=True)
        ghost.follow()
        assert ghost.hears == [sid]


def test_in_a_large_room_the_update_still_precedes_the_requirement():
    stage = TrackStage()
    crowd = [stage.client(f"c{n}") for n in range(30)]
    stage.pass_time(1)
    stage.client("late")
    crowd[0].publish("mic")
    for client in crowd[1:]:
        kinds = stage.kinds(client.participant)
        assert kinds[-2:] == ["update", "media_sections_requirement"]
    told = [info.identity for info in stage.updates(crowd[0].participant)]
    assert "late" in told


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_everybody_hears_in_the_end_what_it_may(seed):
    chance = random.Random(seed)
    stage = TrackStage()
    clients = [stage.client(f"c{n}", auto_subscribe=chance.random() < 0.7) for n in range(5)]
    wishes: dict[tuple[str, str], bool] = {}
    live: dict[str, tuple[object, str]] = {}
    for step in range(60):
        client = chance.choice(clients)
        action = chance.random()
        if action < 0.3:
            sid = client.publish(f"cid{step}")
            live[sid] = (client, client.sections[-1].mid)
        elif action < 0.5 and live:
            sid = chance.choice(list(live))
            owner, mid = live.pop(sid)
            owner.set_direction(mid, "inactive")
            owner.offer()
        elif action < 0.8 and live:
            sid, wanted = chance.choice(list(live)), chance.random() < 0.5
            client.ask(**subscribe(sid, wanted=wanted))
            wishes[client.sid, sid] = wanted
        elif action < 0.9:
            client.follow()
        else:
            client.offer()
    for client in clients:
        client.follow()
        subscriber = stage.room.tracks._seats[client.sid].subscriber
        expected = sorted(
            sid
            for sid, (owner, _) in live.items()
            if owner is not client and wishes.get((client.sid, sid), subscriber.auto)
        )
        assert client.hears == expected
        assert sorted(client.receiving.values()) == expected


class TestLargeRooms:
    """Where not everybody is looked at in one go."""

    PEOPLE = 7

    @pytest.fixture(autouse=True)
    def small_slices(self, monkeypatch):
        monkeypatch.setattr(_tracks, "SLICE", 3)

    def catch_up(self, stage):
        """Do what is due, a slice at a time; returns how many slices that were."""
        for slices in range(100):
            due = stage.room.flush_at
            if due is None or due > stage.now:
                return slices
            stage.do(stage.room.flush(stage.now))
        raise AssertionError("it is never done")

    def asked(self, people):
        return sum(len(one.of("media_sections_requirement")) for one in people)

    def test_everybody_is_told_of_a_track_at_once_and_asked_for_an_offer_in_slices(self, stage):
        alice = stage.client("alice")
        people = [stage.client(f"p{n}") for n in range(self.PEOPLE)]
        self.catch_up(stage)
        sid = alice.publish("mic")
        assert all(stage.updates(one.participant)[-1].tracks[0].sid == sid for one in people)
        assert self.asked(people) == 0
        stage.do(stage.room.flush(stage.now))
        assert self.asked(people) == 2
        assert self.catch_up(stage) == 2
        assert self.asked(people) == self.PEOPLE
        for one in people:
            one.follow()
        assert [one.hears for one in people] == [[sid]] * self.PEOPLE

    def test_what_has_ended_and_who_has_left_meanwhile_is_passed_over(self, stage):
        alice = stage.client("alice")
        people = [stage.client(f"p{n}") for n in range(self.PEOPLE)]
        alice.publish("mic")
        stage.do(stage.room.client_left(people[-1].participant, 1, stage.now))
        alice.set_direction("7", "inactive")
        alice.offer()
        self.catch_up(stage)
        for one in people[:-1]:
            one.follow()
            assert one.hears == []
        assert people[-1].of("media_sections_requirement") == []

    def test_sections_of_a_track_that_ended_are_emptied_in_slices(self, stage):
        alice = stage.client("alice")
        people = [stage.client(f"p{n}") for n in range(self.PEOPLE)]
        alice.publish("mic")
        self.catch_up(stage)
        for one in people:
            one.follow()
        before = self.asked(people)
        alice.set_direction("7", "inactive")
        alice.offer()
        assert [one.hears for one in people] == [[]] * self.PEOPLE
        assert self.asked(people) == before
        assert self.catch_up(stage) == 3
        assert self.asked(people) == before + self.PEOPLE

    def test_an_offer_that_comes_before_its_turn_is_answered_and_not_asked_for_again(self, stage):
        alice = stage.client("alice")
        people = [stage.client(f"p{n}") for n in range(self.PEOPLE)]
        sid = alice.publish("mic")
        last = people[-1]
        last.ask(**subscribe(sid))
        last.follow()
        assert last.hears == [sid]
        self.catch_up(stage)
        assert len(last.of("media_sections_requirement")) == 1
