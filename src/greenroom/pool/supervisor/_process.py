"""A process of the pool as the supervisor holds it: its socket, its output, its end. Killed by its pid only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from greenroom.pool.supervisor._channel import Channel
from greenroom.pool.supervisor._output import MAX_LINE

_CHUNK: Final = 64 * 1024
#: What a process may have printed that is still in its pipe when it ends: more than a pipe holds.
_LAST_CHUNKS: Final = 32
#: How long a process that has closed its socket may take to end by itself.
_LAST_MOMENT: Final = 1.0

T = TypeVar("T")


class LineReader:
    """Reads what a process prints, line by line. A longer line than :data:`MAX_LINE` is cut in two."""

    def __init__(self, descriptor: int, on_line: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._on_line = on_line
        self._partial = b""
        self._closed = False
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Read what is there, and no more. Idempotent."""
        for _ in range(_LAST_CHUNKS):
            if self._closed or not self._read():
                break
        self._end()

    def _read(self) -> bool:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > MAX_LINE:
            lines.append(self._partial[:MAX_LINE])
            self._partial = self._partial[MAX_LINE:]
        for line in lines:
            self._tell(line)
        return True

    def _tell(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if line:
            self._on_line(line)

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        partial, self._partial = self._partial, b""
        self._tell(partial)


class Process(Generic[T]):
    """A process that has been started or is about to be.

    Its end is known by the kernel's word for it, and only after everything that it said has been read.

    :param ends: our ends of its socket and its output; they are this object's from now on.
    :param on_end: called once, when it is gone; never after :meth:`forget`.
    """

    def __init__(
        self,
        ends: Ends,
        decoder: msgspec.msgpack.Decoder[T],
        *,
        on_message: Callable[[T], None],
        on_line: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.pid = 0
        self.gone = asyncio.Event()
        #: Its exit status, or minus the signal that ended it, once somebody told.
        self.status: int | None = None
        self.killed = False
        self._on_end = on_end
        self._pidfd = -1
        self._channel: Channel[T] = Channel(ends.socket, decoder, on_message, self._hung_up)
        self._output = LineReader(ends.output, on_line)

    def started(self, pid: int) -> None:
        """Its process id is known."""
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.ended()
            return
        self._loop.add_reader(self._pidfd, self.ended)

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send an encoded message."""
        self._channel.send(data, descriptors)

    def kill(self) -> None:
        """End it at once, and what it has started: it leads a group of its own. Idempotent."""
        self.killed = True
        self._signal(signal.SIGKILL)
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def dump_stacks(self) -> None:
        """Have it print what each of its threads is doing: shards answer to that even when no Python code runs."""
        self._signal(signal.SIGUSR1)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def ended(self) -> None:
        """It is gone. Idempotent."""
        if self.gone.is_set():
            return
        self.gone.set()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._channel.finish()
        self._output.close()
        self._on_end()

    def _hung_up(self) -> None:
        # Who closed its socket cannot be told anything any more, so nothing is lost by ending it.
        if self._pidfd >= 0:
            self._loop.call_later(_LAST_MOMENT, self._kill_if_there)
        elif not self.pid:
            self.ended()

    def _kill_if_there(self) -> None:
        if not self.gone.is_set():
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


class Ends:
    """Our ends of a new process's socket and output, and its own, which are closed once it has them."""

    def __init__(self) -> None:
        self.socket, self._their_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.output, self._their_output = os.pipe()

    @property
    def theirs(self) -> tuple[int, int]:
        """Its socket, and what its output is written to."""
        return self._their_socket.fileno(), self._their_output

    def given(self) -> None:
        """It has its ends, so ours see when it closes them."""
        self._their_socket.close()
        os.close(self._their_output)
