"""One worker's WebSocket: frames in, frames out, neither without bound."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from livekit.protocol import agent
from starlette.websockets import WebSocket, WebSocketDisconnect

_log = logging.getLogger("greenroom.server.agents")

MAX_BAD_FRAMES: Final = 16
MAX_QUEUED_MESSAGES: Final = 4096
MAX_QUEUED_BYTES: Final = 32 * 1024 * 1024

INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
TRY_AGAIN: Final = 1013
CLOSE_TIMEOUT: Final = 2.0
_MAX_CLOSE_REASON: Final = 123


class WorkerLink:
    """Carries messages between the dispatcher and one worker.

    :meth:`send` and :meth:`close` return at once; :meth:`run` does the I/O until either side is done.
    A worker that does not read is cut off when its queue is full.

    :param max_frame: bytes a message from the worker may have.
    """

    def __init__(self, websocket: WebSocket, *, worker_id: str, max_frame: int) -> None:
        self._websocket = websocket
        self._worker_id = worker_id
        self._max_frame = max_frame
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._bad_frames = 0

    def send(self, message: agent.ServerMessage) -> None:
        """Queue a message."""
        if self._closing is not None:
            return
        frame = message.SerializeToString()
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        if len(self._queue) > MAX_QUEUED_MESSAGES or self._queued_bytes > MAX_QUEUED_BYTES:
            _log.warning("worker does not read its messages; disconnecting it", extra={"worker": self._worker_id})
            self._queue.clear()
            self._queued_bytes = 0
            self.close(TRY_AGAIN, "too many messages are waiting")
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close the connection once what is queued has been sent, or after 2 s. Idempotent."""
        if self._closing is not None:
            return
        self._closing = (code, reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore"))
        self._wake.set()
        if self._writer is not None:
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._writer.cancel)

    async def run(self, on_message: Callable[[agent.WorkerMessage], None]) -> None:
        """Carry messages until the connection is over. The WebSocket has been accepted."""
        self._writer = asyncio.create_task(self._write())
        tasks = {self._writer, asyncio.create_task(self._read(on_message))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, (WebSocketDisconnect, OSError, RuntimeError)):
                raise error

    async def _write(self) -> None:
        while True:
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= len(frame)
                await self._websocket.send_bytes(frame)
            if self._closing is not None:
                await self._websocket.close(*self._closing)
                return
            self._wake.clear()
            await self._wake.wait()

    async def _read(self, on_message: Callable[[agent.WorkerMessage], None]) -> None:
        while True:
            event = await self._websocket.receive()
            if event["type"] != "websocket.receive":
                return
            frame = event.get("bytes")
            if frame is None:
                continue
            message = self._decode(frame)
            if message is not None:
                on_message(message)

    def _decode(self, frame: bytes) -> agent.WorkerMessage | None:
        if len(frame) > self._max_frame:
            self._bad_frame(TOO_BIG, "message too big")
            return None
        try:
            return agent.WorkerMessage.FromString(frame)
        except DecodeError:
            self._bad_frame(INVALID_DATA, "not a WorkerMessage")
            return None

    def _bad_frame(self, code: int, reason: str) -> None:
        self._bad_frames += 1
        if self._bad_frames == MAX_BAD_FRAMES:
            _log.warning("worker sends what cannot be read; disconnecting it", extra={"worker": self._worker_id})
            self.close(code, reason)
