"""Signalling as a client sees it on the wire, over a media engine in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import websockets
from livekit.protocol import models, rtc

from greenroom._media import FakeEngine
from greenroom._media._fake_sdp import client_offer
from greenroom.server import Server
from greenroom.server.signal import _outbox
from greenroom.server.signal._session import MAX_MALFORMED
from support.serving import running_server
from support.signal_client import SignalClient, join_request, token

pytestmark = pytest.mark.conformance

Info = models.ParticipantInfo
Reason = models.DisconnectReason
Leave = rtc.LeaveRequest
Request = rtc.JoinRequest | None


@dataclass
class Hall:
    server: Server
    url: str

    async def connect(
        self, identity: str = "alice", *, request: rtc.JoinRequest | None = None, **claims: Any
    ) -> SignalClient:
        return await SignalClient.connect(self.url, token(identity, **claims), server=self.server, request=request)

    async def open(
        self, identity: str = "alice", *, request: rtc.JoinRequest | None = None, **claims: Any
    ) -> SignalClient:
        return await SignalClient.open(self.url, token(identity, **claims), server=self.server, request=request)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    async with running_server() as (server, url):
        yield Hall(server, url)


@pytest.fixture
async def dark_hall() -> AsyncIterator[Hall]:
    """A server whose clients' media does not connect by itself."""
    async with running_server(FakeEngine()) as (server, url):
        yield Hall(server, url)


class TestJoining:
    async def test_the_answer_follows_the_join_response_and_carries_the_offers_id(self, hall):
        request = join_request()
        request.publisher_offer.id = 41
        client = await hall.open(request=request)
        await client.receive("answer")
        assert client.kinds[:2] == ["join", "answer"]
        answer = client.log[1].answer
        assert (answer.type, answer.id) == ("answer", 41)
        assert answer.sdp.startswith("v=0")

    async def test_every_media_section_is_answered(self, hall):
        client = await hall.connect()
        sdp = client.log[1].answer.sdp
        assert sdp.count("m=audio") == sdp.count("m=video") == 3
        assert sdp.count("m=application") == 1

    async def test_an_offer_may_come_after_the_join(self, hall):
        client = await hall.connect(request=join_request(offer=False))
        assert client.kinds == ["join"]
        await client.send(offer=rtc.SessionDescription(type="offer", sdp=client_offer(), id=1))
        assert (await client.receive("answer")).answer.id == 1

    async def test_tracks_asked_for_in_the_join_request_are_answered_after_the_join_response(self, hall):
        asked = [rtc.AddTrackRequest(cid="mic"), rtc.AddTrackRequest(cid="d", type=models.DATA)]
        client = await hall.connect(request=join_request(add_track_requests=asked))
        assert client.kinds[0] == "join"
        assert (await client.receive("track_published")).track_published.cid == "mic"
        response = (await client.receive("request_response")).request_response
        assert response.add_track.cid == "d"
        assert response.reason == rtc.RequestResponse.UNSUPPORTED_TYPE

    async def test_a_candidate_before_the_offer_waits_for_it(self, dark_hall):
        client = await dark_hall.connect(request=join_request(offer=False))
        early, late = (f"candidate:1 1 udp 2122260223 10.0.0.1 {port} typ host" for port in (5001, 5002))
        await client.send(trickle=rtc.TrickleRequest(candidateInit=json.dumps({"candidate": early, "sdpMid": "0"})))
        await client.barrier()
        assert client.peer.candidates == ()
        await client.send(offer=rtc.SessionDescription(type="offer", sdp=client_offer(), id=1))
        await client.send(trickle=rtc.TrickleRequest(candidateInit=json.dumps({"candidate": late, "sdpMid": "0"})))
        await client.barrier()
        assert client.peer.candidates == (early, late)

    async def test_a_second_offer_is_answered_like_the_first(self, hall):
        client = await hall.connect()
        await client.send(offer=rtc.SessionDescription(type="offer", sdp=client_offer(), id=2))
        assert (await client.receive("answer")).answer.id == 2

    async def test_an_unusable_first_offer_ends_the_join_for_good(self, hall):
        request = join_request()
        request.publisher_offer.sdp = "nonsense"
        client = await hall.open(request=request)
        leave = (await client.receive("leave")).leave
        assert (leave.reason, leave.action) == (Reason.JOIN_FAILURE, Leave.DISCONNECT)
        assert await client.wait_closed() == 1000

    async def test_an_unusable_later_offer_asks_for_a_full_reconnect(self, hall):
        client = await hall.connect()
        await client.send(offer=rtc.SessionDescription(type="offer", sdp="nonsense", id=2))
        leave = (await client.receive("leave")).leave
        assert (leave.reason, leave.action) == (Reason.STATE_MISMATCH, Leave.RECONNECT)

    async def test_a_resume_is_answered_with_a_full_reconnect_and_nothing_before_it(self, hall):
        first = await hall.connect()
        request = join_request(offer=False, reconnect=True, participant_sid=first.sid)
        second = await hall.open(request=request)
        assert await second.wait_closed() == 1000
        assert second.kinds == ["leave"]
        leave = second.log[0].leave
        assert (leave.reason, leave.action) == (Reason.STATE_MISMATCH, Leave.RECONNECT)
        assert hall.server.rooms.get("lobby").participants["alice"].sid == first.sid

    async def test_fifty_at_once_all_learn_of_each_other(self, hall):
        clients = await asyncio.gather(*(hall.connect(f"p{n}") for n in range(50)))
        await asyncio.sleep(0.3)
        for client in clients:
            await client.barrier()
            known = {info.identity for info in client.join.other_participants}
            known |= {info.identity for message in client.log for info in message.update.participants}
            assert known >= {f"p{n}" for n in range(50)} - {client.join.participant.identity}
            states = {i.identity: i.state for message in client.log for i in message.update.participants}
            assert set(states.values()) == {Info.ACTIVE}

    async def test_the_server_neither_offers_nor_trickles(self, hall):
        alice = await hall.connect("alice")
        bob = await hall.connect("bob")
        await bob.leave()
        await alice.participant("bob", lambda info: info.state == Info.DISCONNECTED)
        await alice.barrier()
        assert not {"offer", "trickle"} & set(alice.kinds)


