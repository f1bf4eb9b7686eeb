"""How fast a reliable byte stream goes from one Python SDK client to another through the server."""

from __future__ import annotations

import asyncio
import time

from livekit import rtc

from bench._figures import Figure, Options
from bench._process import PATIENCE, greenroom, key_option, own_cpu_seconds
from bench._wire import new_room, token

TOPIC = "bench"
# What the SDK cuts streams into.
CHUNK = 15_000


async def run(options: Options) -> list[Figure]:
    """Send one byte stream and one text stream and count what arrives."""
    megabytes = 4 if options.quick else 32
    async with greenroom("server", *key_option()) as running:
        name = new_room()
        sender, receiver = rtc.Room(), rtc.Room()
        await receiver.connect(running.signal_url, token(name, "receiver"))
        await sender.connect(running.signal_url, token(name, "sender"))
        before = running.cpu_seconds(), own_cpu_seconds()
        try:
            speeds = [await _bytes(sender, receiver, megabytes), await _text(sender, receiver, megabytes)]
            work = [running.cpu_seconds() - before[0], own_cpu_seconds() - before[1]]
        finally:
            await sender.disconnect()
            await receiver.disconnect()
    note = f"{megabytes} MB, SDK to SDK, every byte checked"
    return [
        *(
            Figure(f"reliable {kind} stream", speed, "MB/s", note=note)
            for kind, speed in zip(("byte", "text"), speeds, strict=True)
        ),
        *(
            Figure(f"reliable streams, {who}", seconds / (2 * megabytes) * 1000, "ms/MB", note="processor time")
            for who, seconds in zip(("server", "both clients"), work, strict=True)
        ),
    ]


async def _bytes(sender: rtc.Room, receiver: rtc.Room, megabytes: int) -> float:
    payload = bytes(range(250)) * (CHUNK // 250)
    chunks = megabytes * 1_000_000 // CHUNK
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def handler(reader: rtc.ByteStreamReader, _identity: str) -> None:
        async def read() -> None:
            whole = b"".join([part async for part in reader])
            done.set_result(len(whole) if whole == payload * chunks else -1)

        tasks.append(asyncio.create_task(read()))

    tasks: list[asyncio.Task[None]] = []
    receiver.register_byte_stream_handler(TOPIC, handler)
    began = time.perf_counter()
    writer = await sender.local_participant.stream_bytes("bench.bin", topic=TOPIC)
    for _ in range(chunks):
        await writer.write(payload)
    await writer.aclose()
    return await _speed(done, chunks * CHUNK, began)


async def _text(sender: rtc.Room, receiver: rtc.Room, megabytes: int) -> float:
    payload = "a line of a transcript, 50 characters long, to go\n" * (CHUNK // 50)
    chunks = megabytes * 1_000_000 // CHUNK
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def handler(reader: rtc.TextStreamReader, _identity: str) -> None:
        async def read() -> None:
            whole = await reader.read_all()
            done.set_result(len(whole) if whole == payload * chunks else -1)

        tasks.append(asyncio.create_task(read()))

    tasks: list[asyncio.Task[None]] = []
    receiver.register_text_stream_handler(TOPIC, handler)
    began = time.perf_counter()
    writer = await sender.local_participant.stream_text(topic=TOPIC)
    for _ in range(chunks):
        await writer.write(payload)
    await writer.aclose()
    return await _speed(done, chunks * CHUNK, began)


async def _speed(done: asyncio.Future[int], expected: int, began: float) -> float:
    received = await asyncio.wait_for(done, PATIENCE * 2)
    seconds = time.perf_counter() - began
    if received != expected:
        raise RuntimeError("the stream did not arrive as it was sent")
    return received / 1e6 / seconds
