"""How fast a reliable stream goes from one Python SDK client to another through the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from livekit import rtc

from bench._figures import Figure, Options
from bench._process import PATIENCE, greenroom, key_option, own_cpu_seconds
from bench._wire import new_room, token

TOPIC = "bench"
# What the SDK cuts streams into.
CHUNK = 15_000
# What may be under way. The SDK sends faster than it receives, and a receiver that falls 16 MB behind is given up.
WINDOW = 4_000_000
BYTES = bytes(range(250)) * (CHUNK // 250)
TEXT = "a line of a transcript, 50 characters long, to go\n" * (CHUNK // 50)


class _Receipt:
    """How much of a stream has arrived, and whether it is what was sent."""

    def __init__(self) -> None:
        self.received = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    def on_bytes(self, reader: rtc.ByteStreamReader, _identity: str) -> None:
        self._tasks.append(asyncio.create_task(self._read_bytes(reader)))

    def on_text(self, reader: rtc.TextStreamReader, _identity: str) -> None:
        self._tasks.append(asyncio.create_task(self._read_text(reader)))

    async def _read_bytes(self, reader: rtc.ByteStreamReader) -> None:
        async for part in reader:
            self._count(len(part), intact=part == BYTES)

    async def _read_text(self, reader: rtc.TextStreamReader) -> None:
        async for part in reader:
            self._count(len(part), intact=part == TEXT)

    def _count(self, size: int, *, intact: bool) -> None:
        if not intact:
            raise RuntimeError("the stream did not arrive as it was sent")
        self.received += size
        self._changed.set()

    async def until(self, received: int) -> None:
        """Return when so much has arrived; raise what a reader raised."""
        async with asyncio.timeout(PATIENCE):
            while self.received < received:
                for task in self._tasks:
                    if task.done():
                        task.result()
                self._changed.clear()
                await self._changed.wait()


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
    note = (
        f"{megabytes} MB, both clients in one process, each chunk checked, {WINDOW // 1_000_000} MB under way at most"
    )
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
    receipt = _Receipt()
    receiver.register_byte_stream_handler(TOPIC, receipt.on_bytes)
    began = time.perf_counter()
    writer = await sender.local_participant.stream_bytes("bench.bin", topic=TOPIC)
    return await _pour(lambda: writer.write(BYTES), writer.aclose, receipt, megabytes, began)


async def _text(sender: rtc.Room, receiver: rtc.Room, megabytes: int) -> float:
    receipt = _Receipt()
    receiver.register_text_stream_handler(TOPIC, receipt.on_text)
    began = time.perf_counter()
    writer = await sender.local_participant.stream_text(topic=TOPIC)
    return await _pour(lambda: writer.write(TEXT), writer.aclose, receipt, megabytes, began)


async def _pour(
    write: Callable[[], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
    receipt: _Receipt,
    megabytes: int,
    began: float,
) -> float:
    sent = 0
    while sent < megabytes * 1_000_000:
        await receipt.until(sent - WINDOW)
        await write()
        sent += CHUNK
    await close()
    await receipt.until(sent)
    return sent / 1e6 / (time.perf_counter() - began)
