"""Audio through the whole server with the unmodified Python SDK: what is played is what is heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from livekit import api, rtc
from livekit.protocol import models

from support.crowd import players
from support.sdk import Caller
from support.sound import Ear, tone

pytestmark = pytest.mark.conformance

MIC = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)

Play = Callable[..., Awaitable[rtc.LocalTrackPublication]]
Listen = Callable[[rtc.Track], Ear]


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """Publish a tone as a caller."""
    async with contextlib.AsyncExitStack() as tones:

        async def play(caller: Caller, hz: float = 440, level: float = 0.25) -> rtc.LocalTrackPublication:
            track = await tones.enter_async_context(tone(hz, level))
            return await caller.me.publish_track(track, MIC)

        yield play


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    ears: list[Ear] = []

    def listen(track: rtc.Track) -> Ear:
        ears.append(Ear(track))
        return ears[-1]

    yield listen
    await asyncio.gather(*(ear.close() for ear in ears))


async def subscribed(caller: Caller, sid: str | None = None) -> rtc.Track:
    """Wait until a caller receives a track."""
    track, _, _ = await caller.event("track_subscribed", lambda track, *_: sid in {None, track.sid})
    return track


class TestHearing:
    async def test_a_tone_arrives_with_its_pitch_and_level(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice, 440, 0.25)
        track, publication, participant = await bob.event("track_subscribed")
        assert (track.sid, track.kind, track.name) == (published.sid, rtc.TrackKind.KIND_AUDIO, "mic")
        assert (publication.sid, publication.source) == (published.sid, rtc.TrackSource.SOURCE_MICROPHONE)
        assert participant.identity == "alice"
        await listen(track).hears(440, 0.25)

    async def test_two_people_hear_each_other(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await play(alice, 440)
        await play(bob, 700)
        await listen(await subscribed(bob)).hears(440)
        await listen(await subscribed(alice)).hears(700)

    async def test_a_newcomer_hears_what_is_there(self, stage, play, listen):
        alice = await stage.join("alice")
        published = await play(alice, 440)
        bob = await stage.join("bob")
        await listen(await subscribed(bob, published.sid)).hears(440)

    async def test_waiting_for_a_subscription_ends_when_somebody_listens(self, stage, play):
        alice = await stage.join("alice")
        published = await play(alice)
        waiting = asyncio.ensure_future(published.wait_for_subscription())
        bob = await stage.join("bob")
        await subscribed(bob)
        async with asyncio.timeout(10):
            await waiting

    async def test_several_tracks_of_one_participant_stay_apart(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        pitches = {(await play(alice, hz)).sid: hz for hz in (300, 500, 700, 900, 1100)}
        for sid, hz in pitches.items():
            await listen(await subscribed(bob, sid)).hears(hz)

    async def test_twenty_publishers_are_told_apart(self, stage):
        bob = await stage.join("bob")
        members = [(stage.token(f"p{n}"), 300 + 50 * n) for n in range(20)]
        async with players(stage.url, members, processes=4) as pitches:
            assert len(pitches) == 20
            tracks = {sid: await subscribed(bob, sid) for sid in pitches}
            # All of them play all the time. To listen to all at once is too much for one process on a busy machine.
            for sid, hz in pitches.items():
                ear = Ear(tracks[sid])
                await ear.hears(hz)
                await ear.close()


class TestMuting:
    async def test_a_muted_publisher_is_silent_until_it_unmutes(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice)
        ear = listen(await subscribed(bob))
        await ear.hears(440)
        published.track.mute()
        participant, publication = await bob.event("track_muted")
        assert (participant.identity, publication.sid) == ("alice", published.sid)
        await ear.hears_nothing()
        published.track.unmute()
        await bob.event("track_unmuted")
        await ear.hears(440)

    async def test_an_operator_mutes_somebody(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice)
        ear = listen(await subscribed(bob))
        await ear.hears(440)
        info = stage.server.rooms.mute_track(stage.room, "alice", published.sid, muted=True)
        assert info is not None
        assert info.muted
        await alice.event("track_muted", lambda participant, _: participant.identity == "alice")
        await bob.event("track_muted", lambda participant, _: participant.identity == "alice")
        await ear.hears_nothing()
        published.track.unmute()
        await bob.event("track_unmuted")
        await ear.hears(440)


class TestEnding:
    async def test_an_unpublished_track_is_gone_for_everybody(self, stage, play):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice)
        await subscribed(bob)
        await alice.me.unpublish_track(published.sid)
        publication, participant = await bob.event("track_unpublished")
        assert (publication.sid, participant.identity) == (published.sid, "alice")
        await bob.event("track_unsubscribed")
        assert stage.room.participants["alice"].tracks == []
        assert bob.room.remote_participants["alice"].track_publications == {}

    async def test_publishing_again_and_again_is_heard_every_time(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        for n in range(4):
            published = await play(alice, 400 + 100 * n)
            await listen(await subscribed(bob, published.sid)).hears(400 + 100 * n)
            await alice.me.unpublish_track(published.sid)
            await bob.event("track_unpublished")

    async def test_whoever_leaves_is_heard_no_more(self, stage, play):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await play(alice)
        await subscribed(bob)
        await alice.close()
        await bob.event("track_unsubscribed")
        await bob.event("participant_disconnected")

    async def test_losing_the_permission_ends_the_track(self, stage, play):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice)
        await subscribed(bob)
        permission = models.ParticipantPermission(can_subscribe=True, can_publish_data=True)
        stage.server.rooms.update_participant(stage.room, "alice", permission=permission)
        assert (await bob.event("track_unpublished"))[0].sid == published.sid


class TestSubscribing:
    async def test_without_auto_subscribe_a_track_is_heard_when_wanted(self, stage, play, listen):
        alice = await stage.join("alice")
        bob = stage.make()
        await bob.connect(stage.url, stage.token("bob"), auto_subscribe=False)
        published = await play(alice)
        publication, _ = await bob.event("track_published", lambda p, _: p.sid == published.sid)
        assert publication.track is None
        publication.set_subscribed(True)
        await listen(await subscribed(bob)).hears(440)

    async def test_rounds_of_unsubscribing_and_subscribing(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice)
        publication = (await bob.event("track_subscribed"))[1]
        for _ in range(5):
            publication.set_subscribed(False)
            await bob.event("track_unsubscribed")
            publication.set_subscribed(True)
            await listen(await subscribed(bob, published.sid)).hears(440)

    async def test_a_publisher_chooses_who_may_hear_it(self, stage, play, listen):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        carol = await stage.join("carol")
        published = await play(alice)
        ear, carols = listen(await subscribed(bob)), listen(await subscribed(carol))
        await ear.hears(440)
        only_carol = rtc.ParticipantTrackPermission(participant_identity="carol", allow_all=True)
        alice.me.set_track_subscription_permissions(allow_all_participants=False, participant_permissions=[only_carol])
        await ear.hears_nothing()
        await carols.hears(440)
        alice.me.set_track_subscription_permissions(allow_all_participants=True)
        await listen(await subscribed(bob, published.sid)).hears(440)

    async def test_an_operator_subscribes_for_somebody(self, stage, play, listen):
        alice = await stage.join("alice")
        bob = stage.make()
        await bob.connect(stage.url, stage.token("bob"), auto_subscribe=False)
        published = await play(alice)
        update = api.UpdateSubscriptionsRequest(track_sids=[published.sid], subscribe=True)
        stage.server.rooms.update_subscriptions(stage.room, "bob", update)
        await listen(await subscribed(bob, published.sid)).hears(440)


class TestSpeaking:
    async def test_who_speaks_is_told_and_who_stops_too(self, stage, play):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        published = await play(alice, 440, 0.5)
        await subscribed(bob)
        speakers = await bob.event("active_speakers_changed", bool)
        assert [speaker.identity for speaker in speakers] == ["alice"]
        published.track.mute()
        await bob.event("active_speakers_changed", lambda speakers: not speakers)
