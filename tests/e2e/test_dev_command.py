"""``greenroom dev`` as its user runs it, with real ``livekit-agents`` workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import urllib.request
from pathlib import Path
from uuid import uuid4

import pytest

from support.program import PATIENCE, Program, greenroom, names_in, none_left, outcome, processes_of

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("dev")]

ANY_PORT = ("--port", "0", "--rtc-port", "0")
AGENT = """
from livekit.agents import AgentServer, JobContext
{imports}
server = AgentServer()

@server.rtc_session(agent_name="{name}")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
"""


def write_agent(path: Path, name: str, imports: str = "") -> None:
    """Save an agent as editors do: a new file takes the place of the old one."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(AGENT.format(name=name, imports=imports))
    fresh.replace(path)


def marked() -> tuple[str, dict[str, str]]:
    """Return what every process of one test carries in its environment."""
    mark = uuid4().hex
    return mark, {"GREENROOM_TEST_MARK": mark}


async def agents_of(url: str) -> list[dict[str, str]]:
    with await asyncio.to_thread(urllib.request.urlopen, f"{url}/api/agents") as response:
        agents: list[dict[str, str]] = json.load(response)["agents"]
        return agents


async def registered(program: Program, name: str, *, after: int = 0) -> int:
    """Wait until the agent is there and return how many lines had been said."""
    await program.line(rf"dev +agent {name} registered", after=after)
    return len(program.lines)


async def test_without_a_path_the_packaged_example_answers(tmp_path: Path) -> None:
    mark, environment = marked()
    async with greenroom("dev", *ANY_PORT, cwd=tmp_path, environment=environment) as program:
        url = await program.ready()
        await registered(program, "front-desk")
        assert [(agent["name"], agent["state"]) for agent in await agents_of(url)] == [("front-desk", "ready")]
        assert await program.interrupt() == 0
    await none_left(mark)
    assert names_in(tmp_path) == [".greenroom"]


async def test_every_agent_of_a_directory_runs_and_nothing_else(tmp_path: Path) -> None:
    write_agent(tmp_path / "one.py", "one")
    (tmp_path / "more").mkdir()
    write_agent(tmp_path / "more" / "two.py", "two")
    (tmp_path / "tool.py").write_text("print('no agent')\n")
    (tmp_path / ".venv").mkdir()
    write_agent(tmp_path / ".venv" / "three.py", "three")
    async with greenroom("dev", ".", *ANY_PORT, cwd=tmp_path) as program:
        await program.ready()
        await registered(program, "one")
        await registered(program, "two")
        assert await program.interrupt() == 0
        assert not [line for line in program.lines if "three" in line or "Traceback" in line]


async def test_agents_come_and_go_with_their_files(tmp_path: Path) -> None:
    write_agent(tmp_path / "one.py", "one")
    async with greenroom("dev", ".", *ANY_PORT, cwd=tmp_path) as program:
        url = await program.ready()
        said = await registered(program, "one")
        (tmp_path / "more").mkdir()
        write_agent(tmp_path / "more" / "two.py", "two")
        said = await registered(program, "two", after=said)
        (tmp_path / "one.py").unlink()
        await program.line("new code is in service .*gone=.*one", after=said)
        await program.line("worker disconnected .*agent_name=one", after=said)
        assert [agent["name"] for agent in await agents_of(url)] == ["two"]
        assert await program.interrupt() == 0


async def test_saving_the_agent_or_its_helper_restarts_it(tmp_path: Path) -> None:
    mark, environment = marked()
    helper = tmp_path / "helper.py"
    helper.write_text("GREETING = 'hello'\n")
    write_agent(tmp_path / "desk.py", "first", "import helper")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path, environment=environment) as program:
        url = await program.ready()
        said = await registered(program, "first")

        write_agent(tmp_path / "desk.py", "second", "import helper")
        await program.line("loading the new code .*desk.py", after=said)
        said = await registered(program, "second", after=said)
        assert [agent["name"] for agent in await agents_of(url)] == ["second"]

        helper.write_text("GREETING = 'good day'\n")
        await program.line("new code is in service .*changed=.*second", after=said)
        assert await program.interrupt() == 0
    await none_left(mark)


