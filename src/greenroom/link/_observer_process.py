"""The observer's process as its parent sees it: started when needed, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from greenroom.errors import MissingExtraError
from greenroom.link._pipe import Command, Report, frame, read_frame, reports

_log = logging.getLogger("greenroom.link.observer")

IDLE: Final = 30.0
"""How long the process stays when it has nothing to do: it takes a second to come back, and a hundred megabytes."""

FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0
_HEALTHY: Final = 60.0
_STOP: Final = 3.0
_MODULE: Final = "greenroom.link._observer_child"


def require_sdk() -> None:
    """Raise :class:`MissingExtraError` when LiveKit's SDK is not installed."""
    try:
        found = importlib.util.find_spec("livekit.rtc")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError("Listening to agents' sessions", "observe")


class ObserverProcess:
    """One child process and the socket to it.

    :param on_report: takes what the child reports, in order; while it is busy the child waits.
    :param on_up: the child is there, and knows of nothing yet.
    :param on_down: the child is gone, and with it every room it was in.
    """

    def __init__(
        self,
        on_report: Callable[[Report], Awaitable[None]],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        self._on_report = on_report
        self._on_up = on_up
        self._on_down = on_down
        self._wanted = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        #: The id of the child while there is one.
        self.pid: int | None = None

    def want(self, needed: bool) -> None:
        """Start the process, or let it end when it stays unneeded."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if needed:
            self._wanted.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._keep())
        elif self._wanted.is_set():
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._release)

    def send(self, command: Command) -> bool:
        """Tell the child something; false when there is none."""
        if self._writer is None:
            return False
        self._writer.write(frame(command))
        return True

    async def aclose(self) -> None:
        """End the process. Idempotent."""
        self._wanted.clear()
        if self._idle is not None:
            self._idle.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _release(self) -> None:
        self._wanted.clear()
        if self._writer is not None:
            self._writer.close()

    async def _keep(self) -> None:
        backoff = FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            began = loop.time()
            await self._run()
            if not self._wanted.is_set():
                continue
            backoff = FIRST_BACKOFF if loop.time() - began > _HEALTHY else backoff
            _log.warning("the observer's process ended and is started again", extra={"after": f"{backoff:g} s"})
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    async def _run(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = process.pid
        telling = asyncio.create_task(_tell(process))
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._on_up()
            while (content := await read_frame(reader)) is not None:
                await self._on_report(reports.decode(content))
        finally:
            if self._writer is not None:
                self._writer.close()
            self._writer = None
            await _stop(process)
            await telling
            self.pid = None
            self._on_down()


async def _tell(process: asyncio.subprocess.Process) -> None:
    """Log what the SDK prints."""
    if process.stderr is None:
        return
    with contextlib.suppress(ValueError):
        async for line in process.stderr:
            _log.debug("observer", extra={"line": line.decode(errors="replace").rstrip()[:500]})


async def _stop(process: asyncio.subprocess.Process) -> None:
    # The end of the socket tells it to leave its rooms.
    try:
        async with asyncio.timeout(_STOP):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
