"""The official Python SDK ``livekit`` as a participant, with its events as a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args

from livekit import rtc
from livekit.rtc.room import EventTypes


class Peer:
    """A connected ``rtc.Room``. Events arrive in order; :meth:`next` takes the first one that fits."""

    def __init__(self) -> None:
        self.room = rtc.Room()
        self._events: list[tuple[str, tuple[Any, ...]]] = []
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        for name in get_args(EventTypes):
            self.room.on(name, self._recorder(name))

    @property
    def me(self) -> rtc.LocalParticipant:
        """The participant itself."""
        return self.room.local_participant

    def _recorder(self, name: str) -> Callable[..., None]:
        def record(*args: Any) -> None:
            self.report(name, *args)

        return record

    def report(self, name: str, *args: Any) -> None:
        """Put an event into the queue."""
        self._events.append((name, args))
        self._arrived.set()

    async def next(self, name: str, where: Callable[..., bool] = lambda *_: True, *, within: float = 15) -> Any:
        """Wait for an event, take it and return its argument, or a tuple of several."""
        try:
            async with asyncio.timeout(within):
                while True:
                    for index, (seen, args) in enumerate(self._events):
                        if seen == name and where(*args):
                            del self._events[index]
                            return args[0] if len(args) == 1 else args
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            seen_names = [event for event, _ in self._events]
            raise AssertionError(f"no {name} within {within} s; there were {seen_names}") from None

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of the events of that name that nobody took yet."""
        return [args for event, args in self._events if event == name]

    def hear_text(self, topic: str) -> None:
        """Report each text stream of the topic as ``text(text, identity, info)`` when it is complete."""

        def handle(reader: rtc.TextStreamReader, identity: str) -> None:
            async def read() -> None:
                self.report("text", await reader.read_all(), identity, reader.info)

            self._spawn(read())

        self.room.register_text_stream_handler(topic, handle)

    def hear_bytes(self, topic: str) -> None:
        """Report each byte stream of the topic as ``bytes(content, identity, info)`` when it is complete."""

        def handle(reader: rtc.ByteStreamReader, identity: str) -> None:
            async def read() -> None:
                self.report("bytes", b"".join([chunk async for chunk in reader]), identity, reader.info)

            self._spawn(read())

        self.room.register_byte_stream_handler(topic, handle)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def rtc_peer(url: str, token: str) -> AsyncIterator[Peer]:
    """Join a room; leaves at the end."""
    peer = Peer()
    await peer.room.connect(url, token)
    try:
        yield peer
    finally:
        await peer.room.disconnect()
