"""Video between ``livekit-client`` in Chromium and the Python SDK: pictures decoded at the far end."""

from __future__ import annotations

import pytest
from livekit import rtc

from support.picture import camera, seen

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

# Publishes a grey picture, with what livekit-client makes of its options.
PUBLISH = """async options => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 640, height: 360});
  const picture = canvas.getContext('2d');
  window.painter = setInterval(() => {
    picture.fillStyle = 'rgb(80, 80, 80)';
    picture.fillRect(0, 0, canvas.width, canvas.height);
  }, 100);
  const [track] = canvas.captureStream(10).getVideoTracks();
  const publication = await room.localParticipant.publishTrack(track, {source: 'camera', ...options});
  return publication.trackSid;
}"""
# Luma of that grey, in the range that video uses.
SHADE = 85
DECODED = """async () => {
  const people = [...room.remoteParticipants.values()];
  const tracks = people.flatMap((who) => [...who.videoTrackPublications.values()].map(({track}) => track));
  const stats = await Promise.all(tracks.map((track) => track?.receiver.getStats()));
  return stats.flatMap((report) => [...(report ?? [])]).some(([, {type, framesDecoded}]) =>
    type === 'inbound-rtp' && framesDecoded >= 10);
}"""


@pytest.mark.parametrize("simulcast", [False, True], ids=["one layer", "simulcast"])
async def test_pictures_of_a_browser_reach_python(stage, simulcast) -> None:
    peer, web = await stage.peer(), await stage.client("web")
    sid = await web.page.evaluate(PUBLISH, {"simulcast": simulcast})
    track, publication, _ = await peer.next("track_subscribed", lambda track, *_: track.sid == sid)
    assert (publication.mime_type, publication.simulcasted) == ("video/VP8", False)
    await seen(track, shade=SHADE)


async def test_pictures_of_python_reach_a_browser(stage) -> None:
    web, peer = await stage.client("web"), await stage.peer()
    async with camera(640, 480, 120) as track:
        await peer.me.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA))
        await web.next("trackSubscribed")
        await web.page.wait_for_function(DECODED, polling=100)
