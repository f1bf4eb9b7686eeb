"""Publishing video, in virtual time: one layer, described as what it is."""

from __future__ import annotations

import pytest
from livekit.protocol import models, rtc

from greenroom._media import Receive
from support.track_rooms import TrackStage

pytestmark = pytest.mark.unit

Source = models.TrackSource


@pytest.fixture
def stage():
    return TrackStage()


def test_a_camera_goes_out_in_a_section_for_video(stage):
    alice, bob = stage.client("alice"), stage.client("bob")
    alice.announce("cam", type=models.VIDEO, source=Source.CAMERA)
    mid = alice.add_section("cam", kind="video")
    alice.offer()
    assert isinstance(alice.plan[mid], Receive)
    bob.follow()
    (sid,) = bob.hears
    assert sid.startswith("TR_VC")
    assert bob.receiving == {"3": sid}


def test_for_more_cameras_than_sections_more_are_asked_for(stage):
    alice, bob = stage.client("alice"), stage.client("bob")
    for number in range(5):
        alice.announce(f"cam{number}", type=models.VIDEO)
        alice.add_section(f"cam{number}", kind="video")
    alice.offer()
    bob.follow()
    assert [request.num_videos for request in bob.of("media_sections_requirement")] == [2]
    assert len(bob.hears) == 5


def test_of_a_cameras_layers_the_largest_is_told_as_the_only_one(stage):
    small = models.VideoLayer(quality=models.LOW, width=320, height=180, bitrate=160_000)
    large = models.VideoLayer(quality=models.MEDIUM, width=640, height=360, bitrate=450_000)
    codecs = [rtc.SimulcastCodec(codec="vp8", cid="cam", layers=[small, large])]
    request = {"type": models.VIDEO, "source": Source.CAMERA, "simulcast_codecs": codecs, "layers": [small, large]}
    (message,) = stage.client("alice").announce("cam", width=640, height=360, **request)
    info = message.track_published.track
    large.quality = models.HIGH
    assert list(info.layers) == list(info.codecs[0].layers) == [large]
    assert (info.simulcast, info.width, info.height) == (False, 640, 360)


@pytest.mark.parametrize(
    ("codec", "mime_type"),
    [("vp8", "video/VP8"), ("video/H264", "video/H264"), ("av1", "video/AV1"), ("unheard", ""), (None, "")],
)
def test_the_codec_of_video_is_what_its_publisher_says(stage, codec, mime_type):
    codecs = [rtc.SimulcastCodec(codec=codec)] if codec else []
    (message,) = stage.client("alice").announce("cam", type=models.VIDEO, simulcast_codecs=codecs)
    assert message.track_published.track.mime_type == mime_type


def test_the_size_of_a_picture_can_be_changed(stage):
    alice, bob = stage.client("alice"), stage.client("bob")
    alice.announce("cam", type=models.VIDEO)
    alice.add_section("cam", kind="video")
    alice.offer()
    update = rtc.UpdateLocalVideoTrack(track_sid=alice.participant.tracks[0].sid, width=64, height=48)
    assert alice.ask(update_video_track=update) == []
    (track,) = stage.updates(bob.participant)[-1].tracks
    assert (track.width, track.height) == (64, 48)
