"""What a nursery makes of user files, whatever their shape, and of those that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from greenroom.pool._model import Failure, Kind, Manifest
from support.pool_nursery import nursery

pytestmark = pytest.mark.conformance

SERVER = """
from livekit.agents import AgentServer, JobContext, cli
server = AgentServer()
@server.rtc_session({options})
async def entrypoint(ctx: JobContext) -> None: ...
"""


def write(path: Path, **files: str) -> list[Path]:
    written = []
    for name, text in files.items():
        file = path / f"{name.replace('__', '/', 1)}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        written.append(file)
    return written


async def loaded(path: Path, *files: Path, **options: Any) -> Manifest:
    async with nursery(path, *files, **options) as made:
        return made.manifest


def named(manifest: Manifest) -> dict[str, tuple[str, str]]:
    assert not manifest.failures, manifest.failures
    return {agent.name: (Path(agent.source).stem, agent.dispatch) for agent in manifest.agents}


def failed(manifest: Manifest, file: Path) -> Failure:
    (failure,) = [failure for failure in manifest.failures if failure.source == str(file)]
    return failure


async def test_programs_of_every_shape_enter_service(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        plain=SERVER.format(options="agent_name='plain'"),
        unnamed=SERVER.format(options=""),
        several=SERVER.format(options="agent_name='one'")
        + "second = AgentServer()\n@second.rtc_session(agent_name='two')\nasync def other(ctx): ...\n",
        script="from livekit.agents import WorkerOptions, cli\nasync def entrypoint(ctx): ...\n"
        "def main():\n    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, agent_name='script'))\n"
        "if __name__ == '__main__':\n    main()\n",
        guarded="from livekit.agents import AgentServer, cli\nserver = AgentServer()\n"
        "if __name__ == '__main__':\n"
        "    server.rtc_session(lambda ctx: None, agent_name='guarded')\n    cli.run_app(server)\n",
        local="from livekit.agents import AgentServer, cli\n"
        "def main():\n    server = AgentServer()\n    @server.rtc_session(agent_name='local')\n"
        "    async def entrypoint(ctx): ...\n    cli.run_app(server)\nif __name__ == '__main__':\n    main()\n",
        pkg____init__="",
        pkg__inside="from .words import NAME\n" + SERVER.format(options="agent_name=NAME"),
        pkg__words="NAME = 'inside'\n",
        email=SERVER.format(options="agent_name='shadow'"),
    )
    wanted = [file for file in files if file.stem not in {"__init__", "words"}]
    manifest = await loaded(tmp_path, *wanted)
    assert named(manifest) == {
        "plain": ("plain", "plain"),
        "unnamed": ("unnamed", ""),
        "one": ("several", "one"),
        "two": ("several", "two"),
        "script": ("script", "script"),
        "guarded": ("guarded", "guarded"),
        "local": ("local", "local"),
        "inside": ("inside", "inside"),
        "shadow": ("email", "shadow"),
    }
    assert str(tmp_path / "pkg/words.py") in manifest.files
    assert {agent.kind for agent in manifest.agents} == {Kind.PROGRAM}
    assert set(manifest.versions) == {"livekit-agents", "livekit"}


async def test_classes_and_pools_enter_service(tmp_path: Path) -> None:
    agent = (
        "from livekit.agents import Agent\n"
        "class Front(Agent):\n    def __init__(self): super().__init__(instructions='x')\n"
    )
    files = write(
        tmp_path,
        front=agent,
        pool=agent + "from greenroom.pool import AgentPool\n"
        "def main():\n    pool = AgentPool(max_concurrent_sessions=7, router=lambda m: None)\n"
        "    pool.add('billing', Front, capabilities=['pay'])\n    pool.run()\n"
        "if __name__ == '__main__':\n    main()\n",
    )
    manifest = await loaded(tmp_path, *files)
    assert named(manifest) == {"front": ("front", ""), "billing": ("pool", "")}
    assert {agent.kind for agent in manifest.agents} == {Kind.CLASS}
    assert (manifest.options.max_sessions, manifest.options.routes) == (7, True)
    assert manifest.agents[1].capabilities == ("pay",)


async def test_a_broken_file_says_where_and_keeps_nobody_back(tmp_path: Path) -> None:
    good, *_ = write(tmp_path, good=SERVER.format(options="agent_name='good'"))
    broken = write(
        tmp_path,
        syntax="x = 1\ndef broken(:\n",
        raises="import livekit.agents\n\nraise ValueError('no key')\n",
        helped="import helper\n",
        leaves="import livekit.agents, sys\nsys.exit(3)\n",
        plugin="from livekit.plugins import nonesuch_maker\n",
        lacks="import livekit.agents\nimport no_such_thing\n",
        empty="import livekit.agents\n",
        half="from livekit.agents import AgentServer\nserver = AgentServer()\n",
        fussy="from livekit.agents import Agent\nclass Fussy(Agent):\n    def __init__(self):\n"
        "        super().__init__(instructions='x')\n        raise RuntimeError('cannot be made')\n",
    )
    write(tmp_path, helper="\n\nboom()\n")
    manifest = await loaded(tmp_path, *broken[:5], good, *broken[5:])
    assert [agent.name for agent in manifest.agents] == ["good"]
    told = {file.stem: failed(manifest, file) for file in broken}
    assert {name: failure.line for name, failure in told.items()} == {
        "syntax": 2,
        "raises": 3,
        "helped": 1,
        "leaves": 2,
        "plugin": 1,
        "lacks": 2,
        "empty": 0,
        "half": 0,
        "fussy": 5,
    }
    assert "no key" in told["raises"].message
    assert told["raises"].traceback.splitlines()[1].strip().startswith(f'File "{tmp_path}/raises.py", line 3')
    assert told["helped"].message == "helper.py:3: NameError: name 'boom' is not defined"
    assert "pip install livekit-plugins-nonesuch-maker" in told["plugin"].message
    assert "no_such_thing" in told["lacks"].message
    assert "ends itself with 3" in told["leaves"].message
    assert "AgentServer" in told["empty"].message
    assert "@server.rtc_session()" in told["half"].message
    assert "cannot be made" in told["fussy"].message


async def test_a_module_name_that_means_two_files_is_told_with_both(tmp_path: Path) -> None:
    text = "import helper\n" + SERVER.format(options="agent_name=helper.NAME")
    first, _, second, _ = write(
        tmp_path, a__agent=text, a__helper="NAME = 'a'\n", b__agent=text, b__helper="NAME = 'b'\n"
    )
    manifest = await loaded(tmp_path, first, second)
    assert [agent.name for agent in manifest.agents] == ["a"]
    message = failed(manifest, second).message
    assert "b/helper.py" in message
    assert "a/helper.py" in message


async def test_a_name_that_is_taken_is_told_with_who_has_it(tmp_path: Path) -> None:
    text = SERVER.format(options="agent_name='same'")
    first, second = write(tmp_path, first=text, second=text)
    manifest = await loaded(tmp_path, first, second)
    assert failed(manifest, second).message == "the agent 'same' is in first.py already"


async def test_unnamed_agents_are_called_after_their_files_and_directories(tmp_path: Path) -> None:
    text = SERVER.format(options="")
    files = write(tmp_path, sales__agent=text, support__agent=text, desk=text + text.replace("server", "other"))
    manifest = await loaded(tmp_path, *files)
    assert [agent.name for agent in manifest.agents] == ["sales-agent", "support-agent", "desk", "desk-2"]


async def test_what_a_second_file_imports_from_the_first_is_the_firsts(tmp_path: Path) -> None:
    first, second = write(
        tmp_path,
        first=SERVER.format(options="agent_name='same'"),
        second="from livekit.agents import cli\nfrom first import server\n"
        "if __name__ == '__main__':\n    cli.run_app(server)\n",
    )
    assert named(await loaded(tmp_path, first, second)) == {"same": ("first", "same")}


async def test_a_fingerprint_changes_with_a_helper_and_only_then(tmp_path: Path) -> None:
    main, helper = write(tmp_path, main="import helper\n" + SERVER.format(options=""), helper="x = 1\n")
    other, *_ = write(tmp_path, other=SERVER.format(options="agent_name='other'"))

    async def prints() -> dict[str, str]:
        return {agent.name: agent.fingerprint for agent in (await loaded(tmp_path, main, other)).agents}

    before = await prints()
    assert await prints() == before
    helper.write_text("x = 2\n")
    after = await prints()
    assert after["other"] == before["other"]
    assert after["main"] != before["main"]


async def test_a_file_sees_the_arguments_path_and_name_that_python_would_give_it(tmp_path: Path) -> None:
    note = "import sys, pathlib\npathlib.Path(__file__ + '.seen').write_text(f'{sys.argv} {sys.path[0]} {__name__}')\n"
    main, script = write(
        tmp_path,
        dir__main=note + SERVER.format(options="agent_name='m'"),
        dir__script=note + "from livekit.agents import WorkerOptions, cli\n"
        "cli.run_app(WorkerOptions(entrypoint_fnc=lambda ctx: None))\n",
    )
    named(await loaded(tmp_path, main, script))
    where = tmp_path / "dir"
    assert (where / "main.py.seen").read_text() == f"{[str(main), 'start']} {where} main"
    assert (where / "script.py.seen").read_text() == f"{[str(script), 'start']} {where} __main__"


async def test_an_unfit_livekit_agents_is_told_with_what_to_do(tmp_path: Path) -> None:
    (file,) = write(tmp_path, agent=SERVER.format(options=""))
    site = tmp_path / "site" / "livekit_agents-1.4.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: livekit-agents\nVersion: 1.4.0\n")
    manifest = await loaded(tmp_path, file, environment={"PYTHONPATH": str(site.parent)})
    assert "livekit-agents 1.4.0 is installed" in failed(manifest, file).message
    assert "pip install 'livekit-agents>=1.8.9,<1.9'" in failed(manifest, file).message


async def test_a_file_to_skip_is_not_touched(tmp_path: Path) -> None:
    good, deadly = write(tmp_path, good=SERVER.format(options="agent_name='good'"), deadly="import os\nos._exit(9)\n")
    assert named(await loaded(tmp_path, deadly, good, skip=(str(deadly),))) == {"good": ("good", "good")}
