"""Audio between ``livekit-client`` in Chromium and the Python SDK: pitch and level at the far end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from livekit import rtc

from support.browser import AUDIBLE, chromium
from support.crowd import MIC
from support.livekit_client import Client
from support.page_sound import listen, plays
from support.rtc_peer import Peer
from support.sound import TIMEOUT, Ear, tone

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

LEVEL = 0.25

Play = Callable[..., Awaitable[rtc.LocalTrackPublication]]
EarOf = Callable[..., Awaitable[Ear]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    async with chromium(*AUDIBLE) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def play() -> AsyncIterator[Play]:
    """Publish a tone as the Python SDK."""
    async with contextlib.AsyncExitStack() as tones:

        async def play(peer: Peer, hz: float = 440) -> rtc.LocalTrackPublication:
            return await peer.me.publish_track(await tones.enter_async_context(tone(hz, LEVEL)), MIC)

        yield play


@pytest_asyncio.fixture(loop_scope="session")
async def ear_of() -> AsyncIterator[EarOf]:
    """Listen to the next track that a participant receives, or to one called by its sid."""
    ears: list[Ear] = []

    async def ear_of(peer: Peer, sid: str = "") -> Ear:
        track, _publication, _participant = await peer.next(
            "track_subscribed", lambda track, *_: sid in ("", track.sid)
        )
        ears.append(Ear(track))
        return ears[-1]

    yield ear_of
    await asyncio.gather(*(ear.close() for ear in ears))


async def publish(web: Client, hz: float = 440, **options: Any) -> str:
    """Publish a tone in the page; returns its sid."""
    published = await web.run(f"publishTone(arg.hz, {LEVEL}, arg.options)", {"hz": hz, "options": options})
    return published["sid"]


async def is_silent(web: Client, elements: str = "audio") -> None:
    """Return once nothing is heard in the page."""
    async with asyncio.timeout(TIMEOUT):
        while (await listen(web.page, elements)).level > 0.01:
            pass


async def sections(web: Client, kind: str = "audio", direction: str = "") -> list[dict[str, str]]:
    """Return the sections of the last answer."""
    answered = await web.run("answered()")
    return [section for section in answered if section["kind"] == kind and direction in ("", section["direction"])]


def publication(sid: str) -> str:
    """Return the expression for what the page knows of a remote track."""
    return f"[...room.remoteParticipants.values()].map((p) => p.trackPublications.get('{sid}')).find(Boolean)"


class TestTalking:
    async def test_a_tone_from_the_page_is_heard_until_it_is_muted_and_after(self, stage, ear_of) -> None:
        peer = await stage.peer()
        web = await stage.client("web")
        sid = await publish(web, 520)
        ear = await ear_of(peer, sid)
        await ear.hears(520, LEVEL)

        await web.run("room.localParticipant.getTrackPublication('microphone').mute()")
        await peer.next("track_muted")
        await ear.hears_nothing()
        await web.run("room.localParticipant.getTrackPublication('microphone').unmute()")
        await peer.next("track_unmuted")
        await ear.hears(520, LEVEL)
        assert web.complaints.messages == []

    async def test_the_microphone_of_the_browser_is_heard(self, stage, ear_of) -> None:
        peer = await stage.peer()
        web = await stage.client("web")
        await web.run("room.localParticipant.setMicrophoneEnabled(true)")
        await (await ear_of(peer)).hears_something()

    async def test_what_is_unpublished_is_inactive_in_the_answer_and_can_come_again(self, stage, ear_of) -> None:
        peer = await stage.peer()
        web = await stage.client("web")
        for hz in (500, 700):
            await publish(web, hz)
            (section,) = await sections(web, direction="recvonly")
            await (await ear_of(peer)).hears(hz, LEVEL)
            await web.run(
                "room.localParticipant.unpublishTrack(room.localParticipant.getTrackPublication('microphone').track)"
            )
            await peer.next("track_unpublished")
            assert await sections(web, direction="recvonly") == []
            assert section["mid"] in {each["mid"] for each in await sections(web, direction="inactive")}

    async def test_red_is_offered_and_opus_is_answered(self, stage) -> None:
        web = await stage.client("web")
        await publish(web)
        offered = await web.run("room.engine.pcManager.publisher._pc.localDescription.sdp")
        (section,) = await sections(web, direction="recvonly")
        assert "red/48000" in offered
        assert "opus/48000/2" in section["text"]
        assert all("red/48000" not in each["text"] for each in await sections(web))

    async def test_stereo_without_pauses_is_asked_for_when_announced(self, stage) -> None:
        web = await stage.client("web")
        await publish(web, forceStereo=True, dtx=False)
        (section,) = await sections(web, direction="recvonly")
        assert "stereo=1" in section["text"]
        assert "usedtx=1" not in section["text"]


class TestHearing:
    async def test_a_tone_plays_in_the_page_until_its_publisher_mutes_it_and_after(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        published = await play(peer, 600)
        await web.next("trackSubscribed")
        await plays(web.page, 600, LEVEL)

        published.track.mute()
        await web.next("trackMuted")
        await is_silent(web)
        published.track.unmute()
        await web.next("trackUnmuted")
        await plays(web.page, 600, LEVEL)

    async def test_tracks_stay_apart_and_more_sections_are_opened_for_them(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        tones = {(await play(peer, hz)).sid: hz for hz in (300, 500, 700, 900, 1100)}
        for sid, hz in tones.items():
            await web.next("trackSubscribed", lambda track, *_, sid=sid: track["sid"] == sid)
            await plays(web.page, hz, LEVEL, f"#{sid}")
        assert len(await sections(web, direction="sendonly")) == 5

    async def test_a_track_that_is_not_wanted_leaves_its_section_to_the_next(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        sid = (await play(peer, 440)).sid
        await web.next("trackSubscribed")
        before = await sections(web)
        for _ in range(5):
            await web.run(f"{publication(sid)}.setSubscribed(false)")
            await web.next("trackUnsubscribed")
            await web.run(f"{publication(sid)}.setSubscribed(true)")
            await web.next("trackSubscribed")
            await plays(web.page, 440, LEVEL)
        assert len(await sections(web)) == len(before)
        assert len(await sections(web, direction="sendonly")) == 1

    async def test_a_track_that_the_page_holds_back_is_silent(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        sid = (await play(peer, 440)).sid
        await web.next("trackSubscribed")
        await plays(web.page, 440, LEVEL)
        await web.run(f"{publication(sid)}.setEnabled(false)")
        await is_silent(web)
        await web.run(f"{publication(sid)}.setEnabled(true)")
        await plays(web.page, 440, LEVEL)

    async def test_without_auto_subscribe_nothing_is_heard_until_it_is_wanted(self, stage, play) -> None:
        peer = await stage.peer()
        sid = (await play(peer, 440)).sid
        web = await stage.page()
        await web.connect(stage.url, stage.token("web"), autoSubscribe=False)
        assert not web.seen("trackSubscribed")
        assert await sections(web, direction="sendonly") == []
        await web.run(f"{publication(sid)}.setSubscribed(true)")
        await web.next("trackSubscribed")
        await plays(web.page, 440, LEVEL)


class TestSpeaking:
    async def test_each_side_is_told_when_the_other_speaks_and_stops(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        published = await play(peer, 440)
        await web.next("activeSpeakersChanged", lambda speakers: [s["identity"] for s in speakers] == ["python"])
        published.track.mute()
        await web.next("activeSpeakersChanged", lambda speakers: speakers == [])

        await publish(web)
        await peer.next("active_speakers_changed", lambda speakers: [s.identity for s in speakers] == ["web"])
        await web.run("room.localParticipant.getTrackPublication('microphone').mute()")
        await peer.next("active_speakers_changed", lambda speakers: speakers == [])


class TestPermissions:
    async def test_the_page_chooses_who_hears_it(self, stage, ear_of) -> None:
        web = await stage.client("web")
        peer, carol = await stage.peer(), await stage.peer("carol")
        await publish(web, 440)
        ear, carols = await ear_of(peer), await ear_of(carol)
        await ear.hears(440, LEVEL)
        allow = "room.localParticipant.setTrackSubscriptionPermissions"
        await web.run(f"{allow}(false, [{{participantIdentity: 'carol', allowAll: true}}])")
        await ear.hears_nothing()
        await carols.hears(440, LEVEL)
        await web.run(f"{allow}(true)")
        await (await ear_of(peer)).hears(440, LEVEL)

    async def test_the_page_is_told_when_it_may_not_hear_somebody_and_when_it_may(self, stage, play) -> None:
        web = await stage.client("web")
        peer = await stage.peer()
        await play(peer, 440)
        await plays(web.page, 440, LEVEL)
        peer.me.set_track_subscription_permissions(allow_all_participants=False)
        await web.next("trackSubscriptionPermissionChanged", lambda _, status, *__: status == "not_allowed")
        await is_silent(web)
        peer.me.set_track_subscription_permissions(allow_all_participants=True)
        await web.next("trackSubscriptionPermissionChanged", lambda _, status, *__: status == "allowed")
        await plays(web.page, 440, LEVEL)


@pytest.mark.parametrize("scenario", ["signal-reconnect", "full-reconnect", "node-failure"])
async def test_audio_goes_on_both_ways_after_a_reconnect(stage, play, ear_of, scenario) -> None:
    peer = await stage.peer()
    await play(peer, 440)
    web = await stage.client("web")
    await publish(web, 520)
    await plays(web.page, 440, LEVEL)
    await (await ear_of(peer)).hears(520, LEVEL)

    await web.run("room.simulateScenario(arg)", scenario)
    await web.next("reconnected")
    await (await ear_of(peer)).hears(520, LEVEL)
    await plays(web.page, 440, LEVEL)
