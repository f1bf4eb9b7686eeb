"""The way out of one signalling WebSocket: a bounded queue that never makes the room wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.types import Send

from greenroom.server.room import Outgoing

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_MESSAGES: Final = 4096
CLOSE_TIMEOUT: Final = 2.0
#: Connections that begin to write in one turn of the event loop. It takes some 2 ms.
TURN: Final = 50


class Pace:
    """Lets so many connections begin to write in each turn of the event loop.

    What is told to a thousand people at once is written to all of them before the loop does anything else,
    unless they take turns.
    """

    def __init__(self) -> None:
        self._left = TURN
        self._waiting: deque[asyncio.Event] = deque()
        self._scheduled = False

    def wake(self, writer: asyncio.Event) -> None:
        """Set an event: now, or in one of the next turns, after those that wait already."""
        if self._left and not self._waiting:
            self._left -= 1
            writer.set()
        else:
            self._waiting.append(writer)
        self._schedule()

    def _turn(self) -> None:
        self._scheduled = False
        self._left = TURN
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft().set()
        if self._left < TURN:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)


class Outbox:
    """Queues messages for one client and writes them in order.

    :param send: the ASGI channel of an accepted WebSocket.
    :param on_overflow: called once, on the loop's next turn, when the client has fallen too far behind.
    :param pace: shared by all connections that are written to on one event loop.
    """

    def __init__(self, send: Send, on_overflow: Callable[[], None], pace: Pace | None = None) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._pace = pace or Pace()
        self._idle = True
        self._queue: deque[Outgoing] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._gone = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        #: Whether to write text frames: clients are answered in the encoding of their last frame.
        self.text = False

    def send(self, message: Outgoing) -> None:
        """Queue a message. After :meth:`close` it is dropped."""
        if self._closing:
            return
        self._queue.append(message)
        self._bytes += len(message.binary)
        if self._bytes > MAX_BYTES or len(self._queue) > MAX_MESSAGES:
            self._queue.clear()
            self.close()
            asyncio.get_running_loop().call_soon(self._on_overflow)
        elif self._idle:
            self._idle = False
            self._pace.wake(self._wake)

    def close(self) -> None:
        """Close once everything queued has been written, or after 2 s. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        if self._writer is None:
            self._gone.set()
        else:
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._writer.cancel)

    async def wait_closed(self) -> None:
        """Return when the last message has been written or given up."""
        await self._gone.wait()

    def start(self) -> None:
        """Begin to write."""
        self._writer = asyncio.get_running_loop().create_task(self._write())

    def abandon(self) -> None:
        """Stop: the client is gone."""
        self._closing = True
        if self._writer is not None:
            self._writer.cancel()
        self._gone.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._queue:
                    message = self._queue.popleft()
                    self._bytes -= len(message.binary)
                    await self._send(
                        {"type": "websocket.send", "text": message.text}
                        if self.text
                        else {"type": "websocket.send", "bytes": message.binary}
                    )
                if self._closing:
                    break
                self._wake.clear()
                self._idle = True
                await self._wake.wait()
            await self._send({"type": "websocket.close", "code": 1000})
        except OSError:
            # The client is gone; whoever reads from it finds out as well.
            pass
        finally:
            self._gone.set()
