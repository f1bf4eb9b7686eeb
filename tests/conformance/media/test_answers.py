"""What every media engine answers to an offer: the seam's words on ``accept_offer``, sentence by sentence."""

from __future__ import annotations

import re

import pytest

from greenroom._media import Receive, Section
from greenroom.errors import MediaEngineError

pytestmark = pytest.mark.conformance

AUDIO_EXTENSIONS = ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:sdes:mid")
EXTENSIONS = (
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
)


def blocks(sdp: str) -> list[list[str]]:
    """Cut a description into its media sections, each as lines."""
    return [block.split("\r\n") for block in re.split(r"(?m)^(?=m=)", sdp)[1:]]


def media(sdp: str) -> list[list[str]]:
    return [block for block in blocks(sdp) if not block[0].startswith("m=application")]


def mids(sdp: str) -> list[str]:
    return re.findall(r"(?m)^a=mid:(\S+)", sdp)


async def answer(stage, sdp: str):
    stage.engine.create_transport(1)
    return await stage.engine.accept_offer(1, sdp)


async def test_an_answer_keeps_the_sections_of_the_offer_in_order(stage, first_offer):
    reply = await answer(stage, first_offer)
    assert mids(reply.sdp) == mids(first_offer)
    assert [block[0].split()[0] for block in blocks(reply.sdp)] == [b[0].split()[0] for b in blocks(first_offer)]


async def test_sections_tell_mid_and_kind_in_the_order_of_the_offer(stage, first_offer):
    reply = await answer(stage, first_offer)
    kinds = ["audio"] * 3 + ["video"] * 3 + ["application"]
    assert [(part.mid, part.kind) for part in reply.sections] == [(str(mid), kind) for mid, kind in enumerate(kinds)]


async def test_sections_tell_the_direction_that_was_offered(stage, publish_offer):
    reply = await answer(stage, publish_offer)
    directions = [part.direction for part in reply.sections if part.kind != "application"]
    assert directions == ["recvonly"] * 6 + ["sendonly"] * 2


async def test_sections_tell_the_track_id_of_their_msid(stage, publish_offer):
    reply = await answer(stage, publish_offer)
    cids = re.findall(r"(?m)^a=msid:\S+ (\S+)", publish_offer)
    assert [part.cid for part in reply.sections] == [""] * 7 + cids
    assert isinstance(reply.sections[0], Section)


async def test_media_sections_are_answered_inactive(stage, publish_offer):
    reply = await answer(stage, publish_offer)
    for block in media(reply.sdp):
        assert "a=inactive" in block
        assert not {"a=sendonly", "a=recvonly", "a=sendrecv"} & set(block)


async def test_inactive_sections_name_no_stream(stage, publish_offer):
    reply = await answer(stage, publish_offer)
    assert "a=ssrc" not in reply.sdp
    assert "a=msid:" not in reply.sdp


async def test_media_sections_are_not_rejected(stage, first_offer):
    reply = await answer(stage, first_offer)
    assert all(block[0].split()[1] != "0" for block in blocks(reply.sdp))


async def test_the_application_section_is_accepted(stage, first_offer):
    reply = await answer(stage, first_offer)
    (block,) = [block for block in blocks(reply.sdp) if block[0].startswith("m=application")]
    assert block[0] == "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    assert "a=sctp-port:5000" in block
    assert "a=inactive" not in block


async def test_the_configured_message_size_is_written_into_the_answer(stage, first_offer):
    reply = await answer(stage, first_offer)
    assert re.findall(r"(?m)^a=max-message-size:(\d+)", reply.sdp) == [str(stage.config.max_message)]


async def test_red_is_left_out(stage, first_offer):
    assert "red/48000" in first_offer
    reply = await answer(stage, first_offer)
    assert " red/" not in reply.sdp.lower()
    red = set(re.findall(r"(?m)^a=rtpmap:(\d+) red/", first_offer))
    for block in media(reply.sdp):
        assert not red & set(block[0].split()[3:])