class TestLeaving:
    async def test_a_goodbye_is_passed_on_with_its_reason(self, hall):
        alice, bob = await hall.connect("alice"), await hall.connect("bob")
        await bob.leave(Reason.USER_REJECTED)
        info = await alice.participant("bob", lambda info: info.state == Info.DISCONNECTED)
        assert info.disconnect_reason == Reason.USER_REJECTED

    async def test_the_first_of_two_with_one_identity_is_told_and_closed(self, hall):
        first = await hall.connect("alice")
        watcher = await hall.connect("bob")
        second = await hall.connect("alice")
        leave = (await first.receive("leave")).leave
        assert (leave.reason, leave.action) == (Reason.DUPLICATE_IDENTITY, Leave.DISCONNECT)
        assert await first.wait_closed() == 1000
        assert second.sid != first.sid
        await watcher.participant("alice", lambda info: info.sid == second.sid and info.state == Info.ACTIVE)
        told = [(i.sid, i.state) for m in watcher.log for i in m.update.participants if i.identity == "alice"]
        assert told.index((first.sid, Info.DISCONNECTED)) < told.index((second.sid, Info.JOINED))

    async def test_a_bare_close_before_media_is_up_ends_the_participant(self, dark_hall):
        alice = await dark_hall.connect("alice")
        bob = await dark_hall.connect("bob")
        await bob.close()
        info = await alice.participant("bob", lambda info: info.state == Info.DISCONNECTED)
        assert info.disconnect_reason == Reason.SIGNAL_CLOSE

    async def test_a_bare_close_while_media_is_up_does_not(self, hall):
        alice, bob = await hall.connect("alice"), await hall.connect("bob")
        await alice.participant("bob", lambda info: info.state == Info.ACTIVE)
        peer = bob.peer
        await bob.close()
        packet = models.DataPacket(sequence=1, user=models.UserPacket(payload=b"still here"))
        peer.send("_reliable", packet.SerializeToString())
        await hall.server.engine.settle()
        (payload,) = alice.peer.received["_reliable"]
        assert models.DataPacket.FromString(payload).user.payload == b"still here"
        peer.go_silent()
        hall.server.engine.advance(16)
        info = await alice.participant("bob", lambda info: info.state == Info.DISCONNECTED)
        assert info.disconnect_reason == Reason.CONNECTION_TIMEOUT

    async def test_lost_media_sends_the_client_into_a_full_reconnect(self, hall):
        alice = await hall.connect()
        await alice.participant("alice", lambda info: info.state == Info.ACTIVE)
        alice.peer.go_silent()
        hall.server.engine.advance(16)
        leave = (await alice.receive("leave")).leave
        assert (leave.reason, leave.action) == (Reason.CONNECTION_TIMEOUT, Leave.RECONNECT)
        assert await alice.wait_closed() == 1000

    async def test_a_removed_participant_is_told_before_its_media_ends(self, hall):
        alice = await hall.connect()
        peer = alice.peer
        hall.server.rooms.remove_participant(hall.server.rooms.get("lobby"), "alice", Reason.PARTICIPANT_REMOVED)
        assert peer.alive
        leave = (await alice.receive("leave")).leave
        assert (leave.reason, leave.action) == (Reason.PARTICIPANT_REMOVED, Leave.DISCONNECT)
        assert await alice.wait_closed() == 1000
        assert not peer.alive

    async def test_deleting_a_room_returns_when_everybody_has_been_told(self, hall):
        clients = [await hall.connect(f"p{n}") for n in range(5)]
        assert await hall.server.rooms.delete("lobby")
        for client in clients:
            leave = (await client.receive("leave")).leave
            assert (leave.reason, leave.action) == (Reason.ROOM_DELETED, Leave.DISCONNECT)
            assert await client.wait_closed() == 1000

    async def test_a_stopping_server_says_so(self):
        async with running_server() as (server, url):
            client = await SignalClient.connect(url, server=server)
            await server.stop()
            leave = (await client.receive("leave")).leave
            assert (leave.reason, leave.action) == (Reason.SERVER_SHUTDOWN, Leave.DISCONNECT)

    async def test_a_simulated_server_leave_is_a_goodbye(self, hall):
        client = await hall.connect()
        await client.send(simulate=rtc.SimulateScenario(server_leave=True))
        assert (await client.receive("leave")).leave.reason == Reason.SERVER_SHUTDOWN

    async def test_a_simulated_node_failure_says_nothing(self, hall):
        client = await hall.connect()
        await client.send(simulate=rtc.SimulateScenario(node_failure=True))
        await client.wait_closed()
        assert "leave" not in client.kinds
        assert "alice" not in hall.server.rooms.get("lobby").participants


