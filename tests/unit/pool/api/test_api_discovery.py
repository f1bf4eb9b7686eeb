"""Agents in files: twelve layouts of directories, and what a class says of itself."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import Agent

from greenroom.pool import AgentDiscoveryConfig, AgentPool, agent_config
from greenroom.pool.api import discover_files
from greenroom.pool.api._config import said_of

pytestmark = pytest.mark.unit

HEAD = "from livekit.agents import Agent\nfrom greenroom.pool import agent_config\n"
PLAIN = HEAD + "class Sales(Agent):\n    def __init__(self): super().__init__(instructions='x')\n"


@pytest.fixture
def agents_dir(tmp_path: Path) -> Iterator[Path]:
    known, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def found(root: Path, **options: Any) -> dict[str, str]:
    pool = AgentPool()
    pool.discover(root, **options)
    return {name: pool.get(name).agent_cls.__name__ for name in pool.list_agents()}


def test_an_agent_is_called_after_its_file(agents_dir: Path) -> None:
    write(agents_dir, sales=PLAIN)
    pool = AgentPool(default_greeting="Hello.")
    (config,) = pool.discover(str(agents_dir))
    assert (config.name, config.greeting) == ("sales", "Hello.")
    assert config.source_path == (agents_dir / "sales.py").resolve()


def test_what_a_class_says_of_itself_goes_before_defaults(agents_dir: Path) -> None:
    write(
        agents_dir,
        one=HEAD + "@agent_config(name='desk', llm='x/y', tts=None, greeting='Hi.', capabilities=['de'])\n"
        "class Sales(Agent): pass\n",
    )
    pool = AgentPool(default_llm="a/b", default_tts="c/d", default_stt="e/f")
    (config,) = pool.discover(agents_dir)
    assert (config.name, config.llm, config.tts, config.stt) == ("desk", "x/y", None, "e/f")
    assert (config.greeting, config.capabilities) == ("Hi.", ("de",))


def test_a_decorated_class_goes_before_its_undecorated_base(agents_dir: Path) -> None:
    write(agents_dir, one=HEAD + "class Base(Agent): pass\n@agent_config(name='real')\nclass Real(Base): pass\n")
    assert found(agents_dir) == {"real": "Real"}


def test_many_decorated_agents_may_be_in_one_file(agents_dir: Path) -> None:
    write(
        agents_dir,
        many=HEAD
        + "@agent_config(name='a')\nclass A(Agent): pass\n@agent_config(greeting='x')\nclass B(Agent): pass\n",
    )
    assert found(agents_dir) == {"a": "A", "B": "B"}


def test_a_base_class_is_not_the_agent(agents_dir: Path) -> None:
    write(agents_dir, one=HEAD + "class Base(Agent): pass\nclass Real(Base): pass\nclass _Hidden(Agent): pass\n")
    assert found(agents_dir) == {"one": "Real"}


def test_a_file_without_an_agent_is_passed_over(agents_dir: Path) -> None:
    write(agents_dir, sales=PLAIN, utils="X = 1\n", imports="from sales import Sales\n")
    assert found(agents_dir) == {"sales": "Sales"}


def test_a_broken_file_is_reported_and_the_others_enter(agents_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        agents_dir,
        broken="X = 1\n\nraise ValueError('no key')\n",
        deep="import broken\n",
        leaves="import sys\nsys.exit(3)\n",
        sales=PLAIN,
        wrong="def f(:\n",
    )
    pool = AgentPool()
    with caplog.at_level(logging.CRITICAL):
        assert [config.name for config in pool.discover(agents_dir)] == ["sales"]
    told = {Path(each.source).name: (each.line, each.message) for each in pool.failures}
    assert told["broken.py"] == (3, "Failed to import agent module 'broken.py': no key")
    assert told["deep.py"][0] == 1
    assert told["leaves.py"] == (2, "Failed to import agent module 'leaves.py': 3")
    assert told["wrong.py"][0] == 1
    assert "ValueError: no key" in pool.failures[0].traceback


def test_files_import_their_neighbours(agents_dir: Path) -> None:
    write(agents_dir, prices="PRICE = 5\n", sales="from prices import PRICE\n" + PLAIN)
    assert found(agents_dir) == {"sales": "Sales"}


def test_files_of_a_package_import_relatively(agents_dir: Path) -> None:
    package = agents_dir / "shop_of_test"
    write(package, prices="PRICE = 5\n", sales="from .prices import PRICE\n" + PLAIN)
    (package / "__init__.py").touch()
    assert found(package) == {"sales": "Sales"}


def test_directories_are_searched_on_request(agents_dir: Path) -> None:
    write(agents_dir, sales=PLAIN, deep__inner__other=PLAIN, node_modules__no=PLAIN, _hidden__no=PLAIN)
    (agents_dir / "env").mkdir()
    (agents_dir / "env/pyvenv.cfg").touch()
    write(agents_dir / "env", no=PLAIN)
    assert found(agents_dir) == {"sales": "Sales"}
    assert found(agents_dir, recursive=True) == {"sales": "Sales", "other": "Sales"}


def test_a_file_may_be_called_anything(agents_dir: Path) -> None:
    (agents_dir / "front desk.py").write_text(PLAIN)
    (agents_dir / "email.py").write_text(PLAIN)
    assert found(agents_dir) == {"email": "Sales", "front-desk": "Sales"}
    import email.message  # noqa: PLC0415 - the standard library's is still what it was

    assert email.message.Message


def test_two_agents_of_one_name_are_told(agents_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(agents_dir, a=PLAIN, b=HEAD + "@agent_config(name='a')\nclass B(Agent): pass\n")
    pool = AgentPool()
    with caplog.at_level(logging.CRITICAL):
        pool.discover(agents_dir)
    assert [(Path(each.source).name, each.message) for each in pool.failures] == [
        ("b.py", "Agent 'a' is already registered.")
    ]


def test_a_program_that_discovers_its_own_directory_is_not_loaded_again(agents_dir: Path) -> None:
    write(
        agents_dir,
        sales=PLAIN,
        program="""
        from pathlib import Path
        from greenroom.pool import AgentPool
        pool = AgentPool()
        pool.discover(Path(__file__).parent)
        """,
    )
    namespace: dict[str, Any] = {"__file__": str(agents_dir / "program.py"), "__name__": "program"}
    exec(compile((agents_dir / "program.py").read_text(), str(agents_dir / "program.py"), "exec"), namespace)
    assert namespace["pool"].list_agents() == ["sales"]


def test_an_empty_directory_holds_no_agents(agents_dir: Path) -> None:
    write(agents_dir, _private=PLAIN)
    assert found(agents_dir) == {}


def test_openrtcs_errors_come_when_they_are_asked_for(agents_dir: Path) -> None:
    pool = AgentPool()
    write(agents_dir, utils="X = 1\n")
    with pytest.raises(RuntimeError, match=r"^Module '.*utils.*' does not define a local Agent subclass\.$"):
        pool.discover(agents_dir, strict=True)
    (agents_dir / "utils.py").unlink()
    write(agents_dir, broken="raise ValueError('no key')\n")
    with pytest.raises(RuntimeError, match=r"^Failed to import agent module 'broken\.py': no key$"):
        pool.discover(agents_dir, strict=True)


def test_a_directory_must_be_one(agents_dir: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^Agents directory does not exist: .*nothing$"):
        AgentPool().discover(agents_dir / "nothing")
    write(agents_dir, sales=PLAIN)
    with pytest.raises(NotADirectoryError, match=r"^Agents path is not a directory: .*sales\.py$"):
        AgentPool().discover(agents_dir / "sales.py")


def test_files_can_be_discovered_without_a_pool(agents_dir: Path) -> None:
    write(agents_dir, sales=PLAIN)
    once, again = (discover_files([agents_dir / "sales.py"]).agents for _ in range(2))
    assert once == again
    assert [(each.name, each.agent_cls.__name__) for each in once] == [("sales", "Sales")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": " "}, "Agent metadata field 'name' cannot be empty."),
        ({"name": 5}, "Agent metadata field 'name' must be a string, got int."),
        ({"greeting": ""}, "Agent metadata field 'greeting' cannot be empty."),
        ({"greeting": 5}, "Agent metadata field 'greeting' must be a string, got int."),
    ],
)
def test_a_class_must_say_something_sensible(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        agent_config(**options)
    assert str(refused.value) == said


def test_what_is_said_is_kept_by_the_class_and_by_those_that_derive_from_it() -> None:
    @agent_config(name=" desk ", greeting=" Hi. ")
    class Desk(Agent):
        pass

    class Night(Desk):
        pass

    assert said_of(Desk) == said_of(Night) == AgentDiscoveryConfig(name="desk", greeting="Hi.")
    assert said_of(Agent) == AgentDiscoveryConfig()


def test_a_class_that_openrtc_decorated_is_understood() -> None:
    class Decorated(Agent):
        __openrtc_agent_config__ = AgentDiscoveryConfig(name="old", llm="x/y")

    assert said_of(Decorated) == AgentDiscoveryConfig(name="old", llm="x/y")
