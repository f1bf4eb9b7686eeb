"""What every media engine does for connected clients: the seam's words, sentence by sentence.

The client of ``Str0mEngine`` is aiortc, which shares no code with it.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from greenroom._media import Channel, ChannelClosed, ChannelOpened, DataReceived, EngineStats, TransportConnected
from greenroom.errors import MediaEngineError

pytestmark = pytest.mark.conformance

RELIABLE, LOSSY, DATA_TRACK = Channel.RELIABLE, Channel.LOSSY, Channel.DATA_TRACK


def numbered(count: int, size: int = 100) -> list[bytes]:
    return [f"{number:08}".encode().ljust(size, b".") for number in range(count)]


async def fence(stage, transport: int, peer) -> None:
    """Return when every event that was due before now has been told, as one of another client follows it."""
    seen = len(stage.events.payloads(transport, RELIABLE))
    peer.send(RELIABLE, b"fence")
    await stage.events.until(lambda: len(stage.events.payloads(transport, RELIABLE)) > seen)


async def test_a_connection_is_told_once_and_before_its_channels(stage):
    await stage.join(1)
    events = stage.events.of(1)
    assert events[0] == TransportConnected(1)
    assert events.count(TransportConnected(1)) == 1


async def test_every_channel_is_told_by_its_label(stage):
    await stage.join(1)
    opened = [event for event in stage.events.of(1) if isinstance(event, ChannelOpened)]
    assert sorted(event.label for event in opened) == sorted(Channel)


async def test_events_come_in_batches_on_the_loop_that_started_the_engine(stage):
    where = set()
    collect = stage.events.__call__

    def handler(batch):
        where.add((threading.get_ident(), asyncio.get_running_loop()))
        collect(batch)

    await stage.engine.stop()
    await stage.engine.start(handler)
    await stage.join(1)
    assert where == {(threading.get_ident(), asyncio.get_running_loop())}
    assert all(len(batch) > 0 for batch in stage.events.batches)


@pytest.mark.parametrize("label", list(Channel))
@pytest.mark.parametrize("size", [1, 15_000])
async def test_a_message_from_a_client_arrives_whole(stage, label, size):
    peer = await stage.join(1)
    payload = bytes(range(256)) * 64
    peer.send(label, payload[:size])
    await stage.events.until(lambda: DataReceived(1, label, payload[:size]) in stage.events.of(1))


@pytest.mark.parametrize("label", list(Channel))
@pytest.mark.parametrize("size", [1, 15_000])
async def test_a_message_to_a_client_arrives_whole(stage, label, size):
    peer = await stage.join(1)
    payload = bytes(range(256)) * 64
    stage.engine.send([1], label, payload[:size])
    await peer.until(lambda: peer.received.get(label) == [payload[:size]])


async def test_a_message_of_the_largest_size_arrives_whole_both_ways(stage):
    peer = await stage.join(1)
    payload = b"\x5a" * stage.config.max_message
    stage.engine.send([1], RELIABLE, payload)
    await peer.until(lambda: peer.received.get(RELIABLE) == [payload])
    peer.send(RELIABLE, payload)
    await stage.events.until(lambda: stage.events.payloads(1, RELIABLE) == [payload])


async def test_reliable_messages_from_a_client_keep_their_order(stage):
    peer = await stage.join(1)
    messages = numbered(500)
    for message in messages:
        peer.send(RELIABLE, message)
    await stage.events.until(lambda: len(stage.events.payloads(1, RELIABLE)) == len(messages))
    assert stage.events.payloads(1, RELIABLE) == messages


async def test_reliable_messages_to_a_client_keep_their_order(stage):
    peer = await stage.join(1)
    messages = numbered(500)
    for message in messages:
        stage.engine.send([1], RELIABLE, message)
    await peer.until(lambda: len(peer.received.get(RELIABLE, [])) == len(messages))
    assert peer.received[RELIABLE] == messages


async def test_labels_do_not_mix(stage):
    peer = await stage.join(1)
    for label in Channel:
        stage.engine.send([1], label, str(label).encode())
    await peer.until(lambda: len(peer.received) == 3)
    assert peer.received == {label: [str(label).encode()] for label in Channel}


async def test_one_send_reaches_many_clients(stage):
    peers = [await stage.join(transport) for transport in (1, 2, 3)]
    stage.engine.send([1, 3], RELIABLE, b"for one and three")
    stage.engine.send([1, 2, 3], RELIABLE, b"for all")
    for peer in peers:
        await peer.until(lambda peer=peer: peer.received.get(RELIABLE, [])[-1:] == [b"for all"])
    assert [len(peer.received[RELIABLE]) for peer in peers] == [2, 1, 2]


async def test_reliable_messages_wait_for_the_channel_and_lossy_ones_do_not(stage):
    peer = stage.peer(1)
    messages = numbered(20)
    for message in messages[:10]:
        stage.engine.send([1], RELIABLE, message)
        stage.engine.send([1], LOSSY, message)
    await stage.negotiate(1, peer)
    await stage.events.until(lambda: ChannelOpened(1, LOSSY) in stage.events.of(1))
    await stage.events.until(lambda: ChannelOpened(1, RELIABLE) in stage.events.of(1))
    for message in messages[10:]:
        stage.engine.send([1], RELIABLE, message)
    stage.engine.send([1], LOSSY, b"after")
    await peer.until(lambda: len(peer.received.get(RELIABLE, [])) == 20 and LOSSY in peer.received)
    assert peer.received == {RELIABLE: messages, LOSSY: [b"after"]}


async def test_more_than_the_buffer_may_not_wait_for_a_channel(stage):
    stage.peer(1)
    for message in numbered(200, 1000):
        stage.engine.send([1], RELIABLE, message)
    await stage.events.until(lambda: bool(stage.events.closed(1)))
    assert [event.reason for event in stage.events.closed(1)] == ["overflow"]


async def test_a_reliable_receiver_that_falls_behind_is_closed_and_the_others_are_not(stage):
    slow, quick = await stage.join(1), await stage.join(2)
    slow.pause()
    for sent in range(1, 200):
        if stage.events.closed(1):
            break
        stage.engine.send([1, 2], RELIABLE, b"." * 16_000)
        await quick.until(lambda sent=sent: len(quick.received.get(RELIABLE, [])) == sent)
    await stage.events.until(lambda: bool(stage.events.closed(1)))
    assert [event.reason for event in stage.events.closed(1)] == ["overflow"]
    assert stage.events.of(1)[-1] == stage.events.closed(1)[0]
    stage.engine.send([1, 2], RELIABLE, b"still here")
    await quick.until(lambda: quick.received[RELIABLE][-1] == b"still here")


async def test_a_congested_lossy_receiver_loses_messages_and_stays(stage):
    peer = await stage.join(1)
    peer.pause()
    for message in numbered(400, 10_000):
        stage.engine.send([1], LOSSY, message)
    stage.engine.send([1], RELIABLE, b"kept")
    peer.resume()
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"kept"])
    assert len(peer.received.get(LOSSY, [])) < 400
    assert stage.events.closed(1) == []
    assert stage.engine.stats().lossy_dropped > 0


async def test_unknown_transports_are_ignored(stage):
    peer = await stage.join(1)
    stage.engine.send([97, 1, 98], RELIABLE, b"for who is there")
    stage.engine.close_transport(99)
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"for who is there"])
    assert {event.transport for batch in stage.events.batches for event in batch} == {1}


async def test_sending_to_nobody_is_fine(stage):
    stage.engine.send([], RELIABLE, b"")
    peer = await stage.join(1)
    await fence(stage, 1, peer)


async def test_a_channel_may_end_while_its_transport_lives_on(stage):
    peer = await stage.join(1)
    peer.close_channel(DATA_TRACK)
    await stage.events.until(lambda: ChannelClosed(1, DATA_TRACK) in stage.events.of(1))
    stage.engine.send([1], RELIABLE, b"alive")
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"alive"])
    assert stage.events.of(1).count(ChannelClosed(1, DATA_TRACK)) == 1


async def test_closing_is_idempotent_and_silent(stage):
    await stage.join(1)
    other = await stage.join(2)
    before = stage.events.of(1)
    stage.engine.close_transport(1)
    stage.engine.close_transport(1)
    await fence(stage, 2, other)
    assert stage.events.of(1) == before


async def test_closing_sends_what_can_be_sent_at_once(stage):
    peer = await stage.join(1)
    stage.engine.send([1], RELIABLE, b"last words")
    stage.engine.close_transport(1)
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"last words"])


async def test_a_closed_transport_is_forgotten(stage, first_offer):
    stage.engine.create_transport(1)
    stage.engine.close_transport(1)
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(1, first_offer)


async def test_a_goodbye_closes_with_dtls_once_and_last(stage):
    peer, other = await stage.join(1), await stage.join(2)
    await peer.close()
    await stage.events.until(lambda: bool(stage.events.closed(1)))
    await fence(stage, 2, other)
    assert [event.reason for event in stage.events.closed(1)] == ["dtls"]
    assert stage.events.of(1)[-1] == stage.events.closed(1)[0]


async def test_a_client_that_goes_silent_closes_with_ice_timeout(stage):
    peer, other = await stage.join(1), await stage.join(2)
    peer.vanish()
    await stage.events.until(lambda: bool(stage.events.closed(1)), patience=60)
    await fence(stage, 2, other)
    assert [event.reason for event in stage.events.closed(1)] == ["ice_timeout"]
    assert stage.events.closed(2) == []


async def test_renegotiation_keeps_the_connection(stage):
    peer = await stage.join(1)
    reply = await stage.negotiate(1, peer, more_audio=2)
    assert [part.kind for part in reply.sections].count("audio") == 3
    stage.engine.send([1], RELIABLE, b"after")
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"after"])
    assert stage.events.of(1).count(TransportConnected(1)) == 1


async def test_an_unusable_offer_leaves_the_connection_alone(stage):
    peer = await stage.join(1)
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(1, "v=0\r\nnoise")
    stage.engine.send([1], RELIABLE, b"unharmed")
    await peer.until(lambda: peer.received.get(RELIABLE) == [b"unharmed"])


async def test_stopping_is_idempotent_and_nothing_follows(stage):
    peer = await stage.join(1)
    for message in numbered(50):
        peer.send(RELIABLE, message)
    await stage.engine.stop()
    told = len(stage.events.batches)
    await stage.engine.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(stage.events.batches) == told


async def test_a_stopped_engine_refuses_offers_and_ignores_the_rest(stage, first_offer):
    await stage.join(1)
    await stage.engine.stop()
    stage.engine.send([1], RELIABLE, b"nobody")
    stage.engine.add_candidate(1, "candidate:1 1 udp 2113937151 127.0.0.1 40000 typ host")
    stage.engine.close_transport(1)
    with pytest.raises(MediaEngineError):
        await stage.engine.accept_offer(1, first_offer)


async def test_an_engine_that_was_never_started_stops(stage):
    engine = type(stage.engine)(stage.config)
    await engine.stop()
    assert engine.port == 0


async def test_counters_start_at_zero(stage):
    stats = stage.engine.stats()
    assert stats == EngineStats(extra=stats.extra)


async def test_counters_tell_what_is_alive_and_what_moved(stage):
    peer = await stage.join(1)
    stage.engine.create_transport(2)
    stage.engine.send([1], RELIABLE, b"out")
    await peer.until(lambda: RELIABLE in peer.received)
    await fence(stage, 1, peer)
    stats = stage.engine.stats()
    assert (stats.transports, stats.messages_in, stats.messages_out) == (2, 1, 1)
    assert min(stats.packets_in, stats.packets_out) >= 1
    assert min(stats.bytes_in, stats.bytes_out) >= 3
    assert stats.faults == 0


async def test_a_closed_transport_is_no_longer_counted(stage):
    await stage.join(1)
    other = await stage.join(2)
    stage.engine.close_transport(1)
    await fence(stage, 2, other)
    assert stage.engine.stats().transports == 1