@pytest.mark.parametrize("codec", ["opus/48000", "VP8/90000", "H264/90000"])
async def test_payload_types_are_accepted_on_every_section_that_offers_them(stage, first_offer, codec):
    reply = await answer(stage, first_offer)
    for offered, answered in zip(media(first_offer), media(reply.sdp), strict=True):
        accepted = {line.split()[0] for line in answered if line.startswith("a=rtpmap:") and codec in line}
        proposed = {line.split()[0] for line in offered if line.startswith("a=rtpmap:") and codec in line}
        assert bool(accepted) == bool(proposed)
        assert accepted <= proposed


@pytest.mark.parametrize("uri", EXTENSIONS, ids=lambda uri: uri.rsplit(":", 1)[-1].rsplit("/", 1)[-1])
async def test_header_extensions_are_accepted_on_every_section_that_can_use_them(stage, first_offer, uri):
    reply = await answer(stage, first_offer)
    for offered, answered in zip(media(first_offer), media(reply.sdp), strict=True):
        proposed = [line for line in offered if line.startswith("a=extmap:") and line.endswith(f" {uri}")]
        if offered[0].startswith("m=audio") and uri not in AUDIO_EXTENSIONS:
            proposed = []
        assert [line for line in answered if line.startswith("a=extmap:") and line.endswith(f" {uri}")] == proposed


async def test_who_hears_audio_is_not_asked_for_transport_wide_feedback(stage, first_offer):
    reply = await answer(stage, first_offer)
    asked = {block[0].split()[0]: "transport-cc" in "\n".join(block) for block in media(reply.sdp)}
    assert asked == {"m=audio": False, "m=video": True}


@pytest.mark.parametrize("layers", ["q;h;f", "f;h;q", "q;~h;~f", "h;q"])
async def test_of_simulcast_layers_only_the_largest_is_taken_in(stage, publish_offer, layers):
    offer = publish_offer.replace("a=simulcast:send q;h;f", f"a=simulcast:send {layers}")
    if "f" not in layers:
        offer = re.sub(r"a=rid:f .*\r\n", "", offer)
    stage.engine.create_transport(1)
    (mid,) = [mid for mid, block in enumerate(blocks(offer)) if f"a=simulcast:send {layers}" in block]
    reply = await stage.engine.accept_offer(1, offer, {str(mid): Receive()})
    kept = [line for line in blocks(reply.sdp)[mid] if line.startswith(("a=rid:", "a=simulcast:"))]
    largest = "f" if "f" in layers else "h"
    assert kept == [f"a=rid:{largest} recv", f"a=simulcast:recv {largest}"]


async def test_the_engine_is_ice_lite_and_dtls_server(stage, first_offer):
    reply = await answer(stage, first_offer)
    assert "a=ice-lite" in reply.sdp.split("\r\n")
    assert set(re.findall(r"(?m)^a=setup:(\S+)", reply.sdp)) == {"passive"}


async def test_a_transport_can_be_full_ice(stage, first_offer):
    stage.engine.create_transport(1, lite=False)
    reply = await stage.engine.accept_offer(1, first_offer)
    assert "a=ice-lite" not in reply.sdp


async def test_candidates_are_inside_the_answer(stage, first_offer):
    reply = await answer(stage, first_offer)
    candidates = re.findall(r"(?m)^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", reply.sdp, re.IGNORECASE)
    assert {address for address, _ in candidates} == {stage.config.bind}
    if stage.engine.port:
        assert {int(port) for _, port in candidates} == {stage.engine.port}


async def test_an_offer_without_data_channels_is_answered(stage, first_offer):
    head, *rest = re.split(r"(?m)^(?=m=)", first_offer)
    audio = head.replace("BUNDLE 0 1 2 3 4 5 6", "BUNDLE 0") + rest[0]
    reply = await answer(stage, audio)
    assert [part.kind for part in reply.sections] == ["audio"]


