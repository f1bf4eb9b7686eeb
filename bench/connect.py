"""How long a participant takes to get in: with the Python SDK, and by signalling alone."""

from __future__ import annotations

import time

from livekit import rtc

from bench._figures import Figure, Options, spread
from bench._process import greenroom, key_option
from bench._wire import joined, new_room, token


async def run(options: Options) -> list[Figure]:
    """Join one fresh room after another."""
    rounds = options.count(200, least=20)
    async with greenroom("server", *key_option()) as running:
        with_sdk = [await _sdk_join(running.signal_url) for _ in range(rounds + 1)][1:]
        by_wire = [await _wire_join(running.signal_url) for _ in range(rounds + 1)][1:]
    return [
        *spread("connect, Python SDK", with_sdk, note=f"{rounds} joins, connect() to connected (ICE, DTLS)"),
        *spread("connect, signalling alone", by_wire, note=f"{rounds} joins, upgrade to join and answer"),
    ]


async def _sdk_join(url: str) -> float:
    name = new_room()
    bearer = token(name, "caller")
    room = rtc.Room()
    began = time.perf_counter()
    await room.connect(url, bearer)
    seconds = time.perf_counter() - began
    await room.disconnect()
    return seconds


async def _wire_join(url: str) -> float:
    began = time.perf_counter()
    async with joined(url, new_room()):
        return time.perf_counter() - began
