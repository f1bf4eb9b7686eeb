"""``greenroom plugins`` beside a plugin of somebody else's, installed as its users install it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.plugin_package import install
from support.program import greenroom, outcome
from support.talking import talk

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
PAGE = (ROOT / "docs" / "plugins.md").read_text()
PROGRAM = """
import asyncio
from types import SimpleNamespace

from greenroom import offline, plugins
from livekit.agents import Agent, AgentSession

COUNT = offline.Rule("how many letters has {word}", tool="count_letters")


async def main():
    agent = Agent(instructions="", tools=[plugins.resolve("tool", "parrot/letters")])
    for llm in (plugins.resolve("llm", "parrot/jack"), plugins.resolve("llm", "offline/llm", rules=[COUNT], latency=0)):
        async with AgentSession(llm=llm) as session:
            await session.start(agent)
            told = await session.run(user_input="how many letters has parrot")
            print([each.item.text_content for each in told.events if each.type == "message"][-1])
            agent = Agent(instructions="", tools=agent.tools)
    observer = plugins.resolve("observer", "parrot/log")
    await observer.on_session_end(SimpleNamespace(tenant="t"), SimpleNamespace(status=SimpleNamespace(value="ok")))


asyncio.run(main())
"""


def path(directory: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(directory)}


CAST = """
from greenroom import plugins
from greenroom.pool import AgentPool
from livekit.agents import Agent


class Repeater(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="", tools=[plugins.resolve("tool", "parrot/letters")])


pool = AgentPool(agent_name="repeater", observers=[plugins.resolve("observer", "parrot/log")])
pool.add("repeater", Repeater, llm="parrot/polly", tts="offline/flite:kal16")

if __name__ == "__main__":
    pool.run()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the example plugin is installed into, offline."""
    target = tmp_path_factory.mktemp("site")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--no-build-isolation"),
            *("--python", sys.executable, "--target", target, EXAMPLE),
        ],
        check=True,
        timeout=60,
    )
    return target


async def test_an_installed_plugin_is_listed_with_its_package_version_and_state(
    installed: Path, tmp_path: Path
) -> None:
    status, lines = await outcome("plugins", "--json", cwd=tmp_path, environment=path(installed))
    assert status == 0
    listed = {each["id"]: each for each in json.loads(lines[0])}
    assert {"offline/llm", "offline/flite", "offline/pocketsphinx", "livekit/vad"} <= listed.keys()
    mine = {name: each["kind"] for name, each in listed.items() if each["package"] == "greenroom-parrot"}
    assert mine == {"parrot": "llm", "parrot/letters": "tool", "parrot/log": "observer"}
    assert {each["version"] for each in listed.values() if each["package"] == "greenroom-parrot"} == {"1.0.0"}
    assert {each["state"] for each in listed.values() if each["package"] == "greenroom-parrot"} == {"ready"}


async def test_its_parts_are_used_by_a_session(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "program.py"),
        cwd=tmp_path,
        env={**os.environ, **path(installed)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().splitlines() == ["jack says how many letters has parrot", "parrot has 6 letters."]


async def test_an_agent_in_a_pool_thinks_and_is_watched_by_its_parts(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "cast.py").write_text(CAST)
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as server:
        at = ("--url", (await server.ready()).replace("http", "ws", 1), "--key", "devkey:secret")
        options = ("--port", "0", "--shards", "1")
        async with greenroom("agents", "cast.py", *at, *options, cwd=tmp_path, environment=path(installed)) as pool:
            await pool.ready()
            status, out, err = await talk("repeater", *at, cwd=tmp_path, lines="hello there\n")
            assert (status, err) == (0, "")
            assert out.splitlines()[-1] == "repeater: polly says hello there"
            assert "llm=greenroom_parrot.Parrot" in await pool.line("a call has begun")
            pool.process.send_signal(signal.SIGINT)
            await pool.line("draining")
            assert await pool.interrupt() == 0
            await pool.line("a call is over")


async def test_a_broken_plugin_is_told_of_and_the_others_work(tmp_path: Path) -> None:
    install(tmp_path, "broken-one", "import nothing_like_it")
    status, lines = await outcome("plugins", "--kind", "tts", cwd=tmp_path, environment=path(tmp_path))
    assert status == 0
    assert lines[0].split() == ["ID", "KIND", "PACKAGE", "VERSION", "STATE", "WHAT"]
    assert lines[1].startswith("offline/flite  tts   greenroom")
    assert "broken" in lines[2]
    assert "broken-one: ModuleNotFoundError: No module named 'nothing_like_it'" in lines[3]
    assert lines[3].endswith("pip uninstall broken-one")


async def test_all_of_one_part_is_shown_and_a_typo_is_one_line(installed: Path, tmp_path: Path) -> None:
    status, lines = await outcome("plugins", "show", "parrot/polly", cwd=tmp_path, environment=path(installed))
    assert status == 0
    assert lines[0] == "parrot  llm"
    assert "  package  greenroom-parrot 1.0.0" in lines
    assert "  takes    model: str = 'polly'" in lines
    status, lines = await outcome("plugins", "show", "parot", cwd=tmp_path, environment=path(installed))
    assert status == 2
    assert lines == ["greenroom: No plugin here has the id 'parot'. Did you mean parrot or parrot/log?"]


def test_the_example_has_no_more_lines_than_it_says() -> None:
    (module,) = EXAMPLE.rglob("*.py")
    assert len(module.read_text().splitlines()) <= 40
    assert "a whole one in 40 lines" in PAGE
