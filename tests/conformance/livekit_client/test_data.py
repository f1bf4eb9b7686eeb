"""Streams and packets between ``livekit-client`` and the Python SDK."""

from __future__ import annotations

import random

import pytest

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="session")]

# Too random to compress into one packet, and each character takes three bytes.
LONG = "".join(map(chr, random.Random(2).choices(range(0x4E00, 0x9FFF), k=40_000)))


@pytest.mark.parametrize("text", ["Good morning", "", LONG], ids=["short", "empty", "120 kB"])
async def test_text_reaches_python_with_its_attributes(stage, text) -> None:
    peer = await stage.peer()
    peer.hear_text("chat")
    web = await stage.client("web")

    await web.run("room.localParticipant.sendText(arg, {topic: 'chat', attributes: {mood: 'calm'}})", text)
    received, identity, info = await peer.next("text")
    assert (received, identity) == (text, "web")
    assert dict(info.attributes) == {"mood": "calm"}


@pytest.mark.parametrize("text", ["Good morning", LONG], ids=["short", "120 kB"])
async def test_text_reaches_the_browser(stage, text) -> None:
    web = await stage.client("web")
    await web.run("handleText('chat')")
    peer = await stage.peer()
    await peer.me.send_text(text, topic="chat", attributes={"mood": "calm"})

    (received,) = await web.next("text")
    assert (received["text"], received["identity"], received["attributes"]) == (text, "python", {"mood": "calm"})


async def test_text_is_delivered_as_it_is_written_and_its_last_words_may_add_attributes(stage) -> None:
    web = await stage.client("web")
    await web.run(
        "room.registerTextStreamHandler('lk.transcription', async (reader) => {"
        " for await (const chunk of reader) report('chunk', [chunk]);"
        " report('end', [{...reader.info.attributes}]); })"
    )
    peer = await stage.peer()
    writer = await peer.me.stream_text(topic="lk.transcription", attributes={"lk.transcription_final": "false"})
    for word in ("Good ", "mor", "ning"):
        await writer.write(word)
        assert await web.next("chunk") == [word]
    await writer.aclose(attributes={"lk.transcription_final": "true"})
    assert (await web.next("end"))[0]["lk.transcription_final"] == "true"


async def test_many_messages_arrive_once_and_in_order(stage) -> None:
    peer = await stage.peer()
    web = await stage.client("web")
    await web.run(
        "(async () => { const text = new TextEncoder(); for (let n = 0; n < 500; n++)"
        " await room.localParticipant.publishData(text.encode(String(n)), {reliable: true}); })()"
    )
    assert [(await peer.next("data_received")).data for _ in range(500)] == [str(n).encode() for n in range(500)]
    assert not peer.seen("data_received")


async def test_bytes_travel_both_ways(stage) -> None:
    content = random.Random(3).randbytes(50_000)
    web = await stage.client("web")
    await web.run("handleBytes('files')")
    peer = await stage.peer()
    peer.hear_bytes("files")

    await web.run(
        "(async () => { const writer = await room.localParticipant.streamBytes({topic: 'files', name: 'a.bin'});"
        " await writer.write(new Uint8Array(arg)); await writer.close(); })()",
        list(content),
    )
    received, identity, info = await peer.next("bytes")
    assert (received, identity, info.name) == (content, "web", "a.bin")

    writer = await peer.me.stream_bytes("b.bin", topic="files")
    await writer.write(content)
    await writer.aclose()
    (back,) = await web.next("bytes")
    assert (bytes(back["bytes"]), back["name"]) == (content, "b.bin")


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "lossy"])
async def test_packets_travel_both_ways_with_their_topic(stage, reliable) -> None:
    web = await stage.client("web")
    peer = await stage.peer()
    await web.next("participantConnected")

    await web.run(
        "room.localParticipant.publishData(new TextEncoder().encode('hi'), {reliable: arg, topic: 't'})", reliable
    )
    packet = await peer.next("data_received")
    assert (packet.data, packet.topic, packet.participant.identity) == (b"hi", "t", "web")

    await peer.me.publish_data(b"ho", reliable=reliable, topic="t")
    payload, sender, _kind, topic, *_ = await web.next("dataReceived")
    assert (bytes(payload), sender["identity"], topic) == (b"ho", "python", "t")


async def test_what_is_addressed_to_one_reaches_nobody_else(stage) -> None:
    chosen, other = await stage.peer("chosen"), await stage.peer("other")
    for peer in (chosen, other):
        peer.hear_text("chat")
    web = await stage.client("web")
    await web.run("room.localParticipant.sendText('secret', {topic: 'chat', destinationIdentities: ['chosen']})")
    await web.run("room.localParticipant.sendText('for all', {topic: 'chat'})")

    assert [(await chosen.next("text"))[0] for _ in range(2)] == ["secret", "for all"]
    assert (await other.next("text"))[0] == "for all"


async def test_without_the_permission_nothing_is_delivered(stage) -> None:
    peer = await stage.peer()
    peer.hear_text("chat")
    mute = await stage.client("mute", can_publish_data=False)
    web = await stage.client("web")
    await mute.run("room.localParticipant.sendText('not heard', {topic: 'chat'}).catch(() => null)")
    await web.run("room.localParticipant.sendText('heard', {topic: 'chat'})")

    assert (await peer.next("text"))[:2] == ("heard", "web")
    assert not peer.seen("text")


async def test_a_stream_whose_sender_leaves_is_broken_off_not_ended(stage) -> None:
    web = await stage.client("web")
    await web.run(
        "room.registerTextStreamHandler('chat', (reader) => {"
        " reader.readAll().then((text) => report('ended', [text]),"
        "   (error) => report('broken', [describedError(error)]));"
        " report('opened', []); })"
    )
    peer = await stage.peer()
    writer = await peer.me.stream_text(topic="chat")
    await writer.write("half of a ")
    await web.next("opened")
    await peer.room.disconnect()
    assert (await web.next("broken"))[0]["name"] == "DataStreamError"
