"""The nursery: loads all user code once, freezes it, and forks the processes that run it.

It has one thread, no event loop and no media. What it forks shares its memory until one of them writes to it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from greenroom.errors import GreenroomError
from greenroom.pool._model import Failure, Manifest
from greenroom.pool._wire import (
    Fork,
    Forked,
    Load,
    Loaded,
    Loading,
    Quit,
    Reaped,
    Role,
    ShardSettings,
    ToNursery,
    to_nursery,
)
from greenroom.pool.shard._pipe import BlockingPipe
from greenroom.pool.shard._program import Catalog
from greenroom.pool.shard._scope import install_output
from greenroom.pool.shard._upstream import probe

logger = logging.getLogger("greenroom.pool")

#: What the forked processes import: all of it, here, once.
_FORKED: Final = tuple(f"greenroom.pool.shard.{name}" for name in ("_host", "_advisor", "_inference"))
_TITLES: Final = {Role.SHARD: "gr-shard", Role.ADVISOR: "gr-advisor", Role.INFERENCE: "gr-inference"}


@dataclass(frozen=True, slots=True)
class Child:
    """What a forked process is, with the socket that is its own."""

    role: Role
    number: int
    end: socket.socket
    catalog: Catalog
    settings: ShardSettings


class Nursery:
    """Reads what the supervisor says, and does it."""

    def __init__(self, end: socket.socket) -> None:
        self._pipe: BlockingPipe[ToNursery] = BlockingPipe(end, to_nursery)
        self._children: dict[int, int] = {}
        self._wake, self._woken = socket.socketpair()
        self._catalog = Catalog()
        self._settings = ShardSettings()

    def run(self) -> Child | None:
        """Serve until the supervisor is gone or says so. Returns in each forked process too, with what that is."""
        order = self._pipe.receive()
        if not isinstance(order, Load):
            return None
        self._settings = order.shard
        install_output(order.shard)
        self._load(order)
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        while True:
            if not self._pipe.waiting:
                pipe, woken = self._pipe.fileno(), self._woken.fileno()
                readable, _, _ = select.select([pipe, woken], [], [])
                if woken in readable:
                    self._reap()
                if pipe not in readable:
                    continue
            message = self._pipe.receive()
            if message is None or isinstance(message, Quit):
                return None
            if isinstance(message, Fork):
                child = self._fork(message)
                if child is not None:
                    return child

    def _load(self, order: Load) -> None:
        try:
            versions = probe()
        except GreenroomError as error:
            failures = tuple(Failure(source=path, message=str(error)) for path in order.paths)
            self._pipe.send(Loaded(manifest=Manifest(failures=failures, files=order.paths)))
            return
        # It imports livekit.agents: only once that is known to be there.
        from greenroom.pool.shard import _loader  # noqa: PLC0415

        for name in _FORKED:
            importlib.import_module(name)
        # The user's files see the working directory, as `python -m livekit.agents start FILE` has it.
        sys.path.insert(0, str(Path.cwd()))
        loader = _loader.Loader(order.paths, lambda source: self._pipe.send(Loading(source=source)))
        self._catalog = loader.load(order.skip)
        self._catalog.versions = versions
        # From here on no file is to blame for what goes wrong.
        self._pipe.send(Loading(source=""))
        loader.warm(order.shard.options)
        _warn_of_threads()
        gc.collect()
        gc.freeze()
        self._pipe.send(Loaded(manifest=loader.manifest()))

    def _fork(self, order: Fork) -> Child | None:
        descriptors = self._pipe.descriptors(2)
        if len(descriptors) < 2:
            self._pipe.send(Forked(number=order.number, problem="no descriptors came with the order"))
            return None
        try:
            pid = os.fork()
        except OSError as error:
            self._pipe.send(Forked(number=order.number, problem=f"cannot fork: {error.strerror}"))
            pid = -1
        if pid == 0:
            return self._become(order, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid > 0:
            self._children[pid] = order.number
            self._pipe.send(Forked(number=order.number, pid=pid))
        return None

    def _become(self, order: Fork, end: int, output: int) -> Child:
        """Turn this process, just forked, into one of its own."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not SIG_IGN, which would stay with whatever the user's code starts.
            signal.signal(number, _ignore)
        # A group of its own: whoever kills it reaches what it has started.
        with contextlib.suppress(OSError):
            os.setsid()
        for foreign in (self._wake, self._woken, self._pipe):
            foreign.close()
        self._children.clear()
        sys.stdout.flush()
        sys.stderr.flush()
        for stream_number in (1, 2):
            os.dup2(output, stream_number)
        os.close(output)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(f"{_TITLES[order.role]}-{order.number}")
        return Child(order.role, order.number, socket.socket(fileno=end), self._catalog, self._settings)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        # One by one: a child that the user's code started is not ours to take.
        for pid in [*self._children]:
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    number = self._children.pop(pid)
                    self._pipe.send(Reaped(number=number, pid=pid, status=os.waitstatus_to_exitcode(status)))


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass


def _warn_of_threads() -> None:
    """Say which threads will be missing in what is forked: only the one that forks goes on."""
    names = {thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}
    with contextlib.suppress(OSError):
        mine = Path("/proc/self/comm").read_text().strip()
        for task in Path("/proc/self/task").iterdir():
            # Those of numerical libraries bear the process's own name, and survive a fork.
            name = (task / "comm").read_text().strip()
            if name != mine:
                names.add(name)
    if names:
        logger.warning(
            "threads that were started while loading will not run in shards", extra={"threads": sorted(names)}
        )
