"""The process that loads user code and forks what runs it. One that a file brings down is started again without it."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from greenroom.errors import GreenroomError
from greenroom.pool._model import Failure, Manifest
from greenroom.pool._wire import (
    Fork,
    Forked,
    FromNursery,
    Load,
    Loaded,
    Loading,
    Quit,
    Reaped,
    Role,
    ShardSettings,
    encode,
    from_nursery,
)
from greenroom.pool.discovery import shown
from greenroom.pool.supervisor import _environment
from greenroom.pool.supervisor._output import Output, read_line
from greenroom.pool.supervisor._process import Ends, Process

_log = logging.getLogger("greenroom.pool")

_TAIL: Final = 20
_QUIT_WITHIN: Final = 2.0


class Forks:
    """What is told of the processes that a nursery forks."""

    def forked(self, message: Forked) -> None:
        """A process was forked, or could not be."""

    def reaped(self, message: Reaped) -> None:
        """A process has ended."""

    def nursery_ended(self, nursery: Nursery) -> None:
        """The nursery has ended, unasked, after it had loaded."""


class Nursery:
    """One generation's nursery.

    :param environment: with which it and all its forks run.
    :param load_timeout: seconds that one file may take to load.
    """

    def __init__(
        self,
        generation: int,
        forks: Forks,
        *,
        environment: Mapping[str, str],
        load_timeout: float,
        on_output: Callable[[Output], None],
    ) -> None:
        self.generation = generation
        self._forks = forks
        self._environment = dict(environment)
        self._load_timeout = load_timeout
        self._on_output = on_output
        self._process: Process[FromNursery] | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._news = asyncio.Event()
        self._loading = ""
        self._loaded: Manifest | None = None
        self._quitting = False
        self._tail: deque[str] = deque(maxlen=_TAIL)

    @property
    def pid(self) -> int:
        """Its process id; 0 when there is none."""
        return self._process.pid if self.alive and self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._process is not None and not self._process.gone.is_set()

    async def load(self, paths: Sequence[str], shard: ShardSettings) -> Manifest:
        """Start it and return what it has loaded; files that end or hang it are failures.

        :raises GreenroomError: when it does not come up for another reason.
        """
        failures: list[Failure] = []
        while True:
            skip = tuple(failure.source for failure in failures)
            self._start(Load(paths=tuple(paths), skip=skip, shard=shard))
            problem = await self._wait()
            if self._loaded is not None:
                manifest = self._loaded
                return msgspec.structs.replace(manifest, failures=(*failures, *manifest.failures))
            if not self._loading or self._loading in skip:
                raise self._broken(problem)
            failures.append(Failure(source=self._loading, message=problem))
            _log.error("a file ends what loads it, going on without it", extra={"file": self._loading, "why": problem})

    def fork(self, role: Role, number: int, ends: Ends) -> None:
        """Ask for a process. :meth:`Forks.forked` tells; an end of its socket tells when the nursery has died."""
        if self.alive and self._process is not None:
            self._process.send(encode(Fork(role=role, number=number)), ends.theirs)
        ends.given()

    async def quit(self) -> None:
        """End it; what it has forked lives on. Idempotent."""
        self._quitting = True
        if self._process is None:
            return
        if not self._process.gone.is_set():
            self._process.send(encode(Quit()))
            try:
                async with asyncio.timeout(_QUIT_WITHIN):
                    await self._process.gone.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.gone.wait()

    def _start(self, load: Load) -> None:
        self._loading, self._loaded = "", None
        self._news = asyncio.Event()
        self._tail.clear()
        ends = Ends()
        descriptor, output = ends.theirs
        # It leads a session of its own: Ctrl-C is for who asked, and the supervisor tells the rest.
        self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            _environment.nursery_command(descriptor),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        self._process = Process(ends, from_nursery, on_message=self._received, on_line=self._line, on_end=self._ended)
        self._process.started(self._popen.pid)
        ends.given()
        self._process.send(encode(load))

    async def _wait(self) -> str:
        """Wait until it has loaded or ended; return why it has not loaded."""
        process = self._process
        assert process is not None
        while self._loaded is None and not process.gone.is_set():
            self._news.clear()
            try:
                async with asyncio.timeout(self._load_timeout):
                    await self._news.wait()
            except TimeoutError:
                process.kill()
                await process.gone.wait()
                return f"it did not load within {self._load_timeout:g} s"
        return f"it ended the process that loads it{how_it_ended(process.status)}" if self._loaded is None else ""

    def _broken(self, problem: str) -> GreenroomError:
        last = "\n".join(self._tail)
        return GreenroomError(
            f"The process that loads the agents did not start: {problem}" + (f"\n{last}" if last else ""),
            fix="Its last lines say why",
        )

    def _received(self, message: FromNursery) -> None:
        match message:
            case Loading(source=source):
                self._loading = source
                if source:
                    _log.info("loading", extra={"file": shown(Path(source))})
            case Loaded(manifest=manifest):
                self._loading, self._loaded = "", manifest
            case Forked():
                self._forks.forked(message)
            case Reaped():
                self._forks.reaped(message)
        self._news.set()

    def _line(self, line: bytes) -> None:
        output = read_line(line, shard=None, generation=self.generation)
        self._tail.append(output.text)
        self._on_output(output)

    def _ended(self) -> None:
        assert self._popen is not None
        assert self._process is not None
        self._process.status = self._popen.wait()
        self._news.set()
        if self._loaded is not None and not self._quitting:
            _log.error("the nursery has ended", extra={"status": self._process.status})
            self._forks.nursery_ended(self)


def how_it_ended(status: int | None) -> str:
    """Return how a process ended, to stand behind that it did; nothing when that is not known."""
    if status is None:
        return ""
    if status >= 0:
        return f" (status {status})"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f" ({name})"
