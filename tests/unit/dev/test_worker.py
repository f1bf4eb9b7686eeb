"""How an agent process is started, and how its end is made sure of."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from greenroom.config import ApiKey
from greenroom.dev._worker import WorkerProcess, worker_command, worker_environment
from greenroom.pool.discovery import AgentFile, Launch
from support.program import none_left

pytestmark = pytest.mark.unit

URL = "ws://127.0.0.1:7880"
KEY = ApiKey(key="mine", secret="of my own, and long enough to sign with")


def command(launch: Launch) -> list[str]:
    agent = AgentFile(path=Path("/srv/desk.py"), name="desk", launch=launch)
    return worker_command(agent, url=URL, cli_address="127.0.0.1:9", log_level="INFO")


def test_a_server_is_started_by_livekit_agents_in_development_mode() -> None:
    assert command(Launch.MODULE) == [
        *(sys.executable, "-m", "livekit.agents", "start", "/srv/desk.py", "--dev"),
        *("--url", URL, "--cli-addr", "127.0.0.1:9", "--log-level", "INFO"),
    ]


def test_a_script_starts_itself_in_development_mode() -> None:
    assert command(Launch.SCRIPT)[:4] == [sys.executable, "/srv/desk.py", "dev", "--no-reload"]


def test_the_secret_is_in_the_environment_and_nowhere_else() -> None:
    environment = worker_environment({}, url=URL, key=KEY, compiled=True)
    assert environment["LIVEKIT_URL"] == URL
    assert environment["LIVEKIT_API_KEY"] == "mine"
    assert environment["LIVEKIT_API_SECRET"] == KEY.secret
    assert not any(KEY.secret in argument for launch in Launch for argument in command(launch))


def test_agents_write_no_bytecode_where_packages_have_theirs() -> None:
    assert worker_environment({}, url=URL, key=KEY, compiled=True)["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in worker_environment({}, url=URL, key=KEY, compiled=False)


def test_a_proxy_is_not_asked_for_the_server_here() -> None:
    base = {"HTTPS_PROXY": "http://proxy:3128", "http_proxy": "http://lower:1", "HTTP_PROXY": "x", "NO_PROXY": "corp"}
    environment = worker_environment(base, url=URL, key=KEY, compiled=True)
    assert "HTTPS_PROXY" not in environment
    assert "HTTP_PROXY" not in environment
    assert environment["https_proxy"] == "http://proxy:3128"
    assert environment["http_proxy"] == "http://lower:1"
    assert environment["no_proxy"] == environment["NO_PROXY"] == "corp,localhost,127.0.0.1,::1"


def test_the_warning_about_the_short_development_secret_is_not_repeated_forever() -> None:
    short = ApiKey(key="devkey", secret="secret")
    base = {"PYTHONWARNINGS": "error::UserWarning"}
    environment = worker_environment(base, url=URL, key=short, compiled=True)
    assert environment["PYTHONWARNINGS"] == "error::UserWarning,ignore:The HMAC key is"
    assert "PYTHONWARNINGS" not in worker_environment({}, url=URL, key=KEY, compiled=True)


class Book:
    """Remembers which process groups are being watched."""

    def __init__(self) -> None:
        self.groups: set[int] = set()

    def watch(self, group: int) -> None:
        self.groups.add(group)

    def forget(self, group: int) -> None:
        self.groups.discard(group)


class Child:
    """A process that runs a little Python, and what it did."""

    def __init__(self) -> None:
        self.book = Book()
        self.lines: list[str] = []
        self.line_came = asyncio.Event()
        self.code: int | None = None

    async def run(self, program: str, mark: str = "") -> WorkerProcess:
        return await WorkerProcess.spawn(
            [sys.executable, "-S", "-c", program], {"MARK": mark}, self.book, self._on_line, self._on_exit
        )

    def _on_line(self, raw: bytes) -> None:
        self.lines.append(raw.decode())
        self.line_came.set()

    def _on_exit(self, code: int, tail: object) -> None:
        self.code = code
        self.tail = tail


async def test_lines_come_whole_and_before_the_end() -> None:
    child = Child()
    program = (
        "import sys; print('a'); print(); print('b', file=sys.stderr, flush=True); print('c', end=''); sys.exit(3)"
    )
    process = await child.run(program)
    await process.gone.wait()
    assert sorted(child.lines) == ["a", "b", "c"]
    assert child.code == 3
    assert child.book.groups == set()


async def test_a_process_leads_a_group_that_is_watched_while_it_lives() -> None:
    child = Child()
    process = await child.run("import time; print('up', flush=True); time.sleep(600)")
    await child.line_came.wait()
    assert os.getpgid(process.pid) == process.pid
    assert child.book.groups == {process.pid}
    await process.terminate()
    assert child.code == -15
    assert child.book.groups == set()


async def test_what_does_not_listen_is_killed() -> None:
    child = Child()
    process = await child.run(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    await child.line_came.wait()
    await process.terminate(grace=0.05)
    assert child.code == -9


async def test_children_end_with_their_parent() -> None:
    child = Child()
    mark = uuid4().hex
    process = await child.run(
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n",
        mark,
    )
    await process.gone.wait()
    assert child.code == 0
    await none_left(mark)
