"""Tracks as clients see them on the wire, with their packets, over a media engine in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from livekit import api
from livekit.protocol import models, rtc

from greenroom._media import FakeEngine, FakePacket
from greenroom.config import ServerConfig
from greenroom.server import Server
from support.serving import running_server
from support.signal_client import SignalClient, join_request, token
from support.twirp_stage import KEY

pytestmark = pytest.mark.conformance

MIC = models.TrackSource.MICROPHONE


class Client:
    """A signalling client and the sections of its offers."""

    def __init__(self, signal: SignalClient) -> None:
        self.signal = signal
        self.peer = signal.peer
        self.more: list[tuple[str, str, str]] = []
        self._offers = 1

    async def offer(self) -> rtc.SessionDescription:
        self._offers += 1
        sdp = self.peer.offer(more=self.more)
        await self.signal.send(offer=rtc.SessionDescription(type="offer", sdp=sdp, id=self._offers))
        return (await self.signal.receive("answer", lambda answer: answer.id == self._offers)).answer

    async def publish(self, cid: str = "mic") -> tuple[str, str]:
        """Publish a track; returns its sid and its mid."""
        await self.signal.send(add_track=rtc.AddTrackRequest(cid=cid, source=MIC))
        published = (await self.signal.receive("track_published")).track_published
        self.more.append(("audio", "sendonly", cid))
        await self.offer()
        return published.track.sid, str(len(self.more) + 6)

    async def follow(self) -> rtc.SessionDescription:
        """Make the offer that the server asks for."""
        requirement = (await self.signal.receive("media_sections_requirement")).media_sections_requirement
        self.more += [("audio", "recvonly", "")] * requirement.num_audios
        return await self.offer()

    def heard(self, mid: str) -> list[FakePacket]:
        return self.peer.rtp.get(mid, [])


@dataclass
class Hall:
    server: Server
    url: str
    engine: FakeEngine

    async def join(self, identity: str, *, auto_subscribe: bool = True, **claims: Any) -> Client:
        request = join_request()
        request.connection_settings.auto_subscribe = auto_subscribe
        signal = await SignalClient.connect(
            self.url, token(identity, key=KEY, **claims), server=self.server, request=request
        )
        return Client(signal)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    engine = FakeEngine(auto_connect=True)
    async with running_server(engine, ServerConfig(keys=(KEY,), port=0, rtc_port=0)) as (server, url):
        yield Hall(server, url, engine)


@pytest.fixture
async def admin(hall: Hall) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(hall.url, KEY.key, KEY.secret) as client:
        yield client


async def test_a_call_both_ways(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    alice_sid, alice_mid = await alice.publish()
    info = await bob.signal.participant("alice", lambda info: bool(info.tracks))
    assert [track.sid for track in info.tracks] == [alice_sid]
    answer = await bob.follow()
    assert dict(answer.mid_to_track_id) == {"1": alice_sid}
    assert f"a=msid:{alice.signal.sid}|{alice_sid} {alice_sid}" in answer.sdp
    assert (await alice.signal.receive("track_subscribed")).track_subscribed.track_sid == alice_sid
    bob_sid, bob_mid = await bob.publish()
    assert dict((await alice.follow()).mid_to_track_id) == {"1": bob_sid}
    alice.peer.send_rtp(alice_mid, b"hello bob")
    bob.peer.send_rtp(bob_mid, b"hello alice")
    assert [packet.payload for packet in bob.heard("1")] == [b"hello bob"]
    assert [packet.payload for packet in alice.heard("1")] == [b"hello alice"]


async def test_a_newcomer_hears_at_once(hall):
    alice = await hall.join("alice")
    sid, mid = await alice.publish()
    bob = await hall.join("bob")
    assert dict(bob.signal.log[1].answer.mid_to_track_id) == {"1": sid}
    alice.peer.send_rtp(mid, b"hello")
    assert [packet.payload for packet in bob.heard("1")] == [b"hello"]


async def test_a_track_announced_in_the_join_request_is_published_with_the_first_answer(hall):
    watcher = await hall.join("watcher")
    request = join_request(offer=False, add_track_requests=[rtc.AddTrackRequest(cid="mic", source=MIC)])
    first = watcher.peer.offer(more=[("audio", "sendonly", "mic")])
    request.publisher_offer.CopyFrom(rtc.SessionDescription(type="offer", sdp=first, id=1))
    signal = await SignalClient.connect(hall.url, token("alice", key=KEY), server=hall.server, request=request)
    assert signal.kinds[:3] == ["join", "track_published", "answer"]
    info = await watcher.signal.participant("alice", lambda info: bool(info.tracks))
    assert info.tracks[0].sid == signal.log[1].track_published.track.sid


async def test_mute_holds_packets_back_until_unmute(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    sid, mid = await alice.publish()
    await bob.follow()
    await bob.signal.barrier()
    for muted in (True, False):
        await alice.signal.send(mute=rtc.MuteTrackRequest(sid=sid, muted=muted))
        await bob.signal.participant("alice", lambda info, muted=muted: info.tracks and info.tracks[0].muted == muted)
        alice.peer.send_rtp(mid, b"muted" if muted else b"unmuted")
    assert [packet.payload for packet in bob.heard("1")] == [b"unmuted"]


async def test_unpublishing_is_seen_in_the_offer(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    _, mid = await alice.publish()
    await bob.follow()
    alice.more[-1] = ("audio", "inactive", "")
    await alice.offer()
    await bob.signal.participant("alice", lambda info: not info.tracks and not info.is_publisher)
    assert dict((await bob.follow()).mid_to_track_id) == {}
    alice.peer.send_rtp(mid, b"late")
    assert bob.heard("1") == []


async def test_explicit_subscription(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob", auto_subscribe=False)
    sid, mid = await alice.publish()
    assert "media_sections_requirement" not in [m.WhichOneof("message") for m in await bob.signal.barrier()]
    await bob.signal.send(subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert dict((await bob.follow()).mid_to_track_id) == {"1": sid}
    await bob.signal.send(track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True))
    await bob.signal.barrier()
    alice.peer.send_rtp(mid, b"disabled")
    await bob.signal.send(track_setting=rtc.UpdateTrackSettings(track_sids=[sid]))
    await bob.signal.barrier()
    alice.peer.send_rtp(mid, b"enabled")
    assert [packet.payload for packet in bob.heard("1")] == [b"enabled"]


async def test_more_publishers_than_sections(hall):
    bob = await hall.join("bob")
    crowd = [await hall.join(f"p{n}") for n in range(5)]
    published = [await client.publish() for client in crowd]
    await bob.follow()
    answer = await bob.follow()
    assert set(answer.mid_to_track_id.values()) == {sid for sid, _ in published}
    for client, (_, mid) in zip(crowd, published, strict=True):
        client.peer.send_rtp(mid, client.signal.sid.encode())
    heard = {sid: bob.heard(mid)[0].payload.decode() for mid, sid in answer.mid_to_track_id.items()}
    assert heard == {sid: client.signal.sid for client, (sid, _) in zip(crowd, published, strict=True)}


async def test_speakers_are_told_from_levels(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    _, mid = await alice.publish()
    await bob.follow()
    for _ in range(20):
        alice.peer.send_rtp(mid, b"loud", level=-10)
    hall.engine.advance(0.4)
    for client in (alice, bob):
        speakers = (await client.signal.receive("speakers_changed")).speakers_changed.speakers
        assert [(speaker.sid, speaker.active) for speaker in speakers] == [(alice.signal.sid, True)]
    silence = (await bob.signal.receive("speakers_changed")).speakers_changed.speakers
    assert [(speaker.active, speaker.level) for speaker in silence] == [(False, 0)]


async def test_an_operator_mutes_and_cannot_unmute(hall, admin):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    sid, mid = await alice.publish()
    await bob.follow()
    who = {"room": "lobby", "identity": "alice", "track_sid": sid}
    muted = await admin.room.mute_published_track(api.MuteRoomTrackRequest(**who, muted=True))
    assert (muted.track.sid, muted.track.muted) == (sid, True)
    assert (await alice.signal.receive("mute")).mute == rtc.MuteTrackRequest(sid=sid, muted=True)
    await bob.signal.participant("alice", lambda info: info.tracks and info.tracks[0].muted)
    alice.peer.send_rtp(mid, b"muted")
    assert bob.heard("1") == []
    with pytest.raises(api.ServerError) as refused:
        await admin.room.mute_published_track(api.MuteRoomTrackRequest(**who, muted=False))
    assert (refused.value.code, refused.value.message) == ("failed_precondition", "remote unmute not enabled")


async def test_an_operator_subscribes_for_somebody(hall, admin):
    alice, bob = await hall.join("alice"), await hall.join("bob", auto_subscribe=False)
    sid, _ = await alice.publish()
    who = {"room": "lobby", "identity": "bob", "track_sids": [sid]}
    await admin.room.update_subscriptions(api.UpdateSubscriptionsRequest(**who, subscribe=True))
    assert dict((await bob.follow()).mid_to_track_id) == {"1": sid}
    await admin.room.update_subscriptions(api.UpdateSubscriptionsRequest(**who, subscribe=False))
    assert dict((await bob.follow()).mid_to_track_id) == {}


async def test_an_operator_takes_the_microphone_away(hall, admin):
    alice, bob = await hall.join("alice"), await hall.join("bob")
    sid, _ = await alice.publish()
    await bob.follow()
    permission = models.ParticipantPermission(can_subscribe=True, can_publish_data=True)
    await admin.room.update_participant(
        api.UpdateParticipantRequest(room="lobby", identity="alice", permission=permission)
    )
    assert (await alice.signal.receive("track_unpublished")).track_unpublished.track_sid == sid
    await bob.signal.participant("alice", lambda info: not info.permission.can_publish and not info.tracks)
    await alice.signal.send(add_track=rtc.AddTrackRequest(cid="again", source=MIC))
    refused = (await alice.signal.receive("request_response")).request_response
    assert refused.reason == rtc.RequestResponse.NOT_ALLOWED


async def test_publishers_are_counted_in_the_room(hall):
    alice = await hall.join("alice")
    await alice.publish()
    await alice.signal.receive("room_update", lambda update: update.room.num_publishers == 1)


async def test_many_rounds_of_subscribing_leave_nothing_behind(hall):
    alice, bob = await hall.join("alice"), await hall.join("bob", auto_subscribe=False)
    sid, mid = await alice.publish()
    for turn in range(50):
        await bob.signal.send(subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=True))
        (place,) = (await bob.follow()).mid_to_track_id
        alice.peer.send_rtp(mid, f"turn {turn}".encode())
        assert bob.heard(place)[-1].payload == f"turn {turn}".encode()
        await bob.signal.send(subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=False))
        assert dict((await bob.follow()).mid_to_track_id) == {}
    assert bob.more == []
