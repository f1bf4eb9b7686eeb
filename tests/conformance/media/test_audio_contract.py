"""How every media engine carries audio tracks: the seam's words, sentence by sentence.

The client of ``Str0mEngine`` is aiortc, which shares no code with it.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from greenroom._media import (
    AudioLevels,
    FakeEngine,
    Receive,
    Section,
    Send,
    TrackStarted,
    TransportClosed,
)
from greenroom.errors import MediaEngineError

pytestmark = pytest.mark.conformance

TRACK, OTHER = 7, 8
FIRST, SECOND = Send("PA_a|TR_1", "TR_1"), Send("PA_b|TR_2", "TR_2")


def numbered(count: int, start: int = 0) -> list[tuple[int, bytes]]:
    return [(number, f"packet {number:06}".encode()) for number in range(start, start + count)]


def section_of(sdp: str, mid: str) -> str:
    return next(part for part in sdp.split("\r\nm=")[1:] if f"a=mid:{mid}\r\n" in part + "\r\n")


class Publisher:
    """A client that sends one track."""

    def __init__(self, stage, transport, cid="mic"):
        self.stage, self.transport, self.cid = stage, transport, cid

    async def join(self, track, receive=None):
        self.peer = self.stage.peer(self.transport)
        self.peer.add_audio(self.cid)
        return await self.publish(track, receive or Receive())

    async def publish(self, track, receive):
        offer = await self.peer.offer()
        sections = self.stage.engine.inspect_offer(offer)
        self.mid = next(section.mid for section in sections if section.cid == self.cid)
        answer = await self.stage.negotiate(self.transport, self.peer, offer=offer, plan={self.mid: receive})
        await self.peer.open()
        self.stage.engine.publish(track, self.transport, self.mid)
        await obeyed(self.stage, self.transport, self.peer)
        return answer

    async def send(self, packets, level=-20):
        for sequence, payload in packets:
            await self.peer.send_audio(self.cid, sequence, payload, level=level)


async def obeyed(stage, transport, peer):
    """Return once the engine has done what it was told before; commands are carried out in order."""
    before = len(peer.received.get("_reliable", []))
    stage.engine.send([transport], "_reliable", b"fence")
    await peer.until(lambda: len(peer.received.get("_reliable", [])) > before)


async def publisher(stage, transport=1, track=TRACK, cid="mic"):
    publisher = Publisher(stage, transport, cid)
    await publisher.join(track)
    return publisher


async def receiver(stage, transport=2, track=TRACK, send=FIRST, receiving=1):
    """A client that receives a track; returns it with the mid."""
    peer = await stage.join(transport, receiving=receiving)
    mid = next(s.mid for s in stage.engine.inspect_offer(await peer.offer()) if s.direction == "recvonly")
    await stage.negotiate(transport, peer, plan={mid: send})
    stage.engine.forward(track, transport, mid)
    await obeyed(stage, transport, peer)
    return peer, mid


async def delivered(peer, mid, packets):
    """Wait until the last of these packets has come, and return the payloads of all so far."""
    last = packets[-1][1]
    await peer.until(lambda: any(packet.payload == last for packet in peer.heard(mid)))
    return [packet.payload for packet in peer.heard(mid)]


class TestOffers:
    async def test_an_offer_can_be_read_without_a_transport(self, stage):
        peer = stage.peer(1)
        peer.add_audio("mic")
        sections = stage.engine.inspect_offer(await peer.offer())
        found = {(s.kind, s.direction) for s in sections}
        assert found == {("audio", "recvonly"), ("application", "sendrecv"), ("audio", "sendonly")}
        assert [s.cid for s in sections if s.direction == "sendonly"] == ["mic"]
        assert len({s.mid for s in sections}) == 3

    async def test_reading_an_offer_changes_nothing(self, stage):
        peer = stage.peer(1)
        offer = await peer.offer()
        assert stage.engine.inspect_offer(offer) == stage.engine.inspect_offer(offer)
        assert (await stage.engine.accept_offer(1, offer)).sections == stage.engine.inspect_offer(offer)

    @pytest.mark.parametrize("sdp", ["", "nonsense", "v=0\r\nm=audio"])
    async def test_an_unusable_offer_is_refused(self, stage, sdp):
        with pytest.raises(MediaEngineError):
            stage.engine.inspect_offer(sdp)

    async def test_a_rejected_section_reads_as_inactive(self, stage, first_offer):
        offer = re.sub(r"m=audio 9", "m=audio 0", first_offer, count=1)
        sections = stage.engine.inspect_offer(offer)
        assert next(s for s in sections if s.kind == "audio") == Section("0", "audio", "inactive")


class TestAnswers:
    async def test_a_section_that_is_taken_in_is_answered_recvonly(self, stage):
        alice = Publisher(stage, 1)
        section = section_of((await alice.join(TRACK)).sdp, alice.mid)
        assert "a=recvonly" in section
        assert "a=msid" not in section

    @pytest.mark.parametrize(
        ("receive", "wanted"),
        [
            (Receive(), {"usedtx=1"}),
            (Receive(dtx=False), set()),
            (Receive(stereo=True), {"usedtx=1", "stereo=1"}),
            (Receive(dtx=False, stereo=True), {"stereo=1"}),
        ],
    )
    async def test_opus_is_asked_for_as_planned(self, stage, receive, wanted, publish_offer):
        sections = stage.engine.inspect_offer(publish_offer)
        mid = next(s.mid for s in sections if s.kind == "audio" and s.direction == "sendonly")
        stage.engine.create_transport(1)
        section = section_of((await stage.engine.accept_offer(1, publish_offer, {mid: receive})).sdp, mid)
        (fmtp,) = re.findall(r"a=fmtp:111 (\S+)", section)
        given = set(fmtp.split(";"))
        assert {"minptime=10", "useinbandfec=1"} <= given
        assert {"usedtx=1", "stereo=1"} & given == wanted
        assert "red/48000" not in section

    async def test_a_section_that_is_sent_carries_the_tracks_name(self, stage):
        peer = await stage.join(1)
        mid = next(s.mid for s in stage.engine.inspect_offer(await peer.offer()) if s.direction == "recvonly")
        section = section_of((await stage.negotiate(1, peer, plan={mid: FIRST})).sdp, mid)
        assert "a=sendonly" in section
        assert "a=msid:PA_a|TR_1 TR_1" in section
        assert re.search(r"a=ssrc:\d+ ", section)

    async def test_an_ssrc_stays_with_its_track_and_changes_with_the_track(self, stage):
        peer = await stage.join(1)
        mid = next(s.mid for s in stage.engine.inspect_offer(await peer.offer()) if s.direction == "recvonly")
        ssrcs = []
        for plan in ({mid: FIRST}, {mid: FIRST}, {}, {mid: SECOND}):
            answer = await stage.negotiate(1, peer, plan=plan)
            ssrcs.append(set(re.findall(r"a=ssrc:(\d+) ", section_of(answer.sdp, mid))))
        assert ssrcs[0] == ssrcs[1]
        assert len(ssrcs[0]) == len(ssrcs[3]) == 1
        assert ssrcs[2] == set()
        assert ssrcs[0] != ssrcs[3]

    async def test_what_is_not_planned_is_inactive(self, stage):
        peer = await stage.join(1, receiving=3)
        mids = [s.mid for s in stage.engine.inspect_offer(await peer.offer()) if s.direction == "recvonly"]
        answer = await stage.negotiate(1, peer, plan={mids[1]: FIRST})
        assert ["a=inactive" in section_of(answer.sdp, mid) for mid in mids] == [True, False, True]

    async def test_a_plan_that_the_offer_has_no_room_for_is_refused_and_changes_nothing(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        offer = await peer.offer()
        with pytest.raises(MediaEngineError):
            await stage.engine.accept_offer(2, offer, {mid: Receive()})
        await stage.negotiate(2, peer, plan={mid: FIRST})
        packets = numbered(3)
        await alice.send(packets)
        assert await delivered(peer, mid, packets) == [payload for _, payload in packets]


class TestForwarding:
    async def test_packets_pass_as_they_came(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        packets = numbered(50)
        await alice.send(packets)
        assert await delivered(peer, mid, packets) == [payload for _, payload in packets]
        heard = peer.heard(mid)
        steps = {(b.sequence - a.sequence) % 65536 for a, b in pairwise(heard)}
        times = {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(heard)}
        assert (steps, times) == ({1}, {960})
        assert len({packet.ssrc for packet in heard}) == 1

    async def test_what_was_lost_on_the_way_in_is_missing_on_the_way_out(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        packets = [*numbered(3), *numbered(3, start=6)]
        await alice.send(packets)
        await delivered(peer, mid, packets)
        first = peer.heard(mid)[0].sequence
        assert [(p.sequence - first) % 65536 for p in peer.heard(mid)] == [0, 1, 2, 6, 7, 8]

    async def test_numbers_wrap_around(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        packets = [(number % 65536, payload) for number, payload in numbered(10, start=65530)]
        await alice.send(packets)
        assert await delivered(peer, mid, packets) == [payload for _, payload in packets]

    async def test_one_track_reaches_many(self, stage):
        alice = await publisher(stage)
        crowd = [await receiver(stage, transport) for transport in range(2, 7)]
        packets = numbered(5)
        await alice.send(packets)
        for peer, mid in crowd:
            assert await delivered(peer, mid, packets) == [payload for _, payload in packets]

    async def test_two_tracks_of_one_publisher_keep_apart(self, stage):
        alice = Publisher(stage, 1, "a")
        await alice.join(TRACK)
        alice.peer.add_audio("b")
        sections = stage.engine.inspect_offer(await alice.peer.offer())
        mids = {s.cid: s.mid for s in sections if s.direction == "sendonly"}
        await stage.negotiate(1, alice.peer, plan={mids["a"]: Receive(), mids["b"]: Receive()})
        stage.engine.publish(OTHER, 1, mids["b"])
        peer = await stage.join(2, receiving=2)
        first, second = (s.mid for s in stage.engine.inspect_offer(await peer.offer()) if s.direction == "recvonly")
        await stage.negotiate(2, peer, plan={first: FIRST, second: SECOND})
        stage.engine.forward(TRACK, 2, first)
        stage.engine.forward(OTHER, 2, second)
        await obeyed(stage, 2, peer)
        a, b = numbered(5), numbered(5, start=100)
        for (number, payload), (other, load) in zip(a, b, strict=True):
            await alice.peer.send_audio("a", number, payload)
            await alice.peer.send_audio("b", other, load)
        assert await delivered(peer, first, a) == [payload for _, payload in a]
        assert await delivered(peer, second, b) == [payload for _, payload in b]

    @pytest.mark.parametrize("how", ["pause", "mute"])
    async def test_held_back_packets_leave_no_gap(self, stage, how):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        witness, there = await receiver(stage, 3)
        hold = {
            "pause": lambda held: stage.engine.set_forward_paused(2, mid, held),
            "mute": lambda held: stage.engine.set_track_muted(TRACK, held),
        }[how]
        before, during, after = numbered(5), numbered(5, start=5), numbered(5, start=10)
        await alice.send(before)
        await delivered(peer, mid, before)
        hold(True)
        await obeyed(stage, 2, peer)
        await alice.send(during)
        if how == "pause":
            await delivered(witness, there, during)
        else:
            alice.peer.send("_reliable", b"fence")
            await stage.events.until(lambda: stage.events.payloads(1, "_reliable") == [b"fence"])
        hold(False)
        await obeyed(stage, 2, peer)
        await alice.send(after)
        assert await delivered(peer, mid, after) == [payload for _, payload in (*before, *after)]
        heard = peer.heard(mid)
        assert {(b.sequence - a.sequence) % 65536 for a, b in pairwise(heard)} == {1}
        times = [(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(heard)]
        assert all(0 < step < 2**31 for step in times)

    async def test_a_track_that_ended_reaches_nobody(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        await alice.send(numbered(3))
        await delivered(peer, mid, numbered(3))
        stage.engine.unpublish(TRACK)
        await obeyed(stage, 2, peer)
        await alice.send(numbered(3, start=3))
        alice.peer.send("_reliable", b"fence")
        await stage.events.until(lambda: stage.events.payloads(1, "_reliable") == [b"fence"])
        stage.engine.publish(OTHER, 1, alice.mid)
        stage.engine.forward(OTHER, 2, mid)
        await obeyed(stage, 2, peer)
        last = numbered(1, start=9)
        await alice.send(last)
        payloads = await delivered(peer, mid, last)
        assert payloads == [payload for _, payload in (*numbered(3), *last)]

    async def test_an_ended_forward_sends_nothing_more(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        witness, there = await receiver(stage, 3)
        stage.engine.unforward(2, mid)
        await obeyed(stage, 2, peer)
        await alice.send(numbered(3))
        await delivered(witness, there, numbered(3))
        assert peer.heard(mid) == []

    async def test_another_track_on_the_same_section_has_another_ssrc(self, stage):
        alice, bob = await publisher(stage), await publisher(stage, 3, OTHER)
        peer, mid = await receiver(stage)
        await alice.send(numbered(3))
        await delivered(peer, mid, numbered(3))
        stage.engine.unforward(2, mid)
        await stage.negotiate(2, peer)
        await stage.negotiate(2, peer, plan={mid: SECOND})
        stage.engine.forward(OTHER, 2, mid)
        await obeyed(stage, 2, peer)
        await bob.send(numbered(3, start=50))
        await delivered(peer, mid, numbered(3, start=50))
        assert len({packet.ssrc for packet in peer.heard(mid)}) == 2

    async def test_a_closed_publisher_ends_its_track_and_a_closed_receiver_only_itself(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        other, there = await receiver(stage, 3)
        stage.engine.close_transport(2)
        await obeyed(stage, 3, other)
        await alice.send(numbered(3))
        await delivered(other, there, numbered(3))
        assert peer.heard(mid) == []
        stage.engine.close_transport(1)
        bob = await publisher(stage, 4, OTHER)
        stage.engine.forward(OTHER, 3, there)
        await obeyed(stage, 3, other)
        await bob.send(numbered(3, start=20))
        await delivered(other, there, numbered(3, start=20))

    async def test_data_and_audio_share_a_transport(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        stage.engine.send([2], "_reliable", b"hello")
        await alice.send(numbered(3))
        await delivered(peer, mid, numbered(3))
        await peer.until(lambda: peer.received.get("_reliable", [])[-1:] == [b"hello"])

    async def test_unknown_names_are_ignored(self, stage):
        engine = stage.engine
        engine.publish(1, 99, "0")
        engine.forward(99, 99, "0")
        engine.unforward(99, "0")
        engine.unpublish(99)
        engine.set_track_muted(99, True)
        engine.set_forward_paused(99, "0", True)
        alice = await publisher(stage)
        engine.forward(99, 1, alice.mid)
        engine.forward(TRACK, 1, "nonsense")
        await alice.send(numbered(3))
        await stage.events.until(lambda: TrackStarted(TRACK) in stage.events.all)
        assert not [event for event in stage.events.all if isinstance(event, TransportClosed)]


class TestEvents:
    async def test_the_first_packet_of_a_track_is_told_once(self, stage):
        alice = await publisher(stage)
        peer, mid = await receiver(stage)
        assert TrackStarted(TRACK) not in stage.events.all
        await alice.send(numbered(20))
        await delivered(peer, mid, numbered(20))
        await stage.events.until(lambda: TrackStarted(TRACK) in stage.events.all)
        assert stage.events.all.count(TrackStarted(TRACK)) == 1

    @pytest.mark.parametrize(("level", "active"), [(-20, True), (-60, False)])
    async def test_levels_are_told_while_somebody_sends(self, stage, level, active):
        alice = await publisher(stage)
        await alice.send(numbered(20), level=level)
        if isinstance(stage.engine, FakeEngine):
            stage.engine.advance(0.4)

        def levels():
            return [event for event in stage.events.all if isinstance(event, AudioLevels)]

        await stage.events.until(lambda: bool(levels()))
        ((track, mean, share),) = levels()[0].levels
        assert track == TRACK
        assert (share > 0) == active
        if active:
            assert mean == pytest.approx(level, abs=1)

    async def test_packets_are_counted(self, stage):
        alice = await publisher(stage)
        crowd = [await receiver(stage, transport) for transport in (2, 3)]
        packets = numbered(10)
        await alice.send(packets)
        for peer, mid in crowd:
            await delivered(peer, mid, packets)
        stats = stage.engine.stats()
        assert (stats.rtp_in, stats.rtp_out) == (10, 20)
