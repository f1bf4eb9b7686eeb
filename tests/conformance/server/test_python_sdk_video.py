"""Video through the whole server with the unmodified Python SDK: pictures sent are pictures decoded."""

from __future__ import annotations

import pytest
from livekit import rtc

from support.picture import camera, seen

pytestmark = pytest.mark.conformance

VP8, H264 = rtc.VideoCodec.VP8, rtc.VideoCodec.H264


def options(codec: rtc.VideoCodec.ValueType = VP8, *, simulcast: bool = False) -> rtc.TrackPublishOptions:
    return rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, video_codec=codec, simulcast=simulcast)


async def subscribed(caller):
    track, _, _ = await caller.event("track_subscribed", lambda track, *_: track.kind == rtc.TrackKind.KIND_VIDEO)
    return track


async def codecs(track):
    """Return what a received track comes in."""
    return {stats.codec.codec.mime_type for stats in await track.get_stats() if stats.WhichOneof("stats") == "codec"}


@pytest.mark.parametrize(("codec", "mime_type"), [(VP8, "video/VP8"), (H264, "video/H264")], ids=["vp8", "h264"])
async def test_a_camera_is_seen_by_those_who_are_there_and_by_a_newcomer(stage, codec, mime_type):
    alice, bob = await stage.join("alice"), await stage.join("bob")
    async with camera(320, 240, 200) as track:
        await alice.me.publish_track(track, options(codec))
        received = await subscribed(bob)
        await seen(received, shade=200)
        assert await codecs(received) == {mime_type}
        carol = await stage.join("carol")
        await seen(await subscribed(carol), shade=200)


async def test_who_publishes_simulcast_is_seen_in_one_layer(stage):
    alice, bob = await stage.join("alice"), await stage.join("bob")
    async with camera(640, 480, 80) as track:
        publication = await alice.me.publish_track(track, options(simulcast=True))
        await seen(await subscribed(bob), shade=80)
        assert not publication.simulcasted


async def test_two_cameras_keep_apart_and_one_that_ended_is_gone(stage):
    alice, bob = await stage.join("alice"), await stage.join("bob")
    async with camera(320, 240, 60) as dark, camera(320, 240, 220) as bright:
        first = await alice.me.publish_track(dark, options())
        await bob.me.publish_track(bright, options())
        await seen(await subscribed(bob), shade=60)
        await seen(await subscribed(alice), shade=220)
        await alice.me.unpublish_track(first.sid)
        await bob.event("track_unsubscribed", lambda track, *_: track.sid == first.sid)