async def test_an_offer_for_an_unknown_transport_is_refused(stage, first_offer):
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(99, first_offer)


def without(sdp: str, attribute: str) -> str:
    return re.sub(rf"(?m)^a={attribute}:.*\r\n", "", sdp)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sdp: "",
        lambda sdp: "\x00\xff not a description",
        lambda sdp: "v=0\r\n",
        lambda sdp: sdp[: sdp.index("m=")],
        lambda sdp: without(sdp, "ice-ufrag"),
        lambda sdp: without(sdp, "ice-pwd"),
        lambda sdp: without(sdp, "fingerprint"),
        lambda sdp: without(sdp, "mid"),
        lambda sdp: sdp.replace("m=audio 9", "m=audio nine", 1),
    ],
    ids=["empty", "noise", "version", "no-sections", "no-ufrag", "no-password", "no-fingerprint", "no-mid", "bad-port"],
)
async def test_an_unusable_offer_is_refused_and_the_transport_stays(stage, first_offer, spoil):
    stage.engine.create_transport(1)
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(1, spoil(first_offer))
    reply = await stage.engine.accept_offer(1, first_offer)
    assert len(reply.sections) == 7


async def test_a_second_offer_may_append_sections(stage, first_offer, publish_offer):
    # The same connection goes on only under the same ICE credentials and certificate.
    await answer(stage, with_identity_of(first_offer, publish_offer))
    reply = await stage.engine.accept_offer(1, publish_offer)
    assert mids(reply.sdp) == mids(publish_offer)
    assert all("a=inactive" in block for block in media(reply.sdp))


async def test_a_second_offer_keeps_the_engines_credentials(stage, first_offer, publish_offer):
    first = await answer(stage, with_identity_of(first_offer, publish_offer))
    second = await stage.engine.accept_offer(1, publish_offer)
    for name in ("ice-ufrag", "ice-pwd", "fingerprint"):
        pattern = rf"(?m)^a={name}:(.*)\r$"
        assert set(re.findall(pattern, second.sdp)) == set(re.findall(pattern, first.sdp))


async def test_an_offer_that_drops_sections_is_refused_and_the_transport_stays(stage, first_offer, publish_offer):
    await answer(stage, publish_offer)
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(1, with_identity_of(first_offer, publish_offer))
    reply = await stage.engine.accept_offer(1, publish_offer)
    assert len(reply.sections) == 9


def with_identity_of(sdp: str, other: str) -> str:
    for name in ("ice-ufrag", "ice-pwd", "fingerprint"):
        (value,) = set(re.findall(rf"(?m)^a={name}:(.*)\r$", other))
        sdp = re.sub(rf"(?m)^a={name}:.*\r$", f"a={name}:{value}\r", sdp)
    return sdp


async def test_a_candidate_before_the_offer_does_no_harm(stage, first_offer):
    stage.engine.create_transport(1)
    stage.engine.add_candidate(1, "candidate:1 1 udp 2113937151 127.0.0.1 40000 typ host")
    assert (await stage.engine.accept_offer(1, first_offer)).sections


@pytest.mark.parametrize(
    "line",
    ["", "candidate:", "candidate:1 1 udp", "\x00", "candidate:1 1 udp 1 host.local 40000 typ host", "x" * 10_000],
    ids=["empty", "bare", "short", "nul", "mdns", "long"],
)
async def test_unusable_candidates_are_ignored(stage, first_offer, line):
    await answer(stage, first_offer)
    stage.engine.add_candidate(1, line)
    assert (await stage.engine.accept_offer(1, first_offer)).sections
    assert stage.events.of(1) == []


async def test_a_candidate_for_an_unknown_transport_is_ignored(stage, first_offer):
    stage.engine.add_candidate(99, "candidate:1 1 udp 2113937151 127.0.0.1 40000 typ host")
    assert (await answer(stage, first_offer)).sections