async def test_a_syntax_error_is_one_line_and_the_running_version_stays(tmp_path: Path) -> None:
    agent = tmp_path / "desk.py"
    write_agent(agent, "desk")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path) as program:
        url = await program.ready()
        said = await registered(program, "desk")
        agent.write_text("def broken(:\n")
        line = await program.line("ERROR", after=said)
        assert "a file is not in service, its version before goes on  file=desk.py:1 why=" in line
        assert "invalid syntax" in line
        assert [agent["state"] for agent in await agents_of(url)] == ["ready"]
        said = len(program.lines)
        write_agent(agent, "mended")
        await registered(program, "mended", after=said)
        assert await program.interrupt() == 0


async def test_an_agent_that_cannot_start_is_one_line_and_waits_for_the_next_save(tmp_path: Path) -> None:
    agent = tmp_path / "desk.py"
    write_agent(agent, "desk", "import livekit.plugins.no_such_provider")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path) as program:
        url = await program.ready()
        line = await program.line("ERROR")
        assert "a file is not in service  file=desk.py:3 why=" in line
        assert "pip install livekit-plugins-no-such-provider" in line
        assert [agent["state"] for agent in await agents_of(url)] == ["failed"]
        write_agent(agent, "desk")
        await registered(program, "desk")
        assert await program.interrupt() == 0
        assert not [line for line in program.lines if "Traceback" in line]


async def test_a_shard_that_dies_is_replaced(tmp_path: Path) -> None:
    mark, environment = marked()
    write_agent(tmp_path / "desk.py", "desk")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path, environment=environment) as program:
        await program.ready()
        said = await registered(program, "desk")
        shard = shard_of(mark)
        os.kill(shard, signal.SIGKILL)
        await program.line(r"pool +ERROR a process of the pool has ended", after=said)
        await asyncio.to_thread(wait_for_another, mark, shard)
        assert await program.interrupt() == 0
    await none_left(mark)


async def test_a_broken_file_without_reloading_ends_it_with_exit_2(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text("from livekit.agents import AgentServer\nserver = AgentServer(\n")
    async with greenroom("dev", "desk.py", "--no-reload", *ANY_PORT, cwd=tmp_path) as program:
        line = await program.line("ERROR")
        assert "file=desk.py:2" in line
        assert "'(' was never closed" in line
        assert await program.ended() == 2


async def test_killing_it_outright_leaves_no_agent_behind(tmp_path: Path) -> None:
    mark, environment = marked()
    write_agent(tmp_path / "desk.py", "desk")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path, environment=environment) as program:
        await program.ready()
        await registered(program, "desk")
        assert len(processes_of(mark)) > 2
        program.process.kill()
    await none_left(mark)


async def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    mark, environment = marked()
    write_agent(tmp_path / "desk.py", "desk", "import atexit, time\natexit.register(time.sleep, 600)")
    async with greenroom("dev", "desk.py", *ANY_PORT, cwd=tmp_path, environment=environment) as program:
        await program.ready()
        await registered(program, "desk")
        program.process.send_signal(signal.SIGINT)
        await program.line("stopping")
        assert await program.interrupt() == 130
    await none_left(mark)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "'nowhere' does not exist. Pass an agent's file or a directory that holds agents"),
        ("notes.txt", "'notes.txt' is not a Python file. Pass an agent's .py file or a directory"),
        ("empty", "No LiveKit agent found under 'empty'. An agent file imports livekit.agents"),
    ],
)
async def test_a_wrong_path_is_one_line(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    status, lines = await outcome("dev", path, *ANY_PORT, cwd=tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"greenroom: {said}")
    assert not (tmp_path / ".greenroom").exists()


async def test_a_taken_port_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        status, lines = await outcome("dev", "--port", str(port), "--rtc-port", "0", cwd=tmp_path)
    assert status == 2
    assert len(lines) == 1
    assert f"TCP port {port} on 127.0.0.1 is already in use" in lines[0]
    assert not (tmp_path / ".greenroom").exists()


async def test_without_livekit_agents_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'livekit.agents':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    status, lines = await outcome("dev", *ANY_PORT, cwd=tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    assert (status, lines) == (
        2,
        ["greenroom: greenroom dev needs the 'agents' extra. Run: pip install 'greenroom[agents]'"],
    )


def shard_of(mark: str) -> int:
    """Return the process that runs the agents' calls; 0 while there is none."""
    shards = [pid for pid in processes_of(mark) if Path(f"/proc/{pid}/comm").read_text().startswith("gr-shard")]
    return shards[0] if shards else 0


def wait_for_another(mark: str, shard: int) -> None:
    """Wait until another shard has taken a shard's place. A process that is not ours tells nobody: ask again."""
    deadline = time.monotonic() + PATIENCE
    while shard_of(mark) in {0, shard}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
