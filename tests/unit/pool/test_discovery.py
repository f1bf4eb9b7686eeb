"""Which files are agents, what they are called, and what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.errors import ConfigError
from greenroom.pool.discovery import MAX_AGENTS, AgentFile, Discovery, Launch

pytestmark = pytest.mark.unit

SERVER = "from livekit.agents import AgentServer\nserver = AgentServer()\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str = SERVER) -> Path:
    file = Path(path).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def found(path: str = ".") -> dict[str, AgentFile]:
    return {agent.name: agent for agent in Discovery(Path(path)).survey().agents.values()}


@pytest.mark.parametrize(
    ("text", "launch"),
    [
        (SERVER, Launch.MODULE),
        ("import livekit.agents as lk\nserver: object = lk.AgentServer(port=1)\n", Launch.MODULE),
        ("from livekit import agents\nif True:\n    app = agents.AgentServer()\n", Launch.MODULE),
        (
            "from livekit.agents import AgentServer, WorkerOptions\n"
            "app = AgentServer.from_server_options(WorkerOptions(entrypoint_fnc=None))\n",
            Launch.MODULE,
        ),
        (
            "from livekit.agents import WorkerOptions, cli\n"
            "if __name__ == '__main__':\n    cli.run_app(WorkerOptions(entrypoint_fnc=None))\n",
            Launch.SCRIPT,
        ),
        (
            "from livekit.agents import AgentServer, cli\n"
            "def main():\n    server = AgentServer()\n    cli.run_app(server)\n",
            Launch.SCRIPT,
        ),
        (
            "import livekit.agents\nfrom made import make\nserver = make()\n"
            "@server.rtc_session()\nasync def entry(ctx): ...\n",
            Launch.MODULE,
        ),
    ],
)
def test_a_program_that_runs_with_livekit_agents_is_an_agent(text: str, launch: Launch) -> None:
    write("desk.py", text)
    assert found()["desk"].launch is launch


@pytest.mark.parametrize(
    "text",
    [
        "print('AgentServer of livekit')\n",
        "from livekit import api\nAgentServer = object\nserver = AgentServer()\n",
        "from livekit.agents import Agent\n\nclass _Desk(Agent):\n    '''AgentServer'''\n",
        "from livekit.agents import AgentSession\n\nclass Agent: ...\n",
    ],
)
def test_other_programs_are_not(text: str) -> None:
    write("desk.py", text)
    assert found() == {}


def test_virtual_environments_hidden_directories_and_packages_are_not_searched() -> None:
    for place in (".hidden", "node_modules/x", "lib/site-packages", "__pycache__", "env"):
        write(f"{place}/desk.py")
    write("env/pyvenv.cfg", "")
    write("here/desk.py")
    assert [agent.path for agent in found().values()] == [Path("here/desk.py").absolute()]


def test_a_file_that_is_named_is_taken_at_its_word() -> None:
    write("made.py", "from factory import server\n")
    assert found("made.py")["made"].launch is Launch.MODULE


def test_a_server_borrowed_from_another_file_runs_once() -> None:
    write("desk/server.py", SERVER)
    write("desk/__init__.py", "")
    write("main.py", "from livekit.agents import cli\nfrom desk.server import server\ncli.run_app(server)\n")
    assert list(found()) == ["main"]


def test_agents_with_one_file_name_are_told_apart_by_their_place() -> None:
    write("one/agent.py")
    write("two/agent.py")
    write("desk.py")
    assert sorted(found()) == ["desk", "one/agent", "two/agent"]


def test_an_agent_is_made_of_the_local_files_it_imports() -> None:
    write("desk.py", SERVER + "import helper\nfrom pack import part\nimport pack.deep.leaf\nimport json\n")
    expected = {
        write("helper.py", "import second"),
        write("second.py", "import helper"),
        write("pack/__init__.py", ""),
        write("pack/part.py", "from . import sibling\nfrom .deep import thing"),
        write("pack/sibling.py", ""),
        write("pack/deep/__init__.py", ""),
        write("pack/deep/leaf.py", ""),
    }
    write("unrelated.py", "")
    write("json_like.py", "")
    assert found()["desk"].files == expected | {Path("desk.py").absolute()}


def test_an_agent_inside_a_package_imports_from_above_it() -> None:
    write("app/__init__.py", "")
    write("app/agent.py", SERVER + "from app import prompts\n")
    prompts = write("app/prompts.py", "")
    assert prompts in found()["agent"].files


@pytest.mark.parametrize("broken", ["desk.py", "helper.py"])
def test_a_syntax_error_is_named_with_its_line(broken: str) -> None:
    write("desk.py", SERVER + "import helper\n")
    write("helper.py", "")
    Path(broken).write_text("# livekit AgentServer\nvalue = = 1\n")
    assert str(found()["desk"].problem) == f"{broken}:2: invalid syntax"


def test_broken_files_that_are_no_agents_do_not_matter() -> None:
    write("other.py", "value = = 1\n")
    write("desk.py")
    assert list(found()) == ["desk"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (SERVER + "@server.rtc_session(agent_name='front')\nasync def entry(ctx): ...\n", "front"),
        (SERVER + "@server.rtc_session()\nasync def entry(ctx): ...\n", ""),
        (SERVER + "@server.rtc_session(agent_name=NAME)\nasync def entry(ctx): ...\n", None),
        (SERVER, None),
    ],
)
def test_the_agent_name_is_read_where_it_is_literal(text: str, name: str | None) -> None:
    write("desk.py", text)
    assert found()["desk"].agent_name == name


def test_looking_again_sees_what_changed() -> None:
    write("desk.py")
    discovery = Discovery(Path())
    assert len(discovery.survey().agents) == 1
    write("more/second.py")
    Path("desk.py").unlink()
    survey = discovery.survey()
    assert [agent.name for agent in survey.agents.values()] == ["second"]
    assert Path("more").absolute() in survey.directories


CLASS = "from livekit.agents import Agent\n\nclass Desk(Agent): ...\n"
DECORATED = (
    "from livekit.agents import Agent\nfrom greenroom.pool import agent_config\n"
    "@agent_config(name='billing')\nclass Desk(Agent): ...\n"
)


@pytest.mark.parametrize(
    ("text", "launch"),
    [
        (CLASS, Launch.CLASSES),
        ("from livekit import agents\nclass _Base(agents.Agent): ...\nclass Desk(_Base): ...\n", Launch.CLASSES),
        (
            "import livekit.agents\nfrom greenroom.pool import agent_config\n"
            "@agent_config(name='x')\nclass Desk(Strange): ...\n",
            Launch.CLASSES,
        ),
        ("from greenroom.pool import AgentPool\npool = AgentPool()\n", Launch.MODULE),
        ("from openrtc import AgentPool\ndef main():\n    AgentPool().run()\n", Launch.SCRIPT),
    ],
)
def test_agent_classes_and_pools_are_found(text: str, launch: Launch) -> None:
    write("desk.py", text)
    assert found()["desk"].launch is launch


def test_classes_that_a_program_or_another_class_brings_are_left_to_it() -> None:
    write("main.py", "import desk\n" + SERVER)
    write("desk.py", CLASS)
    write("base.py", CLASS)
    write("sales.py", "import livekit.agents\nfrom base import Desk\nclass Sales(Desk, livekit.agents.Agent): ...\n")
    write("alone.py", CLASS)
    assert set(found()) == {"main"}
    Path("main.py").unlink()
    assert set(found()) == {"desk", "sales", "alone"}


@pytest.mark.parametrize("program", [SERVER, SERVER + "def broken(:\n"], ids=["sound", "broken"])
def test_beside_programs_a_class_is_an_agent_when_it_is_decorated(program: str) -> None:
    write("main.py", program)
    write("helper.py", CLASS)
    write("billing.py", DECORATED)
    assert set(found()) == {"main", "billing"}


def test_a_decorated_class_that_a_program_imports_is_the_programs() -> None:
    write("main.py", "import billing\n" + SERVER)
    write("billing.py", DECORATED)
    assert set(found()) == {"main"}


def test_a_broken_file_without_a_program_hides_no_class() -> None:
    write("other.py", CLASS + "def broken(:\n")
    write("desk.py", CLASS)
    assert set(found()) == {"other", "desk"}


def test_classes_under_a_directory_with_a_pool_are_left_to_the_pool() -> None:
    write("main.py", "from greenroom.pool import AgentPool\npool = AgentPool()\npool.discover('agents')\npool.run()\n")
    write("agents/desk.py", CLASS)
    assert set(found()) == {"main"}


def test_more_agents_than_a_machine_should_start_are_refused() -> None:
    for number in range(MAX_AGENTS + 1):
        write(f"agent{number}.py")
    with pytest.raises(ConfigError, match="Name one of the files, or a smaller directory"):
        Discovery(Path()).require_agents()


def test_a_path_without_agents_says_what_an_agent_is() -> None:
    with pytest.raises(ConfigError, match=r"No LiveKit agent found under '\.'.* defines an AgentServer"):
        Discovery(Path()).require_agents()
