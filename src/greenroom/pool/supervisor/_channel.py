"""One end of the socket to a nursery or a shard: whole messages in, whole messages out, never waiting.

A peer that does not read fills a queue here and nothing else: what it is told is small, and the watchdog ends it
before the queue grows.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from greenroom.pool._wire import Frames

_CHUNK: Final = 256 * 1024

T = TypeVar("T")


class Channel(Generic[T]):
    """A socket pair's end in this process.

    :param decoder: of what the other side says.
    :param on_message: gets each message, in order.
    :param on_end: called once when the other side is gone, or says what cannot be read; never after :meth:`close`.
    """

    def __init__(
        self,
        end: socket.socket,
        decoder: msgspec.msgpack.Decoder[T],
        on_message: Callable[[T], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = end
        self._decoder = decoder
        self._on_message = on_message
        self._on_end = on_end
        self._frames = Frames()
        self._waiting: deque[tuple[bytes, Sequence[int]]] = deque()
        self._writing = False
        self.closed = False
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._readable)

    @property
    def backlog(self) -> int:
        """How many bytes the other side has not taken yet."""
        return sum(len(data) for data, _ in self._waiting)

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send an encoded message. ``descriptors`` go with it, and are duplicated until they have been sent."""
        if self.closed:
            return
        kept = [os.dup(number) for number in descriptors]
        self._waiting.append((data, kept))
        if not self._writing:
            self._flush()

    def finish(self) -> None:
        """Hear what is still there to be heard, then close. For a process that is gone."""
        while not self.closed and self._readable():
            pass
        self.close()

    def close(self) -> None:
        """Say nothing more and hear nothing more. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        if self._writing:
            self._loop.remove_writer(self._socket.fileno())
        for _, descriptors in self._waiting:
            _close_all(descriptors)
        self._waiting.clear()
        self._socket.close()

    def _readable(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        try:
            messages = [self._decoder.decode(body) for body in self._frames.feed(data)] if data else []
        except (ValueError, msgspec.MsgspecError):
            data, messages = b"", []
        for message in messages:
            if not self.closed:
                self._on_message(message)
        if not data and not self.closed:
            self.close()
            self._on_end()
        return bool(data)

    def _flush(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                sent = self._send(data, descriptors)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # The reader finds out that nobody is there any more.
                _close_all(descriptors)
                self._waiting.clear()
                break
            _close_all(descriptors)
            if sent < len(data):
                self._waiting[0] = (data[sent:], ())
            else:
                self._waiting.popleft()
        wanted = bool(self._waiting)
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._socket.fileno(), self._flush)
            else:
                self._loop.remove_writer(self._socket.fileno())

    def _send(self, data: bytes, descriptors: Sequence[int]) -> int:
        if not descriptors:
            return self._socket.send(data)
        rights = array.array("i", descriptors)
        return self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _close_all(descriptors: Sequence[int]) -> None:
    for number in descriptors:
        os.close(number)
