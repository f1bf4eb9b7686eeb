"""Facts about a room, however late, often or seldom they are told."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, webhook

from greenroom.eventlog import NewEvent, Record
from greenroom.ingest._room_book import RoomBook

pytestmark = pytest.mark.unit

ACTIVE = models.ParticipantInfo.ACTIVE
ROOM = models.Room(sid="RM_1", name="lobby", creation_time=100, creation_time_ms=100_250)


def person(sid: str, *tracks: str, **fields: object) -> models.ParticipantInfo:
    infos = [models.TrackInfo(sid=track) for track in tracks]
    return models.ParticipantInfo(sid=sid, identity=f"id-{sid}", state=ACTIVE, tracks=infos, **fields)


def told(event: str, sid: str = "", track: str = "", at: int = 200) -> webhook.WebhookEvent:
    message = webhook.WebhookEvent(event=event, id=f"EV_{event}{sid}{track}", created_at=at, room=ROOM)
    if sid:
        message.participant.CopyFrom(person(sid))
    if track:
        message.track.sid = track
    return message


def short(facts: list[NewEvent]) -> list[str]:
    """Name each fact, with a question mark when it was inferred."""
    return [f"{fact.key.replace('_1', '')}{'?' if fact.data.inferred else ''}" for fact in facts]


@pytest.fixture
def book():
    return RoomBook("RM_1")


def test_what_is_told_in_order_is_told_on(book):
    facts = []
    for each in (
        told("room_started"),
        told("participant_joined", "PA_a"),
        told("track_published", "PA_a", "TR_a"),
        told("track_unpublished", "PA_a", "TR_a"),
        told("participant_left", "PA_a"),
        told("room_finished"),
    ):
        facts += book.take(each, 0)
    assert short(facts) == [
        "room_started:RM",
        "participant_joined:PA_a",
        "track_published:TR_a",
        "track_unpublished:TR_a",
        "participant_left:PA_a",
        "room_finished:RM",
    ]
    assert facts[0].at == 100.25
    assert facts[1].data.message["participant"]["identity"] == "id-PA_a"
    assert facts[1].data.message["id"] == "EV_participant_joinedPA_a"


@pytest.mark.parametrize("event", ["room_started", "participant_joined", "participant_left", "room_finished"])
def test_what_is_told_twice_is_told_on_once(book, event):
    sid = "PA_a" if event.startswith("participant") else ""
    assert book.take(told(event, sid), 0)
    assert book.take(told(event, sid), 0) == []


def test_a_room_nobody_told_of_has_begun_when_somebody_joins_it(book):
    facts = book.take(told("participant_joined", "PA_a"), 0)
    assert short(facts) == ["room_started:RM?", "participant_joined:PA_a"]
    assert facts[0].at == 100.25


def test_who_leaves_has_joined_and_a_join_that_comes_later_is_no_news(book):
    facts = book.take(told("participant_left", "PA_a"), 0)
    assert short(facts) == ["room_started:RM?", "participant_joined:PA_a?", "participant_left:PA_a"]
    assert book.take(told("participant_joined", "PA_a"), 0) == []


def test_tracks_end_with_their_participant_and_participants_with_their_room(book):
    book.take(told("track_published", "PA_a", "TR_a"), 0)
    book.take(told("participant_joined", "PA_b"), 0)
    facts = book.take(told("room_finished", at=300), 0)
    assert short(facts) == [
        "track_unpublished:TR_a?",
        "participant_left:PA_a?",
        "participant_left:PA_b?",
        "room_finished:RM",
    ]
    assert {fact.at for fact in facts} == {300}


def test_who_is_told_of_after_the_end_has_left_too(book):
    book.take(told("room_finished"), 0)
    facts = book.take(told("track_published", "PA_a", "TR_a"), 0)
    assert short(facts) == [
        "participant_joined:PA_a?",
        "track_published:TR_a",
        "track_unpublished:TR_a?",
        "participant_left:PA_a?",
    ]


def test_who_never_arrived_neither_joined_nor_left(book):
    book.take(told("room_started"), 0)
    assert short(book.take(told("participant_connection_aborted", "PA_a"), 0)) == [
        "participant_connection_aborted:PA_a"
    ]
    assert book.take(told("participant_connection_aborted", "PA_a"), 0) == []


def test_a_track_that_is_told_of_after_its_participant_has_ended_too(book):
    book.take(told("participant_left", "PA_a"), 0)
    facts = book.take(told("track_published", "PA_a", "TR_a"), 0)
    assert short(facts) == ["track_published:TR_a", "track_unpublished:TR_a?"]
    assert book.take(told("track_unpublished", "PA_a", "TR_a"), 0) == []


class TestComparing:
    def test_who_is_there_and_was_not_told_of_has_joined(self, book):
        people = [person("PA_a", "TR_a", joined_at_ms=150_000), models.ParticipantInfo(sid="PA_joining")]
        facts = book.compare(ROOM, people, since=0, now=500)
        assert short(facts) == ["room_started:RM?", "participant_joined:PA_a?", "track_published:TR_a?"]
        assert [fact.at for fact in facts] == [100.25, 150, 500]
        assert book.compare(ROOM, people, since=0, now=501) == []

    def test_who_is_not_there_any_more_has_left(self, book):
        book.take(told("track_published", "PA_a", "TR_a"), 10)
        facts = book.compare(ROOM, [], since=20, now=21)
        assert short(facts) == ["track_unpublished:TR_a?", "participant_left:PA_a?"]

    def test_a_track_that_is_not_there_any_more_has_ended(self, book):
        book.take(told("track_published", "PA_a", "TR_a"), 10)
        facts = book.compare(ROOM, [person("PA_a", "TR_b")], since=20, now=21)
        assert short(facts) == ["track_unpublished:TR_a?", "track_published:TR_b?"]

    def test_who_was_told_of_after_the_question_was_asked_is_left_alone(self, book):
        book.take(told("participant_joined", "PA_a"), 10)
        assert book.compare(ROOM, [], since=5, now=11) == []
        assert book.compare(None, [], since=5, now=11) == []

    def test_who_has_left_since_the_question_was_asked_does_not_come_back(self, book):
        book.take(told("participant_left", "PA_a"), 10)
        assert book.compare(ROOM, [person("PA_a")], since=5, now=11) == []

    def test_a_room_that_is_not_there_any_more_has_finished(self, book):
        book.take(told("participant_joined", "PA_a"), 10)
        assert short(book.compare(None, [], since=20, now=21)) == ["participant_left:PA_a?", "room_finished:RM?"]
        assert book.compare(None, [], since=20, now=22) == []


CALL = [
    told("room_started"),
    told("participant_joined", "PA_a"),
    told("track_published", "PA_a", "TR_a"),
    told("participant_joined", "PA_b"),
    told("track_unpublished", "PA_a", "TR_a"),
    told("participant_left", "PA_a"),
    told("participant_left", "PA_b"),
    told("room_finished"),
]


def records(facts: list[NewEvent]) -> list[Record]:
    return [
        Record(
            position=seq,
            tenant="",
            stream="room:RM_1",
            seq=seq,
            type="",
            version=1,
            at=fact.at,
            recorded_at=0,
            key=fact.key,
            data=fact.data,
            hash=b"",
        )
        for seq, fact in enumerate(facts, 1)
    ]


@given(st.permutations(CALL), st.lists(st.sampled_from(CALL), max_size=6), st.integers(0, 14))
def test_every_order_gives_the_same_facts_each_after_those_it_follows_from(order, again, restart):
    """And a program that starts anew in the middle, with what is in the log, goes on as if it had not."""
    facts: list[NewEvent] = []
    book = RoomBook("RM_1")
    for number, each in enumerate(itertools.chain(order, again)):
        if number == restart:
            book = RoomBook("RM_1")
            book.restore(records(facts))
        facts += book.take(each, 0)
    keys = [fact.key for fact in facts]
    assert sorted(keys) == sorted(f"{each.event}:{each.track.sid or each.participant.sid or 'RM_1'}" for each in CALL)
    place = {key: number for number, key in enumerate(keys)}
    assert place["room_started:RM_1"] == 0
    for sid in ("PA_a", "PA_b"):
        assert place[f"participant_joined:{sid}"] < place[f"participant_left:{sid}"]
    assert place["participant_joined:PA_a"] < place["track_published:TR_a"] < place["track_unpublished:TR_a"]
