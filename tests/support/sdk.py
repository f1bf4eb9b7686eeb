"""The official Python SDK, with its events kept so that tests can wait for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from livekit import rtc

TIMEOUT = 20.0

EVENTS = (
    "active_speakers_changed",
    "connection_state_changed",
    "data_received",
    "disconnected",
    "local_track_subscribed",
    "local_track_unpublished",
    "participant_active",
    "participant_attributes_changed",
    "participant_connected",
    "participant_disconnected",
    "participant_metadata_changed",
    "participant_name_changed",
    "participant_permissions_changed",
    "reconnected",
    "reconnecting",
    "room_metadata_changed",
    "room_updated",
    "sip_dtmf_received",
    "token_refreshed",
    "track_muted",
    "track_published",
    "track_subscribed",
    "track_subscription_failed",
    "track_unmuted",
    "track_unpublished",
    "track_unsubscribed",
    "transcription_received",
)


class Caller:
    """An ``rtc.Room`` and what happened in it, in order."""

    def __init__(self) -> None:
        self.room = rtc.Room()
        #: Event names and arguments, oldest first.
        self.log: list[tuple[str, tuple[Any, ...]]] = []
        self._unread: list[tuple[str, tuple[Any, ...]]] = []
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        for name in EVENTS:
            self.room.on(name, self._recorder(name))

    @property
    def me(self) -> rtc.LocalParticipant:
        """The local participant."""
        return self.room.local_participant

    async def connect(self, url: str, token: str, **options: Any) -> Caller:
        """Join the room that the token names."""
        await self.room.connect(url.replace("http", "ws", 1), token, rtc.RoomOptions(**options))
        return self

    async def event(self, name: str, where: Callable[..., bool] = lambda *_: True, within: float = TIMEOUT) -> Any:
        """Return the arguments of the next event called ``name`` that fits; one argument comes bare."""
        async with asyncio.timeout(within):
            while True:
                for entry in self._unread:
                    if entry[0] == name and where(*entry[1]):
                        self._unread.remove(entry)
                        return entry[1][0] if len(entry[1]) == 1 else entry[1]
                self._arrived.clear()
                await self._arrived.wait()

    def seen(self, name: str) -> list[Any]:
        """Return the arguments of every event called ``name`` so far."""
        return [arguments[0] if len(arguments) == 1 else arguments for kind, arguments in self.log if kind == name]

    async def sees(self, identity: str, where: Callable[[rtc.RemoteParticipant], bool] = lambda _: True) -> Any:
        """Wait until a participant is there and fits; returns it."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                participant = self.room.remote_participants.get(identity)
                if participant is not None and where(participant):
                    return participant
                self._arrived.clear()
                await self._arrived.wait()

    def on_text(self, topic: str) -> asyncio.Queue[tuple[str, str, rtc.TextStreamInfo]]:
        """Collect whole text streams of a topic: sender, text, info."""
        queue: asyncio.Queue[tuple[str, str, rtc.TextStreamInfo]] = asyncio.Queue()

        async def read(reader: rtc.TextStreamReader, identity: str) -> None:
            queue.put_nowait((identity, await reader.read_all(), reader.info))

        self.room.register_text_stream_handler(topic, lambda reader, identity: self._run(read(reader, identity)))
        return queue

    def on_bytes(self, topic: str) -> asyncio.Queue[tuple[str, bytes, rtc.ByteStreamInfo]]:
        """Collect whole byte streams of a topic: sender, content, info."""
        queue: asyncio.Queue[tuple[str, bytes, rtc.ByteStreamInfo]] = asyncio.Queue()

        async def read(reader: rtc.ByteStreamReader, identity: str) -> None:
            queue.put_nowait((identity, b"".join([chunk async for chunk in reader]), reader.info))

        self.room.register_byte_stream_handler(topic, lambda reader, identity: self._run(read(reader, identity)))
        return queue

    async def close(self) -> None:
        """Leave, if still there."""
        await self.room.disconnect()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recorder(self, name: str) -> Callable[..., None]:
        def record(*arguments: Any) -> None:
            self.log.append((name, arguments))
            self._unread.append((name, arguments))
            self._arrived.set()

        return record


@contextlib.asynccontextmanager
async def callers() -> AsyncIterator[Callable[[], Caller]]:
    """Yield a maker of callers that all leave in the end."""
    made: list[Caller] = []

    def make() -> Caller:
        made.append(Caller())
        return made[-1]

    try:
        yield make
    finally:
        await asyncio.gather(*(caller.close() for caller in made))
