"""Chromium's own WebRTC against the Rust core, without any LiveKit client in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from greenroom._media import (
    NO_PLAN,
    Answer,
    AudioLevels,
    Channel,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    Event,
    Plan,
    Receive,
    Send,
    Str0mEngine,
    TrackStarted,
    TransportClosed,
    TransportConnected,
)
from support.browser import chromium, visitor

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

COUNT, SIZE = 2000, 15_000
EXTENSIONS = {
    "audio": {
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "urn:ietf:params:rtp-hdrext:sdes:mid",
    },
    "video": {
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    },
}

# What LiveKit's clients do first: one connection, six receiving sections, three channels.
CLIENT = """() => {
  const pc = window.pc = new RTCPeerConnection({iceServers: []});
  const state = window.state = {received: {}, tracks: []};
  const channels = window.channels = {};
  for (const kind of ['audio', 'video'])
    for (let i = 0; i < 3; i++) pc.addTransceiver(kind, {direction: 'recvonly'});
  for (const label of ['_lossy', '_reliable', '_data_track']) {
    const reliable = label === '_reliable';
    const channel = channels[label] = pc.createDataChannel(
      label, reliable ? {ordered: true} : {ordered: false, maxRetransmits: 0});
    channel.binaryType = 'arraybuffer';
    state.received[label] = [];
    channel.onmessage = event => state.received[label].push(
      [new DataView(event.data).getUint32(0), event.data.byteLength]);
  }
  pc.ontrack = event => state.tracks.push([event.transceiver.mid, event.streams.map(stream => stream.id)]);
}"""
OFFER = (
    "async options => { await pc.setLocalDescription(await pc.createOffer(options)); return pc.localDescription.sdp }"
)
# A tone at half of full scale, and a picture that changes. What comes back is played.
PUBLISH = """async () => {
  const audio = window.audio = new AudioContext();
  const [tone, gain, out] = [audio.createOscillator(), audio.createGain(), audio.createMediaStreamDestination()];
  gain.gain.value = 0.5;
  tone.connect(gain).connect(out);
  tone.start();
  const canvas = document.createElement('canvas');
  const picture = canvas.getContext('2d');
  window.painter = setInterval(() => {
    picture.fillStyle = `hsl(${performance.now() / 10}, 80%, 50%)`;
    picture.fillRect(0, 0, canvas.width, canvas.height);
  }, 50);
  for (const track of [...out.stream.getTracks(), ...canvas.captureStream(20).getTracks()])
    pc.addTransceiver(track, {direction: 'sendonly'});
  pc.addEventListener('track', ({track}) => {
    const element = document.createElement(track.kind);
    document.body.append(element);
    element.srcObject = new MediaStream([track]);
    element.play();
  });
}"""
DECODED = """async () => {
  const arrived = [...(await pc.getStats()).values()].filter(({type}) => type === 'inbound-rtp');
  return arrived.some(({totalAudioEnergy}) => totalAudioEnergy > 0.05)
    && arrived.some(({framesDecoded}) => framesDecoded >= 20);
}"""
SEND = """async ([count, size]) => {
  const channel = channels._reliable;
  channel.bufferedAmountLowThreshold = 1 << 20;
  for (let number = 0; number < count; number++) {
    const message = new Uint8Array(size);
    new DataView(message.buffer).setUint32(0, number);
    if (channel.bufferedAmount > 4 << 20) await new Promise(resolve => channel.onbufferedamountlow = resolve);
    channel.send(message);
  }
}"""


@dataclass
class Stage:
    """An engine, a page, and what both saw."""

    engine: Str0mEngine
    page: Page
    events: list[Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_events(self, batch: Sequence[Event]) -> None:
        self.events.extend(batch)
        self.changed.set()

    async def until(self, count: int, kind: type[Event]) -> list[Event]:
        async with asyncio.timeout(30):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                self.changed.clear()
                await self.changed.wait()
        return found

    async def negotiate(self, *, edit: tuple[str, str] = ("", ""), plan: Plan = NO_PLAN, **options: bool) -> Answer:
        """Let the page offer and take the answer, in which the first ``edit[0]`` becomes ``edit[1]``."""
        answer = await self.engine.accept_offer(1, await self.page.evaluate(OFFER, options), plan)
        sdp = answer.sdp.replace(*edit, 1) if edit[0] else answer.sdp
        await self.page.evaluate("sdp => pc.setRemoteDescription({type: 'answer', sdp})", sdp)
        return answer

    async def join(self) -> None:
        await self.page.evaluate(CLIENT)
        self.engine.create_transport(1)
        await self.negotiate()
        await self.until(3, ChannelOpened)
        await self.page.wait_for_function("Object.values(channels).every(channel => channel.readyState === 'open')")

    async def received(self, label: str, count: int) -> list[list[int]]:
        await self.page.wait_for_function(
            "([label, count]) => state.received[label].length >= count", arg=[label, count], polling=50
        )
        return await self.page.evaluate("label => state.received[label]", label)


def numbered(number: int, size: int = 4) -> bytes:
    return number.to_bytes(4, "big") + bytes(size - 4)


def section(sdp: str, mid: str) -> list[str]:
    """The lines of one section."""
    (found,) = [part for part in sdp.split("\r\nm=")[1:] if f"\r\na=mid:{mid}\r\n" in part]
    return found.split("\r\n")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def stage(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Stage]:
    async with visitor(browser) as (page, complaints):
        # Room for everything a test sends at once.
        config = EngineConfig(bind=getattr(request, "param", "127.0.0.1"), send_buffer=2 * COUNT * SIZE)
        stage = Stage(Str0mEngine(config), page)
        await stage.engine.start(stage.on_events)
        yield stage
        await stage.engine.stop()
        assert not complaints.messages


async def test_one_connection_with_seven_sections_comes_up_with_its_channels(stage):
    await stage.join()
    assert stage.events[0] == TransportConnected(1)
    assert {event.label for event in stage.events[1:]} == set(Channel)
    directions = "pc.getTransceivers().map(each => [each.direction, each.currentDirection])"
    assert await stage.page.evaluate(directions) == [["recvonly", "inactive"]] * 6
    assert await stage.page.evaluate("pc.sctp.maxMessageSize") == 64_000


@pytest.mark.parametrize("stage", ["0.0.0.0", "::", "localhost"], indirect=True)
async def test_an_engine_is_reached_wherever_it_listens(stage):
    await stage.join()
    assert len(await stage.until(1, TransportConnected)) == 1


async def test_thousands_of_large_reliable_messages_arrive_in_order_both_ways(stage):
    await stage.join()
    upload = asyncio.create_task(stage.page.evaluate(SEND, [COUNT, SIZE]))
    for number in range(COUNT):
        stage.engine.send([1], Channel.RELIABLE, numbered(number, SIZE))
        await asyncio.sleep(0)
    await upload
    expected = [[number, SIZE] for number in range(COUNT)]
    received = await stage.until(COUNT, DataReceived)
    assert [[int.from_bytes(event.payload[:4], "big"), len(event.payload)] for event in received] == expected
    assert await stage.received(Channel.RELIABLE, COUNT) == expected


async def test_channels_are_told_apart_by_label(stage):
    await stage.join()
    for number, label in enumerate(Channel):
        stage.engine.send([1], label, numbered(number))
        assert await stage.received(label, 1) == [[number, 4]]
        await stage.page.evaluate("label => channels[label].send(new Uint8Array([0, 0, 0, 9]))", label)
    received = await stage.until(3, DataReceived)
    assert {(event.label, event.payload) for event in received} == {(label, numbered(9)) for label in Channel}


async def test_a_receiving_section_can_be_answered_with_a_track_and_taken_back(stage):
    await stage.join()
    for round_ in range(3):
        track = ("a=inactive", f"a=sendonly\r\na=msid:PA_anna|TR_mic{round_} TR_mic{round_}")
        await stage.negotiate(edit=track)
        await stage.negotiate()
    tracks = [["0", [f"PA_anna|TR_mic{round_}"]] for round_ in range(3)]
    assert await stage.page.evaluate("state.tracks") == tracks


async def test_the_first_answer_grants_what_later_offers_need(stage):
    await stage.join()
    answer = await stage.negotiate()
    for part in answer.sections[:6]:
        granted = {line.split(" ")[1] for line in section(answer.sdp, part.mid) if line.startswith("a=extmap:")}
        assert granted >= EXTENSIONS[part.kind]
    # A browser refuses its own offer of simulcast when the stream id extension was not granted before.
    await stage.page.evaluate("""() => {
      const canvas = document.createElement('canvas');
      canvas.getContext('2d');
      const [track] = canvas.captureStream(5).getVideoTracks();
      pc.addTransceiver(track, {direction: 'sendonly', sendEncodings: [{rid: 'q'}, {rid: 'h'}, {rid: 'f'}]});
    }""")
    published = (await stage.negotiate()).sections[7]
    assert (published.kind, published.direction) == ("video", "sendonly")
    assert published.cid == await stage.page.evaluate("pc.getTransceivers()[6].sender.track.id")


async def test_a_page_hears_and_sees_its_own_tracks_through_the_engine(stage):
    await stage.join()
    await stage.page.evaluate(PUBLISH)
    sections = stage.engine.inspect_offer(await stage.page.evaluate(OFFER, {}))
    mids = {(part.kind, part.direction): part.mid for part in reversed(sections)}
    plan = {}
    for kind in ("audio", "video"):
        plan[mids[kind, "sendonly"]] = Receive()
        plan[mids[kind, "recvonly"]] = Send(f"PA_a|TR_{kind}", f"TR_{kind}")
    await stage.negotiate(plan=plan)
    for track, kind in enumerate(("audio", "video")):
        stage.engine.publish(track, 1, mids[kind, "sendonly"])
        stage.engine.forward(track, 1, mids[kind, "recvonly"])
    await stage.page.wait_for_function(DECODED, polling=100)
    assert {event.track for event in await stage.until(2, TrackStarted)} == {0, 1}
    ((track, level, share),) = (await stage.until(3, AudioLevels))[-1].levels
    assert (track, share > 0.9) == (0, True)
    # A sine at half of full scale.
    assert level == pytest.approx(-9, abs=2)


async def test_an_ice_restart_keeps_the_channels(stage):
    await stage.join()
    before = await stage.negotiate()
    after = await stage.negotiate(iceRestart=True)
    credentials = [line for line in section(after.sdp, "0") if line.startswith(("a=ice-ufrag:", "a=ice-pwd:"))]
    assert not set(credentials) & set(section(before.sdp, "0"))
    stage.engine.send([1], Channel.RELIABLE, numbered(1))
    assert await stage.received(Channel.RELIABLE, 1) == [[1, 4]]
    assert await stage.page.evaluate("pc.connectionState") == "connected"
    assert len(await stage.until(3, ChannelOpened)) == 3


async def test_a_page_that_closes_its_connection_is_noticed(stage):
    await stage.join()
    await stage.page.evaluate("pc.close()")
    (closed,) = await stage.until(1, TransportClosed)
    assert (closed.transport, closed.reason) == (1, "dtls")
    assert stage.engine.stats().transports == 0


async def test_a_page_notices_that_its_transport_was_closed(stage):
    await stage.join()
    stage.engine.send([1], Channel.RELIABLE, numbered(1))
    stage.engine.close_transport(1)
    await stage.page.wait_for_function("Object.values(channels).every(channel => channel.readyState === 'closed')")
    assert await stage.received(Channel.RELIABLE, 1) == [[1, 4]]
    assert not [event for event in stage.events if isinstance(event, TransportClosed)]
