"""Who gets a data packet and what it says about its sender."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import metrics as metrics_pb
from livekit.protocol import models

from greenroom.server.data import DataRouter, Outbound

pytestmark = pytest.mark.unit

NOW = 1_700_000_000.0
RELIABLE, LOSSY = "_reliable", "_lossy"
Packet = models.DataPacket


@dataclass
class Peer:
    identity: str
    transport: int
    hidden: bool = False
    is_agent: bool = False
    last_sequence: int = 0
    permission: models.ParticipantPermission = field(
        default_factory=lambda: models.ParticipantPermission(can_publish_data=True)
    )

    @property
    def sid(self) -> str:
        return f"PA_{self.identity}"


class Hall:
    """A router and four people in it."""

    def __init__(self, limit: int = 64_000, *, protect_sessions: bool = False) -> None:
        self.router = DataRouter(limit, protect_sessions=protect_sessions)
        self.peers = {name: Peer(name, number) for number, name in enumerate(("ann", "bob", "cat", "dan"), 1)}

    def send(self, sender: str, packet: Packet | bytes, label: str = RELIABLE) -> Outbound | None:
        payload = packet if isinstance(packet, bytes) else packet.SerializeToString()
        return self.router.route(self.peers[sender], self.peers, label, payload, NOW)

    def passed(self, sender: str, packet: Packet, label: str = RELIABLE) -> Packet:
        outbound = self.send(sender, packet, label)
        assert outbound is not None
        return Packet.FromString(outbound.payload)


def user(payload: bytes = b"hi", **fields: object) -> Packet:
    return Packet(user=models.UserPacket(payload=payload, topic="t"), **fields)


def test_a_packet_goes_to_everybody_but_its_sender():
    assert Hall().send("bob", user()).to == [1, 3, 4]


@pytest.mark.parametrize(("label", "kind"), [(RELIABLE, Packet.RELIABLE), (LOSSY, Packet.LOSSY)])
def test_the_channel_decides_the_kind_and_is_used_again(label, kind):
    hall = Hall()
    claimed = Packet.LOSSY if kind == Packet.RELIABLE else Packet.RELIABLE
    outbound = hall.send("bob", user(kind=claimed), label)
    assert outbound.label == label
    assert Packet.FromString(outbound.payload).kind == kind


def test_a_sender_cannot_pretend_to_be_somebody_else():
    packet = user(participant_identity="ann", participant_sid="PA_ann")
    packet.user.participant_identity = "ann"
    packet.user.participant_sid = "PA_ann"
    passed = Hall().passed("bob", packet)
    assert (passed.participant_identity, passed.participant_sid) == ("bob", "PA_bob")
    assert (passed.user.participant_identity, passed.user.participant_sid) == ("bob", "PA_bob")


def test_a_hidden_sender_has_no_name():
    hall = Hall()
    hall.peers["bob"].hidden = True
    passed = hall.passed("bob", user())
    assert (passed.participant_identity, passed.participant_sid) == ("", "PA_bob")
    assert (passed.user.participant_identity, passed.user.participant_sid) == ("", "")


def test_without_permission_nothing_is_forwarded():
    hall = Hall()
    hall.peers["bob"].permission = models.ParticipantPermission(can_publish=True)
    for label in (RELIABLE, LOSSY, "custom"):
        assert hall.send("bob", user(), label) is None
    assert hall.router.dropped["not_allowed"] == 3


class TestDestinations:
    def test_only_those_named_receive(self):
        assert Hall().send("bob", user(destination_identities=["cat", "ann", "cat"])).to == [3, 1]

    def test_the_deprecated_inner_list_counts_when_there_is_no_outer_one(self):
        packet = user()
        packet.user.destination_identities.append("dan")
        hall = Hall()
        assert hall.send("bob", packet).to == [4]
        passed = hall.passed("bob", packet)
        assert list(passed.destination_identities) == list(passed.user.destination_identities) == ["dan"]

    def test_the_outer_list_wins_over_the_inner_one(self):
        packet = user(destination_identities=["cat"])
        packet.user.destination_identities.append("dan")
        hall = Hall()
        assert hall.send("bob", packet).to == [3]
        assert list(hall.passed("bob", packet).user.destination_identities) == ["cat"]

    def test_sids_still_work(self):
        packet = user()
        packet.user.destination_sids.extend(["PA_cat", "PA_bob", "PA_nobody"])
        assert Hall().send("bob", packet).to == [3]

    def test_nobody_receives_twice(self):
        packet = user(destination_identities=["cat"])
        packet.user.destination_sids.extend(["PA_cat", "PA_dan"])
        assert Hall().send("bob", packet).to == [3, 4]

    def test_naming_only_oneself_or_strangers_reaches_nobody(self):
        assert Hall().send("bob", user(destination_identities=["bob", "nobody"])) is None


class TestAgents:
    @pytest.fixture
    def hall(self) -> Hall:
        hall = Hall()
        hall.peers["bob"].is_agent = True
        return hall

    def test_an_agent_may_write_a_chat_message_for_somebody_and_it_is_marked(self, hall):
        packet = Packet(participant_identity="ann", chat_message=models.ChatMessage(message="hello"))
        passed = hall.passed("bob", packet)
        assert (passed.participant_identity, passed.participant_sid) == ("ann", "PA_bob")
        assert passed.chat_message.generated

    def test_an_agent_may_open_a_text_stream_for_somebody_and_it_is_marked(self, hall):
        header = models.DataStream.Header(stream_id="s", text_header=models.DataStream.TextHeader())
        passed = hall.passed("bob", Packet(participant_identity="ann", stream_header=header))
        assert passed.participant_identity == "ann"
        assert passed.stream_header.text_header.generated

    def test_not_a_byte_stream_nor_any_other_packet(self, hall):
        header = models.DataStream.Header(stream_id="s", byte_header=models.DataStream.ByteHeader(name="f"))
        chunk = models.DataStream.Chunk(stream_id="s", content=b"x")
        for packet in (Packet(stream_header=header), Packet(stream_chunk=chunk), user()):
            packet.participant_identity = "ann"
            assert hall.passed("bob", packet).participant_identity == "bob"

    def test_its_own_streams_are_not_marked(self, hall):
        header = models.DataStream.Header(stream_id="s", text_header=models.DataStream.TextHeader())
        for claimed in ("", "bob"):
            passed = hall.passed("bob", Packet(participant_identity=claimed, stream_header=header))
            assert passed.participant_identity == "bob"
            assert not passed.stream_header.text_header.generated

    def test_nobody_else_may(self, hall):
        chat = Packet(participant_identity="ann", chat_message=models.ChatMessage(message="hello"))
        header = models.DataStream.Header(stream_id="s", text_header=models.DataStream.TextHeader())
        for packet in (chat, Packet(participant_identity="ann", stream_header=header)):
            passed = hall.passed("cat", packet)
            assert passed.participant_identity == "cat"
            assert not passed.chat_message.generated
            assert not passed.stream_header.text_header.generated

    def test_only_agents_transcribe(self, hall):
        packet = Packet(transcription=models.Transcription(track_id="TR_AMx"))
        assert hall.send("cat", packet) is None
        assert hall.send("bob", packet).to == [1, 3, 4]


def test_packets_between_clients_pass_with_only_the_sender_changed():
    packets = [
        Packet(rpc_request=models.RpcRequest(id="1", method="m", payload="p", response_timeout_ms=5, version=1)),
        Packet(rpc_ack=models.RpcAck(request_id="1")),
        Packet(rpc_response=models.RpcResponse(request_id="1", payload="p")),
        Packet(stream_header=models.DataStream.Header(stream_id="s", topic="t", inline_content=b"c")),
        Packet(stream_chunk=models.DataStream.Chunk(stream_id="s", chunk_index=3, content=b"x" * 15_000)),
        Packet(stream_trailer=models.DataStream.Trailer(stream_id="s", attributes={"a": "b"})),
        Packet(sip_dtmf=models.SipDTMF(code=5, digit="5")),
        Packet(encrypted_packet=models.EncryptedPacket(iv=b"i", encrypted_value=b"v")),
    ]
    hall = Hall()
    for number, packet in enumerate(packets, 1):
        packet.sequence = number
        packet.destination_identities.append("ann")
        passed = hall.passed("bob", packet)
        packet.participant_identity, packet.participant_sid = "bob", "PA_bob"
        assert passed == packet


class TestSequences:
    def test_a_repeated_packet_is_forwarded_once(self):
        hall = Hall()
        sent = [hall.send("bob", user(sequence=n)) for n in (1, 2, 2, 1, 3)]
        assert [outbound is not None for outbound in sent] == [True, True, False, False, True]
        assert hall.router.dropped["repeated"] == 2

    def test_sequences_are_those_of_one_sender(self):
        hall = Hall()
        assert hall.send("bob", user(sequence=5))
        assert hall.send("cat", user(sequence=1))

    def test_lossy_packets_and_unnumbered_ones_are_never_repeats(self):
        hall = Hall()
        hall.send("bob", user(sequence=9))
        assert hall.send("bob", user(sequence=1), LOSSY)
        assert hall.send("bob", user())
        assert hall.send("bob", user())

    @given(st.lists(st.integers(1, 30)))
    def test_what_is_forwarded_is_strictly_increasing(self, sequences):
        hall = Hall()
        forwarded = [n for n in sequences if hall.send("bob", user(sequence=n))]
        assert forwarded == sorted(set(forwarded))
        assert not sequences or forwarded[-1] == max(sequences)


class TestMetrics:
    def test_they_reach_only_those_who_may_see_them_the_sender_included(self):
        hall = Hall()
        for name in ("bob", "cat"):
            hall.peers[name].permission.can_subscribe_metrics = True
        assert hall.send("bob", Packet(metrics=metrics_pb.MetricsBatch())).to == [2, 3]
        assert hall.send("ann", Packet(metrics=metrics_pb.MetricsBatch())).to == [2, 3]

    def test_their_times_are_moved_onto_the_servers_clock(self):
        hall = Hall()
        hall.peers["cat"].permission.can_subscribe_metrics = True
        batch = metrics_pb.MetricsBatch(timestamp_ms=10_000)
        batch.time_series.add().samples.add(timestamp_ms=9_000, value=1.5)
        batch.events.add(start_timestamp_ms=8_000, end_timestamp_ms=8_500)
        passed = hall.passed("bob", Packet(metrics=batch)).metrics
        assert passed.normalized_timestamp.ToMilliseconds() == NOW * 1000
        assert passed.time_series[0].samples[0].normalized_timestamp.ToMilliseconds() == NOW * 1000 - 1_000
        assert passed.events[0].normalized_start_timestamp.ToMilliseconds() == NOW * 1000 - 2_000
        assert passed.events[0].normalized_end_timestamp.ToMilliseconds() == NOW * 1000 - 1_500
        assert passed.timestamp_ms == 10_000

    @pytest.mark.parametrize("stamp", [2**63 - 1, -(2**63)])
    def test_an_absurd_clock_does_no_harm(self, stamp):
        hall = Hall()
        hall.peers["cat"].permission.can_subscribe_metrics = True
        batch = metrics_pb.MetricsBatch(timestamp_ms=0)
        batch.time_series.add().samples.add(timestamp_ms=stamp)
        assert hall.passed("bob", Packet(metrics=batch)).metrics.time_series[0].samples[0].timestamp_ms == stamp


class TestRubbish:
    @pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x12\x7f", b"not a packet"])
    def test_what_cannot_be_read_is_dropped(self, payload):
        hall = Hall()
        assert hall.send("bob", payload) is None
        assert hall.router.dropped["malformed"] == 1

    @pytest.mark.parametrize("packet", [Packet(), Packet(speaker=models.ActiveSpeakerUpdate())])
    def test_what_has_no_content_is_dropped(self, packet):
        hall = Hall()
        assert hall.send("bob", packet) is None
        assert hall.router.dropped["unsupported"] == 1

    def test_what_is_too_large_is_dropped(self):
        hall = Hall(limit=1_000)
        assert hall.send("bob", user(b"x" * 998)) is None
        assert hall.send("bob", user(b"x" * 900)) is not None
        assert hall.router.dropped["too_large"] == 1

    def test_data_tracks_are_not_served(self):
        hall = Hall()
        assert hall.send("bob", b"\x00" * 12, "_data_track") is None
        assert hall.router.dropped["data_track"] == 1

    @given(payload=st.binary(max_size=200), label=st.sampled_from([RELIABLE, LOSSY, "x", "_data_track"]))
    def test_no_bytes_break_the_router(self, payload, label):
        outbound = Hall().send("bob", payload, label)
        assert outbound is None or Packet.FromString(outbound.payload).participant_sid == "PA_bob"


def test_another_label_is_a_broadcast_wrapped_for_those_who_know_only_packets():
    hall = Hall()
    outbound = hall.send("bob", b"\x00raw\xff", "my-channel")
    assert (outbound.to, outbound.label) == ([1, 3, 4], RELIABLE)
    packet = Packet.FromString(outbound.payload)
    assert packet.user.payload == b"\x00raw\xff"
    assert (packet.participant_identity, packet.user.participant_identity) == ("bob", "bob")
    assert packet.participant_sid == "PA_bob"


class TestFromTheServer:
    def test_it_goes_to_everybody_without_a_sender(self):
        hall = Hall()
        outbound = hall.router.server_packet(hall.peers, user(kind=Packet.LOSSY))
        assert (outbound.to, outbound.label) == ([1, 2, 3, 4], LOSSY)
        assert Packet.FromString(outbound.payload).participant_identity == ""

    def test_or_to_those_it_names(self):
        hall = Hall()
        assert hall.router.server_packet(hall.peers, user(destination_identities=["cat"])).to == [3]

    def test_a_repeated_nonce_is_sent_once_within_the_last_hundred(self):
        hall = Hall()

        def send(number: int) -> Outbound | None:
            packet = user()
            packet.user.nonce = number.to_bytes(16, "big")
            return hall.router.server_packet(hall.peers, packet)

        assert send(0)
        assert send(0) is None
        assert all(send(number) for number in range(1, 101))
        assert send(0)

    def test_without_a_nonce_everything_is_sent(self):
        hall = Hall()
        assert hall.router.server_packet(hall.peers, user())
        assert hall.router.server_packet(hall.peers, user())


def stream(stream_id: str = "s", topic: str = "lk.agent.session") -> list[Packet]:
    return [
        Packet(stream_header=models.DataStream.Header(stream_id=stream_id, topic=topic)),
        Packet(stream_chunk=models.DataStream.Chunk(stream_id=stream_id, content=b"c")),
        Packet(stream_trailer=models.DataStream.Trailer(stream_id=stream_id)),
    ]


class TestAgentsSessions:
    @pytest.fixture
    def hall(self):
        hall = Hall(protect_sessions=True)
        hall.peers["cat"].is_agent = True
        hall.peers["dan"].permission.can_manage_agent_session = True
        return hall

    def test_only_those_who_may_manage_them_are_told_what_an_agent_says(self, hall):
        assert [hall.send("cat", packet).to for packet in stream()] == [[4]] * 3
        assert [hall.send("dan", packet).to for packet in stream()] == [[3]] * 3

    def test_nobody_else_is_heard_by_an_agent(self, hall):
        assert [hall.send("bob", packet) for packet in stream()] == [None] * 3
        assert hall.router.dropped == {"agent_session": 3}

    def test_every_other_stream_is_for_everybody_also_under_the_same_id(self, hall):
        hall.send("cat", stream("s")[0])
        assert [hall.send("bob", packet).to for packet in stream("s", "lk.chat")] == [[1, 3, 4]] * 3
        for packet in stream("s")[1:]:
            hall.send("cat", packet)
        assert [hall.send("cat", packet).to for packet in stream("s", "lk.transcription")] == [[1, 2, 4]] * 3

    def test_nobody_can_open_streams_without_end(self, hall):
        for number in range(100):
            hall.send("dan", stream(f"{number}")[0])
        assert hall.router.dropped == {"agent_session": 36}
        assert hall.send("cat", stream()[0]).to == [4]

    def test_a_stream_that_stalls_is_ended_for_those_who_receive_it(self, hall):
        header, _, _ = stream()
        header.destination_identities.append("cat")
        hall.send("dan", header)
        assert hall.router.tick(hall.peers, NOW + 9.9) == []
        (end,) = hall.router.tick(hall.peers, NOW + 10)
        packet = Packet.FromString(end.payload)
        assert (end.to, end.label) == ([3], RELIABLE)
        assert (packet.stream_trailer.stream_id, packet.participant_identity) == ("s", "dan")
        assert hall.router.tick(hall.peers, NOW + 99) == []

    def test_a_stream_that_goes_on_or_has_ended_is_left_alone(self, hall):
        for packet in stream("ended"):
            hall.send("dan", packet)
        header, chunk, _ = stream("slow")
        hall.send("dan", header)
        hall.router.route(hall.peers["dan"], hall.peers, RELIABLE, chunk.SerializeToString(), NOW + 9)
        assert hall.router.tick(hall.peers, NOW + 18) == []
        assert len(hall.router.tick(hall.peers, NOW + 19)) == 1

    def test_what_was_never_passed_on_is_not_ended(self, hall):
        hall.send("bob", stream()[0])
        assert hall.router.tick(hall.peers, NOW + 10) == []

    def test_a_room_that_protects_nothing_is_as_livekits(self):
        hall = Hall()
        assert [hall.send("bob", packet).to for packet in stream()] == [[1, 3, 4]] * 3
