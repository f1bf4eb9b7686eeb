"""The unmodified Python SDK (Rust inside) against the whole server."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from livekit import rtc
from livekit.protocol import models

from greenroom._media import DataReceived
from greenroom.config import ApiKey
from support.signal_client import token

pytestmark = pytest.mark.conformance

OWN = {"video": {"can_update_own_metadata": True}}
Kind = rtc.ParticipantKind


class TestJoining:
    async def test_two_people_see_each_other_with_everything_their_tokens_say(self, stage):
        alice = await stage.join("alice", name="Alice", metadata="m", attributes={"a": "1"})
        bot = await stage.join("bot", kind="agent", name="Bot")
        assert alice.room.name == "lobby"
        assert (await alice.room.sid) == stage.room.sid
        assert (alice.me.identity, alice.me.name, alice.me.metadata) == ("alice", "Alice", "m")
        seen = bot.room.remote_participants["alice"]
        assert (seen.name, seen.metadata, seen.attributes) == ("Alice", "m", {"a": "1"})
        assert seen.kind == Kind.PARTICIPANT_KIND_STANDARD
        other = await alice.sees("bot")
        assert (other.name, other.kind) == ("Bot", Kind.PARTICIPANT_KIND_AGENT)
        assert other.sid == bot.me.sid

    async def test_a_participant_becomes_active_for_the_others(self, stage):
        alice = await stage.join("alice")
        bob = await stage.join("bob")
        assert (await alice.event("participant_active", lambda p: p.identity == "bob")).sid == bob.me.sid

    @pytest.mark.parametrize(
        "bad",
        [
            token(key=ApiKey(key="devkey", secret="wrong")),
            token(key=ApiKey(key="nobody", secret="secret")),
            token(now=1_000_000, ttl=60),
            token(video={"room_join": False}),
            "garbage",
        ],
        ids=["secret", "key", "expired", "no-join", "garbage"],
    )
    async def test_a_bad_token_is_refused_with_401(self, stage, bad):
        caller = stage.make()
        with pytest.raises(rtc.ConnectError, match="401"):
            await caller.connect(stage.url, bad)
        assert stage.server.rooms.list() == []

    async def test_two_peer_connections_are_refused_and_the_reason_is_given(self, stage):
        caller = stage.make()
        with pytest.raises(rtc.ConnectError, match="dual peer connection is not served yet"):
            await caller.connect(stage.url, token(), single_peer_connection=False)

    async def test_somebody_with_the_same_identity_takes_the_seat(self, stage):
        watcher = await stage.join("watcher")
        first = await stage.join("alice")
        first_sid = first.me.sid
        await watcher.sees("alice")
        second = await stage.join("alice")
        assert await first.event("disconnected") == rtc.DisconnectReason.DUPLICATE_IDENTITY
        assert second.me.sid != first_sid
        gone = await watcher.event("participant_disconnected")
        assert gone.sid == first_sid
        assert gone.disconnect_reason == rtc.DisconnectReason.DUPLICATE_IDENTITY
        assert (await watcher.sees("alice", lambda p: p.sid == second.me.sid)).sid == second.me.sid
        order = [name for name, args in watcher.log if name.startswith("participant_") and args[0].identity == "alice"]
        assert order.index("participant_disconnected") < len(order) - 1 - order[::-1].index("participant_connected")

    async def test_a_hidden_participant_hears_and_is_not_seen(self, stage):
        alice = await stage.join("alice")
        ghost = await stage.join("ghost", video={"hidden": True})
        bob = await stage.join("bob")
        await ghost.sees("bob")
        await alice.sees("bob")
        assert "ghost" not in alice.room.remote_participants
        assert "ghost" not in bob.room.remote_participants
        await alice.me.publish_data(b"psst", destination_identities=["ghost"])
        assert (await ghost.event("data_received")).data == b"psst"
        await ghost.me.publish_data(b"boo")
        packet = await alice.event("data_received")
        assert (packet.data, packet.participant) == (b"boo", None)
        await ghost.close()
        await alice.me.publish_data(b"flush", destination_identities=["bob"])
        await bob.event("data_received", lambda packet: packet.data == b"flush")
        assert not alice.seen("participant_disconnected")

    async def test_the_number_of_participants_is_told(self, stage):
        alice = await stage.join("alice")
        await stage.join("bot", kind="agent")
        await stage.join("bob")
        await alice.event("room_updated", lambda: alice.room.num_participants == 2)


class TestLeaving:
    async def test_a_goodbye_reaches_the_others_with_its_reason(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.sees("bob")
        await bob.close()
        gone = await alice.event("participant_disconnected")
        assert gone.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED

    async def test_a_client_may_give_its_own_reason(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await bob.room.disconnect(reason=rtc.DisconnectReason.USER_REJECTED)
        gone = await alice.event("participant_disconnected")
        assert gone.disconnect_reason == rtc.DisconnectReason.USER_REJECTED

    async def test_one_who_is_removed_hears_why_and_does_not_come_back(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        stage.server.rooms.remove_participant(stage.room, "bob", models.DisconnectReason.PARTICIPANT_REMOVED)
        assert await bob.event("disconnected") == rtc.DisconnectReason.PARTICIPANT_REMOVED
        assert not bob.seen("reconnecting")
        gone = await alice.event("participant_disconnected")
        assert gone.disconnect_reason == rtc.DisconnectReason.PARTICIPANT_REMOVED

    async def test_a_deleted_room_disconnects_everybody_for_that_reason(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        assert await stage.server.rooms.delete("lobby")
        for caller in (alice, bob):
            assert await caller.event("disconnected") == rtc.DisconnectReason.ROOM_DELETED

    async def test_a_stopping_server_disconnects_everybody_for_that_reason(self, stage):
        alice = await stage.join("alice")
        await stage.server.stop()
        assert await alice.event("disconnected") == rtc.DisconnectReason.SERVER_SHUTDOWN
        assert not alice.seen("reconnecting")


class TestReconnecting:
    async def test_a_lost_signalling_connection_ends_in_a_full_reconnect(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.sees("bob")
        before = bob.me.sid
        await bob.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await bob.event("reconnected")
        again = await alice.sees("bob", lambda p: p.sid != before)
        assert again.sid == stage.room.participants["bob"].sid
        assert set(bob.room.remote_participants) == {"alice"}
        await bob.me.publish_data(b"back", topic="t")
        assert (await alice.event("data_received")).participant.identity == "bob"
        await alice.me.publish_data(b"welcome", destination_identities=["bob"])
        assert (await bob.event("data_received")).data == b"welcome"

    @pytest.mark.parametrize(
        "scenario",
        [
            rtc.SimulateScenarioKind.SIMULATE_NODE_FAILURE,
            rtc.SimulateScenarioKind.SIMULATE_MIGRATION,
            rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT,
        ],
    )
    async def test_a_simulated_failure_ends_in_a_full_reconnect(self, stage, scenario):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        before = bob.me.sid
        await bob.room.simulate_scenario(scenario)
        await bob.event("reconnected")
        await alice.sees("bob", lambda p: p.sid != before)
        await bob.me.publish_data(b"back")
        assert (await alice.event("data_received")).data == b"back"

    async def test_a_simulated_server_leave_is_final(self, stage):
        alice = await stage.join("alice")
        await alice.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SERVER_LEAVE)
        assert await alice.event("disconnected") == rtc.DisconnectReason.SERVER_SHUTDOWN


class TestMetadata:
    async def test_own_changes_are_confirmed_and_reach_everybody(self, stage):
        alice, bob = await stage.join("alice", **OWN), await stage.join("bob")
        await alice.me.set_name("Alice")
        await alice.me.set_metadata("m")
        await alice.me.set_attributes({"a": "1", "b": "2"})
        await alice.me.set_attributes({"a": ""})
        seen = await bob.sees("alice", lambda p: p.attributes == {"b": "2"})
        assert (seen.name, seen.metadata) == ("Alice", "m")
        await alice.event("participant_attributes_changed", lambda *_: alice.me.attributes == {"b": "2"})
        assert (alice.me.name, alice.me.metadata) == ("Alice", "m")

    async def test_attributes_that_change_quickly_arrive_one_by_one(self, stage):
        alice = await stage.join("alice")
        bot = await stage.join("bot", kind="agent", **OWN)
        states = ["listening", "thinking", "speaking", "listening"]
        for state in states:
            await bot.me.set_attributes({"lk.agent.state": state})
        for _ in states:
            await alice.event("participant_attributes_changed")
        changes = [changed["lk.agent.state"] for changed, _ in alice.seen("participant_attributes_changed")]
        assert changes == states

    async def test_every_change_is_confirmed_quickly_even_if_the_client_misses_the_first_answer(self, stage):
        alice = await stage.join("alice", **OWN)
        async with asyncio.timeout(10):
            for number in range(300):
                await alice.me.set_attributes({"n": str(number)})
        # A missed answer would have cost the client its timeout of 5 s.
        assert stage.room.participants["alice"].attributes == {"n": "299"}

    async def test_without_permission_they_are_refused(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.me.set_name("Alice")
        await alice.me.set_attributes({"a": "1"})
        assert (alice.me.name, alice.me.attributes) == ("", {})
        assert (bob.room.remote_participants["alice"].name, stage.room.participants["alice"].name) == ("", "")

    async def test_a_change_from_the_server_reaches_its_subject_and_the_others(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        stage.server.rooms.update_participant(stage.room, "alice", name="Alice", attributes={"k": "v"})
        await alice.event("participant_attributes_changed")
        assert (alice.me.name, alice.me.attributes) == ("Alice", {"k": "v"})
        await bob.sees("alice", lambda p: p.name == "Alice" and p.attributes == {"k": "v"})

    async def test_room_metadata_is_told(self, stage):
        alice = await stage.join("alice")
        stage.server.rooms.update_room_metadata(stage.room, "tea")
        assert await alice.event("room_metadata_changed") == ("", "tea")

    async def test_losing_the_permission_to_send_silences_and_gaining_it_back_does_not(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        mute = models.ParticipantPermission(can_subscribe=True)
        stage.server.rooms.update_participant(stage.room, "alice", permission=mute)
        await alice.event("participant_permissions_changed")
        assert not alice.me.permissions.can_publish_data
        packet = models.DataPacket(user=models.UserPacket(payload=b"forced"))
        stage.server.rooms.on_events([_data(stage, "alice", packet)])
        speak = models.ParticipantPermission(can_subscribe=True, can_publish_data=True)
        stage.server.rooms.update_participant(stage.room, "alice", permission=speak)
        await alice.event("participant_permissions_changed", lambda *_: alice.me.permissions.can_publish_data)
        await alice.me.publish_data(b"hello")
        assert (await bob.event("data_received")).data == b"hello"


class TestPackets:
    @pytest.mark.parametrize("reliable", [True, False])
    async def test_a_packet_reaches_everybody_else_with_its_senders_name(self, stage, reliable):
        alice, bob, carol = [await stage.join(name) for name in ("alice", "bob", "carol")]
        for caller in (bob, carol):
            await caller.sees("alice")
        await alice.me.publish_data(b"warm")
        for caller in (bob, carol):
            await caller.event("data_received", lambda packet: packet.data == b"warm")
        await alice.me.publish_data(b"hi", reliable=reliable, topic="t")
        for caller in (bob, carol):
            packet = await caller.event("data_received")
            assert (packet.data, packet.topic, packet.participant.identity) == (b"hi", "t", "alice")
            expected = rtc.DataPacketKind.KIND_RELIABLE if reliable else rtc.DataPacketKind.KIND_LOSSY
            assert packet.kind == expected
        assert not alice.seen("data_received")

    async def test_a_packet_with_destinations_reaches_only_those(self, stage):
        alice, bob, carol = [await stage.join(name) for name in ("alice", "bob", "carol")]
        await alice.me.publish_data(b"secret", destination_identities=["carol"])
        await alice.me.publish_data(b"public")
        assert (await carol.event("data_received")).data == b"secret"
        assert (await bob.event("data_received")).data == b"public"

    async def test_what_is_said_to_a_newcomer_at_once_is_not_lost(self, stage):
        alice = await stage.join("alice")
        bob = stage.make()
        texts = bob.on_text("lk.chat")
        joining = asyncio.create_task(bob.connect(stage.url, token("bob")))
        await alice.event("participant_connected")
        await alice.me.send_text("welcome", topic="lk.chat", destination_identities=["bob"])
        await joining
        assert (await asyncio.wait_for(texts.get(), 10))[:2] == ("alice", "welcome")

    async def test_a_message_from_the_server_comes_from_nobody(self, stage):
        alice = await stage.join("alice")
        packet = models.DataPacket(user=models.UserPacket(payload=b"news", topic="t"))
        stage.server.rooms.send_data(stage.room, packet)
        received = await alice.event("data_received")
        assert (received.data, received.topic, received.participant) == (b"news", "t", None)

    async def test_two_thousand_large_reliable_messages_arrive_complete_and_in_order(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await bob.sees("alice")
        digest = hashlib.sha256()
        for number in range(2_000):
            payload = number.to_bytes(4, "big") * 3_500
            digest.update(payload)
            await alice.me.publish_data(payload, reliable=True)
        await bob.event("data_received", lambda packet: packet.data[:4] == (1_999).to_bytes(4, "big"), within=60)
        received = [packet.data for packet in bob.seen("data_received")]
        assert [int.from_bytes(data[:4], "big") for data in received] == list(range(2_000))
        assert hashlib.sha256(b"".join(received)).digest() == digest.digest()

    async def test_the_largest_packet_a_client_sends_arrives(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        payload = bytes(range(256)) * 246
        await alice.me.publish_data(payload)
        assert (await bob.event("data_received")).data == payload

    async def test_touch_tones_arrive(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.me.publish_dtmf(code=5, digit="5")
        tone = await bob.event("sip_dtmf_received")
        assert (tone.code, tone.digit, tone.participant.identity) == (5, "5", "alice")


class TestStreams:
    async def test_a_text_arrives_whole_with_its_attributes(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        texts = bob.on_text("chat")
        await alice.me.send_text("hello", topic="chat", attributes={"k": "v"})
        sender, text, info = await asyncio.wait_for(texts.get(), 10)
        assert (sender, text, info.attributes["k"]) == ("alice", "hello", "v")

    async def test_a_long_text_to_a_client_of_the_first_generation_arrives_in_chunks(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        texts = bob.on_text("chat")
        # Without the peers' features the sender falls back to plain chunks.
        info = stage.room.participants["bob"]
        info.client = models.ClientInfo()
        stage.server.rooms.update_participant(stage.room, "bob", attributes={"old": "yes"})
        await alice.sees("bob", lambda p: p.attributes == {"old": "yes"})
        text = "".join(f"line {number} é\n" for number in range(10_000))
        await alice.me.send_text(text, topic="chat", destination_identities=["bob"])
        assert (await asyncio.wait_for(texts.get(), 10))[1] == text

    async def test_a_streamed_text_arrives_as_it_is_written(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        chunks: asyncio.Queue[str] = asyncio.Queue()

        async def read(reader: rtc.TextStreamReader) -> None:
            async for chunk in reader:
                chunks.put_nowait(chunk)

        tasks = []
        bob.room.register_text_stream_handler("t", lambda reader, _: tasks.append(asyncio.ensure_future(read(reader))))
        writer = await alice.me.stream_text(topic="t")
        for word in ("one ", "two ", "three"):
            await writer.write(word)
            assert await asyncio.wait_for(chunks.get(), 10) == word
        await writer.aclose()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    async def test_bytes_arrive_whole(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        streams = bob.on_bytes("file")
        content = hashlib.shake_256(b"seed").digest(1_000_000)
        writer = await alice.me.stream_bytes("data.bin", topic="file", total_size=len(content))
        await writer.write(content)
        await writer.aclose()
        sender, received, info = await asyncio.wait_for(streams.get(), 30)
        assert (sender, received == content, info.name) == ("alice", True, "data.bin")

    async def test_an_agents_transcript_of_somebody_carries_that_name(self, stage):
        bot = await stage.join("bot", kind="agent")
        alice = await stage.join("alice")
        texts = alice.on_text("lk.transcription")
        await bot.sees("alice")
        writer = await bot.me.stream_text(topic="lk.transcription", sender_identity="alice")
        await writer.write("I said this")
        await writer.aclose()
        assert (await asyncio.wait_for(texts.get(), 10))[:2] == ("alice", "I said this")

    async def test_nobody_else_can_put_words_into_anothers_mouth(self, stage):
        mallory, alice, bob = [await stage.join(name) for name in ("mallory", "alice", "bob")]
        texts = bob.on_text("lk.transcription")
        await mallory.sees("bob")
        writer = await mallory.me.stream_text(topic="lk.transcription", sender_identity="alice")
        await writer.write("I owe mallory money")
        await writer.aclose()
        assert (await asyncio.wait_for(texts.get(), 10))[0] == "mallory"
        assert alice.me.identity == "alice"


class TestRpc:
    async def test_a_call_is_answered(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.sees("bob")

        @bob.me.register_rpc_method("greet")
        async def greet(call: rtc.RpcInvocationData) -> str:
            return f"hello {call.caller_identity}: {call.payload}"

        answer = await alice.me.perform_rpc(destination_identity="bob", method="greet", payload="x" * 40_000)
        assert answer == "hello alice: " + "x" * 40_000

    async def test_errors_come_back_as_they_were_raised(self, stage):
        alice, bob = await stage.join("alice"), await stage.join("bob")
        await alice.sees("bob")

        @bob.me.register_rpc_method("fail")
        async def fail(_call: rtc.RpcInvocationData) -> str:
            raise rtc.RpcError(101, "no", "because")

        with pytest.raises(rtc.RpcError) as caught:
            await alice.me.perform_rpc(destination_identity="bob", method="fail", payload="")
        assert (caught.value.code, caught.value.message, caught.value.data) == (101, "no", "because")
        with pytest.raises(rtc.RpcError) as caught:
            await alice.me.perform_rpc(destination_identity="bob", method="unknown", payload="")
        assert caught.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD


def _data(stage, identity: str, packet: models.DataPacket):
    return DataReceived(stage.room.participants[identity].transport, "_reliable", packet.SerializeToString())
