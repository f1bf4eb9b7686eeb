"""The process's end of the socket to the supervisor: whole messages, told from any thread, read on one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from greenroom.pool._wire import Frames, encode

_CHUNK: Final = 256 * 1024
_DESCRIPTORS: Final = 16

T = TypeVar("T")


class BlockingPipe(Generic[T]):
    """The nursery's end, for a process with one thread and no event loop. Descriptors come along with messages.

    :param decoder: of what the supervisor says.
    """

    def __init__(self, end: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._socket = end
        self._decoder = decoder
        self._frames = Frames()
        self._messages: list[T] = []
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._socket.fileno()

    @property
    def waiting(self) -> bool:
        """Whether :meth:`receive` has a message at hand."""
        return bool(self._messages)

    def receive(self) -> T | None:
        """Wait for a message and return it; ``None`` when the supervisor is gone."""
        while not self._messages:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK, _DESCRIPTORS)
            except OSError:
                return None
            if not data:
                return None
            self._descriptors += descriptors
            self._messages += [self._decoder.decode(body) for body in self._frames.feed(data)]
        return self._messages.pop(0)

    def descriptors(self, count: int) -> list[int]:
        """Return the next descriptors that came along, which are now the caller's; fewer when there are no more."""
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def send(self, message: msgspec.Struct) -> None:
        """Send a message. Nothing is raised when nobody reads it any more: :meth:`receive` tells."""
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(message))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class LoopPipe(Generic[T]):
    """A shard's end, read on the event loop.

    :param on_message: gets each message, in order.
    :param on_end: called once, when the supervisor is gone.
    """

    def __init__(
        self,
        end: socket.socket,
        decoder: msgspec.msgpack.Decoder[T],
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[T], None],
        on_end: Callable[[], None],
    ) -> None:
        self._socket = end
        self._decoder = decoder
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self._frames = Frames()
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._broken = False
        self._drained = asyncio.Event()
        self._drained.set()
        end.setblocking(False)
        loop.add_reader(end.fileno(), self._read)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message, from any thread; what the socket does not take at once follows when it does."""
        data = encode(message)  # type: ignore[arg-type]
        with self._lock:
            if self._broken:
                return
            waited = bool(self._unsent)
            self._unsent += data
            self._push()
            if self._unsent and not waited:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._await_room)

    async def flush(self) -> None:
        """Wait until everything is sent, or nobody reads it any more."""
        with self._lock:
            if self._broken or not self._unsent:
                return
            self._drained.clear()
        await self._drained.wait()

    def close(self) -> None:
        """Close the socket. Idempotent."""
        with self._lock:
            if self._socket.fileno() < 0:
                return
            self._broken = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._drained.set()

    def _push(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken = True
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def _await_room(self) -> None:
        with self._lock:
            if self._unsent and not self._broken:
                self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        with self._lock:
            self._push()
            if not self._unsent:
                self._loop.remove_writer(self._socket.fileno())
                self._drained.set()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            self._on_end()
            return
        for body in self._frames.feed(data):
            self._on_message(self._decoder.decode(body))