class TestTalking:
    async def test_pings_are_answered(self, hall):
        client = await hall.connect()
        await client.send(ping=1234)
        assert (await client.receive("pong")).pong > 1_600_000_000_000
        await client.send(ping_req=rtc.Ping(timestamp=99))
        assert (await client.receive("pong_resp")).pong_resp.last_ping_timestamp == 99

    async def test_a_client_that_writes_json_is_answered_in_json(self, hall):
        client = await hall.connect()
        client.text = True
        await client.send(ping_req=rtc.Ping(timestamp=5))
        await client.receive("pong_resp")
        client.text = False
        await client.send(ping_req=rtc.Ping(timestamp=6))
        await client.receive("pong_resp")
        assert client.encodings[0] == "binary"
        assert client.encodings[-2:] == ["text", "binary"]

    async def test_a_change_of_metadata_reaches_everybody_and_is_confirmed(self, hall):
        alice = await hall.connect("alice", video={"can_update_own_metadata": True})
        bob = await hall.connect("bob")
        wish = rtc.UpdateParticipantMetadata(name="Alice", metadata="m", attributes={"k": "v"}, request_id=7)
        await alice.send(update_metadata=wish)
        response = (await alice.receive("request_response")).request_response
        assert (response.request_id, response.reason) == (7, rtc.RequestResponse.OK)
        for client in (alice, bob):
            info = await client.participant("alice", lambda info: info.name == "Alice")
            assert (info.metadata, dict(info.attributes)) == ("m", {"k": "v"})

    async def test_unknown_requests_are_ignored(self, hall):
        client = await hall.connect()
        await client.socket.send(b"\xfa\x3f\x03new")
        await client.socket.send(b"")
        assert [message.WhichOneof("message") for message in await client.barrier()] in (
            ["update", "refresh_token"],
            ["refresh_token"],
            [],
        )

    async def test_a_few_malformed_frames_are_forgiven_and_then_it_is_over(self, hall):
        bob = await hall.connect("bob")
        client = await hall.connect("alice")
        for number in range(MAX_MALFORMED):
            await client.socket.send(b"\xff\xff\xff" if number % 2 else "{broken")
        await client.send(ping_req=rtc.Ping(timestamp=5))
        await client.receive("pong_resp")
        await client.socket.send(b"\xff\xff\xff")
        assert (await client.receive("leave")).leave.action == Leave.DISCONNECT
        assert await client.wait_closed() == 1000
        await bob.participant("alice", lambda info: info.state == Info.DISCONNECTED)

    async def test_text_that_is_not_utf8_ends_only_its_own_connection(self, hall, caplog):
        client = await hall.connect("alice")
        bob = await hall.connect("bob")
        client.socket.transport.write(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
        assert await client.wait_closed() == 1007
        await bob.barrier()
        assert "Traceback" not in caplog.text

    async def test_an_oversized_frame_is_not_read(self, hall):
        client = await hall.connect()
        await client.socket.send(b"\x00" * (2 * 1024 * 1024 + 1))
        await client.send(ping_req=rtc.Ping(timestamp=5))
        await client.receive("pong_resp")

    async def test_one_who_does_not_read_is_sent_away_and_nobody_waits_for_him(self, hall, monkeypatch):
        monkeypatch.setattr(_outbox, "MAX_BYTES", 256 * 1024)
        fast = await hall.connect("fast", video={"can_update_own_metadata": True})
        slow = await hall.connect("slow")
        slow.socket.transport.pause_reading()
        number = 0
        while "slow" in hall.server.rooms.get("lobby").participants:
            number += 1
            await fast.send(
                update_metadata=rtc.UpdateParticipantMetadata(metadata=f"{number:06}" * 10_000, request_id=number)
            )
            await fast.receive("request_response", lambda response, n=number: response.request_id == n)
        info = await fast.participant("slow", lambda info: info.state == Info.DISCONNECTED)
        assert info.disconnect_reason == Reason.SIGNAL_CLOSE
        slow.socket.transport.abort()

    async def test_a_fresh_token_comes_once_media_is_up_and_lets_its_owner_in_again(self, hall):
        client = await hall.connect("alice", name="Alice", attributes={"a": "1"})
        fresh = (await client.receive("refresh_token")).refresh_token
        again = await SignalClient.connect(hall.url, fresh, server=hall.server)
        info = again.join.participant
        assert (info.identity, info.name, dict(info.attributes)) == ("alice", "Alice", {"a": "1"})


class TestData:
    async def test_packets_reach_whom_they_are_for_in_order_and_once(self, hall):
        alice, bob, carol = [await hall.connect(name) for name in ("alice", "bob", "carol")]
        for number in (1, 2, 2, 3):
            packet = models.DataPacket(sequence=number, user=models.UserPacket(payload=b"x"))
            if number == 3:
                packet.destination_identities.append("carol")
            alice.peer.send("_reliable", packet.SerializeToString())
        await hall.server.engine.settle()

        def sequences(client: SignalClient) -> list[int]:
            received = client.peer.received.get("_reliable", [])
            return [models.DataPacket.FromString(payload).sequence for payload in received]

        assert (sequences(alice), sequences(bob), sequences(carol)) == ([], [1, 2], [1, 2, 3])

    async def test_what_is_said_before_a_channel_opens_waits_for_it(self, dark_hall):
        alice, bob = await dark_hall.connect("alice"), await dark_hall.connect("bob")
        alice.peer.connect()
        alice.peer.open_channel("_reliable")
        packet = models.DataPacket(sequence=1, user=models.UserPacket(payload=b"early"))
        alice.peer.send("_reliable", packet.SerializeToString())
        await dark_hall.server.engine.settle()
        bob.peer.connect()
        bob.peer.open_channel("_reliable")
        await dark_hall.server.engine.settle()
        (payload,) = bob.peer.received["_reliable"]
        assert models.DataPacket.FromString(payload).user.payload == b"early"


async def test_the_upgrade_of_one_who_has_gone_leaves_nobody_behind(hall):
    for _ in range(5):
        with pytest.raises((websockets.WebSocketException, OSError, TimeoutError)):
            await SignalClient.open(hall.url, token("ghost"), server=hall.server, create_connection=_Vanishing)
    await asyncio.sleep(0.05)
    room = hall.server.rooms.get("lobby")
    assert room is None or "ghost" not in room.participants or room.participants["ghost"].state == Info.ACTIVE


class _Vanishing(websockets.asyncio.client.ClientConnection):
    """Sends its request and is gone."""

    async def handshake(self, *arguments: Any, **options: Any) -> None:
        self.transport.write(b"")
        handshake = asyncio.ensure_future(super().handshake(*arguments, **options))
        await asyncio.sleep(0)
        self.transport.abort()
        await handshake
