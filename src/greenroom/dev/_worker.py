"""One agent process: started by exec in its own process group, read line by line, ended as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from greenroom.config import ApiKey
from greenroom.dev._lines import MAX_LINE
from greenroom.pool.discovery import AgentFile, Launch

GRACE: Final = 5.0
_DRAIN: Final = 0.5
_TAIL: Final = 60
_SHORT_SECRET: Final = 32


class Guardian(Protocol):
    """Knows the process groups that must not outlive this program."""

    def watch(self, group: int) -> None:
        """Kill ``group`` should this program die."""
        ...

    def forget(self, group: int) -> None:
        """``group`` is gone."""
        ...


class Guard:
    """The companion process of ``_guard.py``."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("_guard.py")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Kill ``group`` should this program die."""
        self._write(b"+%d\n" % group)

    def forget(self, group: int) -> None:
        """``group`` is gone."""
        self._write(b"-%d\n" % group)

    def close(self) -> None:
        """Let the guard kill what is left and end."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def _write(self, line: bytes) -> None:
        # Unbuffered: a line that waits here would be lost with this process.
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line)
                self._process.stdin.flush()


def worker_command(agent: AgentFile, *, url: str, cli_address: str, log_level: str) -> list[str]:
    """Return the command that runs ``agent`` in livekit-agents' development mode.

    The URL is an argument too: a program that loads a ``.env`` file may change the environment. The key and
    the secret are not, since every user of the machine can read arguments.
    """
    if agent.launch is Launch.SCRIPT:
        return [sys.executable, str(agent.path), "dev", "--no-reload", "--url", url, "--log-level", log_level]
    return [
        *(sys.executable, "-m", "livekit.agents", "start", str(agent.path), "--dev"),
        *("--url", url, "--cli-addr", cli_address, "--log-level", log_level),
    ]


def worker_environment(
    base: Mapping[str, str], *, url: str, key: ApiKey, compiled: bool, observability: str = ""
) -> dict[str, str]:
    """Return the environment of an agent process.

    :param base: the environment it inherits.
    :param observability: where it uploads what it records of its sessions, unless it was told another place.
    :param compiled: whether the installed packages have their bytecode. Then agents write none, so that
        nothing is left beside the person's files.
    """
    environment = {
        **base,
        "LIVEKIT_URL": url,
        "LIVEKIT_API_KEY": key.key,
        "LIVEKIT_API_SECRET": key.secret,
        "PYTHONUNBUFFERED": "1",
    }
    # livekit-agents sends even a loopback connection through HTTPS_PROXY or HTTP_PROXY, and looks at the
    # upper-case names only. HTTP clients read both, and honour no_proxy.
    proxied = False
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        value = environment.pop(name, "")
        if value:
            proxied = True
            environment.setdefault(name.lower(), value)
    if proxied:
        bypass = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        environment["no_proxy"] = environment["NO_PROXY"] = ",".join(filter(None, (bypass, "localhost,127.0.0.1,::1")))
    if len(key.secret) < _SHORT_SECRET:
        # PyJWT warns of the development secret whenever a token is signed.
        given = environment.get("PYTHONWARNINGS")
        environment["PYTHONWARNINGS"] = ",".join(filter(None, (given, "ignore:The HMAC key is")))
    if observability:
        environment.setdefault("LIVEKIT_OBSERVABILITY_URL", observability)
    if compiled:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


class WorkerProcess(asyncio.SubprocessProtocol):
    """A running agent process and its process group."""

    def __init__(
        self,
        guardian: Guardian,
        on_line: Callable[[bytes], None],
        on_exit: Callable[[int, Sequence[str]], None],
    ) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.gone = asyncio.Event()
        self._guardian = guardian
        self._on_line = on_line
        self._on_exit = on_exit
        self._transport: asyncio.SubprocessTransport | None = None
        self._partial = b""
        self._output_ended = asyncio.Event()
        self._settled = asyncio.Event()
        self._reaper: asyncio.Task[None] | None = None

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        guardian: Guardian,
        on_line: Callable[[bytes], None],
        on_exit: Callable[[int, Sequence[str]], None],
    ) -> WorkerProcess:
        """Start ``command``. ``on_exit`` gets the exit status and the last lines, after the last line."""
        loop = asyncio.get_running_loop()
        _, process = await loop.subprocess_exec(
            lambda: cls(guardian, on_line, on_exit),
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        return process

    @property
    def pid(self) -> int:
        """The process, and the process group it leads."""
        if self._transport is None:
            raise RuntimeError("not started")
        return self._transport.get_pid()

    def settle(self) -> None:
        """Say that it has done its starting work."""
        self._settled.set()

    async def settled(self, patience: float) -> None:
        """Wait until it has started or ended, ``patience`` seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), patience)

    async def terminate(self, grace: float = GRACE) -> None:
        """Ask the process to end, and kill what is left of its group after ``grace`` seconds."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), grace)
        if not self.gone.is_set():
            self.kill()
            await self.gone.wait()

    def kill(self) -> None:
        """Kill the whole group now."""
        if not self.gone.is_set() and self._transport is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.SubprocessProtocol`."""
        assert isinstance(transport, asyncio.SubprocessTransport) or hasattr(transport, "get_pid")
        self._transport = transport  # type: ignore[assignment]
        self._guardian.watch(self.pid)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - both pipes are one
        """See :class:`asyncio.SubprocessProtocol`."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > MAX_LINE:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            self._line(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        """See :class:`asyncio.SubprocessProtocol`."""
        self._output_ended.set()

    def process_exited(self) -> None:
        """See :class:`asyncio.SubprocessProtocol`."""
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        # Jobs may hold the pipe open after the worker died, so its end is not waited for long.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output_ended.wait(), _DRAIN)
        assert self._transport is not None
        group, code = self.pid, self._transport.get_returncode()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._guardian.forget(group)
        if self._partial:
            self._line(self._partial)
            self._partial = b""
        self._transport.close()
        self.gone.set()
        self._settled.set()
        self._on_exit(code or 0, tuple(self.tail))

    def _line(self, line: bytes) -> None:
        if line.strip():
            self.tail.append(line[:MAX_LINE].decode(errors="replace"))
            self._on_line(line)

    def _signal(self, number: int) -> None:
        if not self.gone.is_set() and self._transport is not None:
            with contextlib.suppress(ProcessLookupError):
                self._transport.send_signal(number)
