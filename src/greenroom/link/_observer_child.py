"""The observer's process: in many rooms at once, a pipe between agents' sessions and the parent. It decides nothing.

Run as ``python -m greenroom.link._observer_child FD``; FD is a socket to the parent, and when that ends, so does
this. LiveKit's SDK is large and native, which is why it has a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, Final

from livekit import rtc

from greenroom.link._pipe import (
    Arrived,
    Attach,
    Attached,
    Detach,
    Heard,
    Left,
    Report,
    Say,
    Stated,
    commands,
    frame,
    read_frame,
)

TOPIC: Final = "lk.agent.session"
STATUS_TOPIC: Final = "greenroom.status"
CONNECT_TIMEOUT: Final = 15.0
STREAM_TIMEOUT: Final = 10.0
"""How long one message may take to arrive. A stream that is never closed must not stop those behind it."""

MAX_MESSAGE: Final = 16 * 1024 * 1024
MAX_STATUS: Final = 16 * 1024


class _Seat:
    """The observer in one room."""

    def __init__(self, command: Attach, parent: _Parent) -> None:
        self._command = command
        self._parent = parent
        self._room = rtc.Room()
        self._streams: asyncio.Queue[rtc.ByteStreamReader] = asyncio.Queue()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Be in the room until it is over."""
        number = self._command.number
        try:
            reason, detail = await self._attend(), ""
        except Exception as error:
            # Whatever the SDK raises, only this room is concerned.
            reason, detail = "refused", str(error)[:200]
        with contextlib.suppress(Exception):
            await self._room.disconnect()
        await self._parent.tell(Left(number, reason, detail))

    def say(self, payload: bytes) -> None:
        """Send a message to the agent, after those before it."""
        self._outgoing.put_nowait(payload)

    def leave(self, reason: str) -> None:
        """End :meth:`run`."""
        if not self._over.done():
            self._over.set_result(reason)

    async def _attend(self) -> str:
        room, command = self._room, self._command
        room.on("participant_connected", self._on_connected)
        room.on("participant_disconnected", self._on_disconnected)
        room.on("disconnected", self._on_end)
        room.register_byte_stream_handler(TOPIC, self._on_stream)
        room.register_text_stream_handler(STATUS_TOPIC, self._on_text)
        options = rtc.RoomOptions(auto_subscribe=False)
        await asyncio.wait_for(room.connect(command.url, command.token, options), CONNECT_TIMEOUT)
        await self._parent.tell(Attached(command.number, command.agent in room.remote_participants))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listen()), group.create_task(self._speak())]
            reason = await self._over
            for task in tasks:
                task.cancel()
        return reason

    def _on_connected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._command.agent:
            self._parent.run(self._parent.tell(Arrived(self._command.number)))

    def _on_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._command.agent:
            self.leave("left")

    def _on_end(self, reason: Any) -> None:
        ends = {rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED}
        self.leave("ended" if reason in ends else "lost")

    def _on_stream(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        # Sessions answer everybody; what others ask the agent is not ours to hear.
        if identity == self._command.agent:
            self._streams.put_nowait(reader)

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if identity == self._command.agent:
            self._parent.run(self._read_status(reader))

    async def _read_status(self, reader: rtc.TextStreamReader) -> None:
        text = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STREAM_TIMEOUT):
                async for chunk in reader:
                    text += chunk
                    if len(text) > MAX_STATUS:
                        return
                await self._parent.tell(Stated(self._command.number, text))

    async def _listen(self) -> None:
        while True:
            reader = await self._streams.get()
            payload = bytearray()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_TIMEOUT):
                    async for chunk in reader:
                        payload += chunk
                        if len(payload) > MAX_MESSAGE:
                            break
                    else:
                        await self._parent.tell(Heard(self._command.number, bytes(payload)))

    async def _speak(self) -> None:
        while True:
            payload = await self._outgoing.get()
            try:
                await self._room.local_participant.send_bytes(
                    payload,
                    name=f"AS_{self._command.number}",
                    topic=TOPIC,
                    destination_identities=[self._command.agent],
                )
            except Exception:
                # Whoever asked waits for an answer, and not for ever.
                logging.getLogger(__name__).warning("a message to an agent could not be sent")


class _Parent:
    """The way to the parent, and the rooms it asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._seats: dict[int, _Seat] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Do as the parent says, until it has nothing more to say."""
        while (content := await read_frame(self._reader)) is not None:
            command = commands.decode(content)
            if isinstance(command, Attach):
                self.run(self._attend(command))
            elif (seat := self._seats.get(command.number)) is None:
                continue
            elif isinstance(command, Say):
                seat.say(command.payload)
            elif isinstance(command, Detach):
                seat.leave("detached")
        for seat in self._seats.values():
            seat.leave("detached")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    async def tell(self, report: Report) -> None:
        """Tell the parent; waits while it does not keep up."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(frame(report))
            await self._writer.drain()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the rest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, command: Attach) -> None:
        seat = self._seats[command.number] = _Seat(command, self)
        try:
            await seat.run()
        finally:
            del self._seats[command.number]


async def _main(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    await _Parent(reader, writer).serve()


if __name__ == "__main__":
    # Ctrl-C at a terminal reaches the whole group; the parent says when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_main(int(sys.argv[1])))
