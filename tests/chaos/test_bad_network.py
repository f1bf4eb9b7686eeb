"""Calls over a network that loses, repeats and reorders: they go on, and nothing is left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from livekit import rtc

from support.crowd import MIC
from support.relay import ADDRESS, CALM, Relay, Weather, relay
from support.sdk import Caller, callers
from support.signal_client import token
from support.sound import Ear, measure, tone
from support.watched_server import WatchedServer, watched_server

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

WEATHERS = (
    Weather(lost=0.08),
    Weather(repeated=0.1),
    Weather(late=0.1),
    Weather(lost=0.05, repeated=0.05, late=0.05),
)
MESSAGES = 200
WINDOWS = 10


@dataclass
class Network:
    """A server, and the only way to its media."""

    server: WatchedServer
    relay: Relay


@pytest.fixture
async def network(request) -> AsyncIterator[Network]:
    async with watched_server(ADDRESS) as server, relay(server.media_port, seed=request.node.name) as way:
        yield Network(server, way)


async def listen(ear: Ear, hz: float) -> int:
    """Return how many of the next windows hold a tone."""
    pitches = [measure(await ear.take())[0] for _ in range(WINDOWS)]
    return sum(abs(pitch - hz) <= 10 for pitch in pitches)


async def talk(alice: Caller, bob: Caller) -> list[int]:
    """Send reliable messages; returns what arrives up to the last of them."""
    begin = len(bob.seen("data_received"))
    for number in range(MESSAGES):
        await alice.me.publish_data(str(number), reliable=True)

    def is_last(packet: rtc.DataPacket) -> bool:
        return packet.data == str(MESSAGES - 1).encode()

    await bob.event("data_received", is_last)
    return [int(packet.data) for packet in bob.seen("data_received")[begin:]]


async def call(network: Network, weathers: Sequence[Weather]) -> None:
    """Let alice play to bob and send him numbered messages, in one weather after the other."""
    async with callers() as make, tone(440) as sound:
        alice = await make().connect(network.server.url, token("alice"))
        bob = await make().connect(network.server.url, token("bob"))
        await alice.me.publish_track(sound, MIC)
        track, _, _ = await bob.event("track_subscribed")
        ear = Ear(track)
        for weather in weathers:
            network.relay.weather = weather
            await ear.hears(440)
            heard, numbers = await asyncio.gather(listen(ear, 440), talk(alice, bob))
            assert heard >= 0.8 * WINDOWS, weather
            assert numbers == list(range(MESSAGES)), weather
        network.relay.weather = CALM
        await ear.hears(440)
        await ear.close()


async def test_audio_goes_on_every_message_arrives_once_and_nothing_is_left(network):
    await call(network, [CALM])
    await network.server.is_left()
    before = await network.server.holdings()
    network.relay.counts.clear()

    await call(network, WEATHERS)

    assert min(network.relay.counts[what] for what in ("lost", "repeated", "late")) > 20, network.relay.counts
    await network.server.is_left()
    (await network.server.holdings()).assert_no_more_than(before)
