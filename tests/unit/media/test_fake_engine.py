"""What the fake engine has beyond the contract: virtual time, scripted peers, faults."""

from __future__ import annotations

import pytest

from greenroom._media import (
    Channel,
    ChannelOpened,
    EngineConfig,
    FakeEngine,
    MediaEngine,
    TransportClosed,
    TransportConnected,
)
from greenroom.errors import MediaEngineError

pytestmark = pytest.mark.unit


@pytest.fixture
async def events():
    return []


@pytest.fixture
async def engine(events):
    engine = FakeEngine(EngineConfig(send_buffer=1000))
    await engine.start(events.extend)
    return engine


async def connected(engine: FakeEngine, transport: int):
    engine.create_transport(transport)
    peer = engine.peer(transport)
    await engine.accept_offer(transport, peer.offer())
    peer.connect()
    for label in Channel:
        peer.open_channel(label)
    await engine.settle()
    return peer


def test_it_is_a_media_engine():
    engine: MediaEngine = FakeEngine()
    assert engine.port == 0


async def test_auto_connect_brings_a_client_up_with_its_three_channels(events):
    engine = FakeEngine(auto_connect=True)
    await engine.start(events.extend)
    engine.create_transport(1)
    await engine.accept_offer(1, engine.peer(1).offer())
    assert events == []
    await engine.settle()
    assert events == [TransportConnected(1), *(ChannelOpened(1, label) for label in Channel)]


async def test_auto_connect_connects_once(events):
    engine = FakeEngine(auto_connect=True)
    await engine.start(events.extend)
    engine.create_transport(1)
    for audio in (1, 2):
        await engine.accept_offer(1, engine.peer(1).offer(audio=audio, video=0))
    await engine.settle()
    assert events.count(TransportConnected(1)) == 1


async def test_events_of_one_turn_come_in_one_batch():
    batches = []
    engine = FakeEngine()
    await engine.start(batches.append)
    peers = [await connected(engine, transport) for transport in (1, 2)]
    batches.clear()
    for peer in peers:
        peer.send(Channel.RELIABLE, b"one")
        peer.send(Channel.RELIABLE, b"two")
    await engine.settle()
    assert [[event.transport for event in batch] for batch in batches] == [[1, 1, 2, 2]]


async def test_silence_shorter_than_fifteen_seconds_costs_nothing(engine, events):
    peer = await connected(engine, 1)
    peer.go_silent()
    engine.send([1], Channel.RELIABLE, b"kept")
    engine.advance(14.9)
    peer.return_from_silence()
    engine.advance(60)
    await engine.settle()
    assert peer.alive
    assert peer.received == {Channel.RELIABLE: [b"kept"]}


async def test_fifteen_seconds_of_silence_end_the_transport(engine, events):
    peer = await connected(engine, 1)
    peer.go_silent()
    for _ in range(15):
        assert peer.alive
        engine.advance(1)
    await engine.settle()
    assert events[-1] == TransportClosed(1, "ice_timeout")
    assert not peer.alive


async def test_a_fault_costs_one_transport(engine, events):
    first, second = await connected(engine, 1), await connected(engine, 2)
    first.fault("index out of range")
    await engine.settle()
    assert events[-1] == TransportClosed(1, "fault", "index out of range")
    assert second.alive
    assert engine.stats().faults == 1


async def test_a_paused_peer_gets_what_waited_when_it_resumes(engine):
    peer = await connected(engine, 1)
    peer.pause()
    for message in (b"a", b"b"):
        engine.send([1], Channel.RELIABLE, message)
        engine.send([1], Channel.LOSSY, message)
    assert peer.received == {}
    peer.resume()
    engine.send([1], Channel.RELIABLE, b"c")
    assert peer.received == {Channel.RELIABLE: [b"a", b"b", b"c"]}
    assert engine.stats().lossy_dropped == 2


async def test_the_buffer_counts_what_waits_and_not_what_went(engine, events):
    peer = await connected(engine, 1)
    for _ in range(3):
        peer.pause()
        engine.send([1], Channel.RELIABLE, b"." * 900)
        peer.resume()
    await engine.settle()
    assert peer.alive
    peer.pause()
    engine.send([1], Channel.RELIABLE, b"." * 1001)
    await engine.settle()
    assert events[-1] == TransportClosed(1, "overflow")


async def test_what_a_dead_peer_does_has_no_effect(engine, events):
    peer = await connected(engine, 1)
    engine.close_transport(1)
    del events[:]
    for act in (
        peer.connect,
        peer.pause,
        peer.resume,
        peer.go_silent,
        peer.return_from_silence,
        peer.close,
        peer.fault,
    ):
        act()
    peer.open_channel(Channel.LOSSY)
    peer.close_channel(Channel.LOSSY)
    peer.send(Channel.RELIABLE, b"late")
    await engine.settle()
    assert events == []


async def test_a_peer_cannot_connect_before_its_offer_is_answered(engine):
    engine.create_transport(1)
    with pytest.raises(RuntimeError, match="before its offer is answered"):
        engine.peer(1).connect()


async def test_a_channel_waits_for_the_connection(engine, events):
    engine.create_transport(1)
    engine.peer(1).open_channel(Channel.LOSSY)
    await engine.settle()
    assert events == []


async def test_candidates_can_be_read_at_the_peer(engine):
    engine.create_transport(1)
    line = "candidate:1 1 udp 2113937151 127.0.0.1 40000 typ host"
    engine.add_candidate(1, line)
    engine.add_candidate(1, "noise")
    assert engine.peer(1).candidates == (line,)


async def test_an_ice_restart_is_answered_with_new_credentials(engine):
    peer = await connected(engine, 1)
    same = await engine.accept_offer(1, peer.offer())
    restarted = await engine.accept_offer(1, peer.offer(generation=1))
    first = (await engine.accept_offer(1, peer.offer(generation=1))).sdp
    assert restarted.sdp == first
    assert restarted.sdp != same.sdp


async def test_the_same_script_gives_the_same_answer():
    answers = []
    for _ in range(2):
        engine = FakeEngine()
        await engine.start(lambda batch: None)
        engine.create_transport(7)
        answers.append(await engine.accept_offer(7, engine.peer(7).offer()))
    assert answers[0] == answers[1]


async def test_commands_before_start_are_refused():
    with pytest.raises(MediaEngineError, match="not running"):
        FakeEngine().create_transport(1)


async def test_a_transport_number_is_used_once(engine):
    engine.create_transport(1)
    with pytest.raises(MediaEngineError, match="exists already"):
        engine.create_transport(1)


async def test_starting_twice_is_refused(engine):
    with pytest.raises(MediaEngineError, match="already running"):
        await engine.start(lambda batch: None)
