"""Drives a nursery and what it forks as a supervisor does, and keeps everything that they say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from greenroom.pool import _wire as wire
from greenroom.pool._model import Manifest

PATIENCE = 60.0
M = TypeVar("M")


class Peer:
    """The supervisor's end of one process: what was said, in order."""

    def __init__(self, end: socket.socket, decoder: Any) -> None:
        self.said: list[Any] = []
        self.end = end
        self._decoder = decoder
        self._news = asyncio.Condition()
        self._unread: list[Any] = []
        end.setblocking(False)
        self._reading = asyncio.create_task(self._read())

    async def next(
        self,
        kind: type[M] | tuple[type[M], ...],
        where: Callable[[M], bool] = lambda _: True,
        within: float = PATIENCE,
    ) -> M:
        """Wait for the next message of a kind that fits, and take it."""
        async with asyncio.timeout(within), self._news:
            while True:
                for message in self._unread:
                    if isinstance(message, kind) and where(message):
                        self._unread.remove(message)
                        return message
                assert not self._reading.done(), f"gone without {kind}: {self.said}"
                await self._news.wait()

    def say(self, message: Any, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message, which is small enough not to wait."""
        data = wire.encode(message)
        sent = socket.send_fds(self.end, [data], descriptors) if descriptors else self.end.send(data)
        assert sent == len(data)

    async def gone(self) -> None:
        """Wait until the process has closed its end."""
        async with asyncio.timeout(PATIENCE):
            await self._reading

    def close(self) -> None:
        """Hang up, as a supervisor that died."""
        self._reading.cancel()
        self.end.close()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        buffer = b""
        while data := await _received(loop, self.end):
            buffer += data
            while len(buffer) >= 4 and len(buffer) >= 4 + (length := int.from_bytes(buffer[:4], "big")):
                message = self._decoder.decode(buffer[4 : 4 + length])
                buffer = buffer[4 + length :]
                async with self._news:
                    self.said.append(message)
                    self._unread.append(message)
                    self._news.notify_all()
        async with self._news:
            self._news.notify_all()


async def _received(loop: asyncio.AbstractEventLoop, end: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await loop.sock_recv(end, 65536)
    return b""


class Process(Peer):
    """A shard, an advisor or an inference process."""

    def __init__(self, end: socket.socket, number: int, output: Path) -> None:
        super().__init__(end, wire.from_shard)
        self.number = number
        self.output = output
        self.pid = 0

    @property
    def printed(self) -> str:
        """Everything on its standard output and error so far."""
        return self.output.read_text()


class NurseryPeer(Peer):
    """A nursery, and what it forks.

    :ivar manifest: what it has loaded.
    """

    manifest: Manifest

    def __init__(self, end: socket.socket, process: asyncio.subprocess.Process, path: Path) -> None:
        super().__init__(end, wire.from_nursery)
        self.process = process
        self.path = path
        self.forked: list[Process] = []

    async def fork(self, role: wire.Role = wire.Role.SHARD, *, ready: bool = True) -> Process:
        """Fork a process, and wait until it is ready."""
        ours, theirs = socket.socketpair()
        number = len(self.forked) + 1
        output = self.path / f"output-{number}"
        with output.open("wb") as file, theirs:
            self.say(wire.Fork(role=role, number=number), (theirs.fileno(), file.fileno()))
            made = Process(ours, number, output)
            self.forked.append(made)
            told = await self.next(wire.Forked, lambda message: message.number == number)
        assert told.pid, told
        made.pid = told.pid
        if ready:
            await made.next(wire.Ready)
        return made


@contextlib.asynccontextmanager
async def nursery(
    path: Path,
    *files: Path,
    skip: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    load: bool = True,
    **settings: Any,
) -> AsyncIterator[NurseryPeer]:
    """Run a nursery that has loaded ``files``; it and everything that it forked are killed afterwards.

    :param path: its working directory, where the output of what it forks is kept too.
    """
    ours, theirs = socket.socketpair()
    clean = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-P", "-m", "greenroom.pool.shard", "--socket", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            cwd=path,
            stdin=asyncio.subprocess.DEVNULL,
            env={**clean, "PYTHONUNBUFFERED": "1", **(environment or {})},
            start_new_session=True,
        )
    peer = NurseryPeer(ours, process, path)
    try:
        peer.say(wire.Load(paths=tuple(str(file) for file in files), skip=skip, shard=wire.ShardSettings(**settings)))
        if load:
            peer.manifest = (await peer.next(wire.Loaded)).manifest
        yield peer
    finally:
        for each in peer.forked:
            each.close()
            if each.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)
        peer.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
