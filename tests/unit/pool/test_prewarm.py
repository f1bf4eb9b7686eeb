"""Which models are loaded before shards are forked, and which agents cannot enter service for want of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.config import ApiKey
from greenroom.pool._settings import PoolSettings, TenantSettings, TenantsSettings
from greenroom.pool.admission import Tenants
from greenroom.pool.shard._prewarm_source import imported_at, install_line, wants_end_of_turn
from greenroom.pool.supervisor._generations import shard_settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
WORD = '"turn_detection": "vad"'
WANTS = [
    "AgentSession(stt=s, llm=l)",
    "voice.AgentSession[Data](stt=s, vad=v)",
    "AgentSession(stt=s, turn_handling={'endpointing': {}})",
    "AgentSession(stt=s, turn_detection=detector)",
    "AgentSession(stt=s, turn_detection='vad' if quick else detector)",
    f"AgentSession(stt=s, turn_handling={{{WORD}}} if quick else {{}})",
    "class A(Agent):\n  def __init__(self): super().__init__(stt=s)\nAgentSession()",
    "AgentSession(turn_handling={'turn_detection': inference.TurnDetector()})",
    "inference.TurnDetector(version='v1')",
    "pool = AgentPool(default_stt=s)\npool.add('a', A)",
    "@agent_config(name='a', stt=s)\nclass A(Agent): ...",
    "class A(Agent):\n  def __init__(self): super().__init__(stt=s)",
    "AgentPool(agents={'a': A}, default_stt=s)",
]
WANTS_NOT = [
    "",
    "AgentSession(llm=l)",
    "AgentSession(stt=s, turn_detection='stt')",
    "AgentSession(stt=s, turn_detection=None)",
    f"TURNS = {{{WORD}}}\nAgentSession(stt=s, turn_handling=TURNS)",
    f"TURNS: dict = {{{WORD}}}\nAgentSession(stt=s, turn_handling=TURNS if ok else {{'turn_detection': None}})",
    "AgentSession(stt=s, turn_handling=TurnHandlingOptions(turn_detection='manual'))",
    "AgentSession(stt=s, vad=None)",
    "inference.TurnDetector(version='v1', local_fallback=False)",
    "pool = AgentPool(default_stt=s)\npool.add('a', A, turn_detection='vad')",
    "seen.add(stt)",
    "class A(Agent): ...",
    "no python (",
]

#: Forks for each line that it reads, since what is loaded stays: imports livekit.agents once.
PREWARM = """
import json, os, sys
from pathlib import Path
import livekit.agents

def tasks():
    return len(list(Path("/proc/self/task").iterdir()))

def prewarm(file, options, environment, runs, path):
    os.environ.update(environment)
    sys.path[:0] = path
    from greenroom.pool.shard._prewarm import prewarm
    exec(runs)
    before = tasks()
    done = prewarm({file: [file]}, options)
    failures = [[failure.line, failure.message] for failure in done.failures]
    print(json.dumps({"models": done.models, "threads": tasks() - before, "failures": failures}), flush=True)

for line in sys.stdin:
    if os.fork() == 0:
        prewarm(**json.loads(line))
        os._exit(0)
    os.wait()
"""


def written(path: Path, source: str) -> str:
    file = path / "agent.py"
    file.write_text(source)
    return str(file)


@pytest.mark.parametrize("source", WANTS)
def test_sessions_that_leave_turns_to_livekit_want_its_model(tmp_path: Path, source: str) -> None:
    assert wants_end_of_turn([written(tmp_path, source)])


@pytest.mark.parametrize("source", WANTS_NOT)
def test_sessions_that_say_how_turns_end_or_do_not_hear_want_no_model(tmp_path: Path, source: str) -> None:
    assert not wants_end_of_turn([written(tmp_path, source)])


def test_what_hears_may_stand_in_another_file_of_the_agent(tmp_path: Path) -> None:
    helper = tmp_path / "hearing.py"
    helper.write_text("class Hearing(Agent):\n  def __init__(self): super().__init__(stt=s)")
    assert wants_end_of_turn([str(helper), written(tmp_path, "AgentSession()")])
    assert not wants_end_of_turn([str(helper), written(tmp_path, "AgentSession(turn_detection='vad')")])
    assert not wants_end_of_turn([written(tmp_path, "AgentSession()")])


def test_the_packaged_example_ends_turns_by_voice_activity() -> None:
    assert not wants_end_of_turn([str(ROOT / "examples" / "agents" / "front_desk.py")])


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import a\nimport livekit.plugins.turn_detector", 2),
        ("from livekit.plugins import silero, turn_detector", 1),
        ("\n\nif x:\n  from livekit.plugins.turn_detector.english import EnglishModel", 4),
        ("from livekit.plugins import silero", 0),
        ("import livekit.plugins.turn_detectors", 0),
        ("(", 0),
    ],
)
def test_an_import_is_found_with_its_line(tmp_path: Path, source: str, line: int) -> None:
    assert imported_at(written(tmp_path, source), "livekit.plugins.turn_detector") == line


@pytest.mark.parametrize(
    "source",
    [
        "from livekit.plugins import no_such_thing",
        "import livekit.plugins.no_such_thing",
        "from livekit.plugins.no_such_thing.deeper import (\n    Model,\n)",
        "from livekit.plugins import (\n    no_such_thing,\n)",
    ],
)
def test_a_plugin_of_livekit_that_is_not_installed_comes_with_its_install_line(tmp_path: Path, source: str) -> None:
    file = written(tmp_path, source)
    with pytest.raises(ImportError) as caught:
        exec(compile(source, file, "exec"), {})
    assert install_line(caught.value) == "Run: pip install livekit-plugins-no-such-thing"


def test_another_import_that_fails_is_left_to_speak_for_itself() -> None:
    with pytest.raises(ImportError) as caught:
        exec("import nothing_like_it", {})
    assert install_line(caught.value) == ""
    assert install_line(ValueError("livekit.plugins")) == ""


Prewarm = Callable[..., dict[str, Any]]
PRELOAD = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"


@pytest.fixture(scope="module")
def prewarmed() -> Iterator[Prewarm]:
    """Prewarms in processes of their own, since models cannot be unloaded."""
    command = [sys.executable, "-W", "ignore", "-c", PREWARM]
    # The example agent sets it where it is imported, and some other test may have done so here.
    environment = {name: value for name, value in os.environ.items() if name != PRELOAD}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def prewarm(
            file: str, *, options: object = None, environment: object = None, runs: str = "", path: str = ""
        ) -> dict[str, Any]:
            asked = {"file": file, "options": options or {}, "environment": environment or {}, "runs": runs}
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps({**asked, "path": [path] if path else []}), file=process.stdin, flush=True)
            found: dict[str, Any] = json.loads(process.stdout.readline())
            return found

        yield prewarm


@pytest.mark.parametrize(
    ("source", "said", "models"),
    [
        (WANTS[0], {}, ["vad", "end_of_turn"]),
        (WANTS_NOT[1], {}, ["vad"]),
        (WANTS[0], {"environment": {PRELOAD: "0"}}, []),
        (WANTS_NOT[1], {"environment": {PRELOAD: "1"}}, ["vad", "end_of_turn"]),
        (WANTS[0], {"options": {"end_of_turn": False}, "environment": {PRELOAD: "1"}}, ["vad"]),
    ],
)
def test_models_are_loaded_as_the_settings_the_environment_or_the_code_say_and_start_no_thread(
    prewarmed: Prewarm, tmp_path: Path, source: str, said: dict[str, Any], models: list[str]
) -> None:
    found = prewarmed(written(tmp_path, source), **said)
    assert found == {"models": models, "threads": 0, "failures": []}


@pytest.mark.parametrize(
    ("said", "options"), [(None, {}), (True, {"end_of_turn": True}), (False, {"end_of_turn": False})]
)
def test_the_configuration_reaches_the_nursery(said: bool | None, options: dict[str, bool]) -> None:
    settings = PoolSettings(url="ws://x", key=ApiKey(key="k", secret="s"), paths=(), end_of_turn=said)
    assert shard_settings(settings, "").options == options


def test_the_providers_of_tenants_are_imported_before_their_first_call(prewarmed: Prewarm, tmp_path: Path) -> None:
    plugin = tmp_path / "livekit" / "plugins" / "acme"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text("class LLM: ...\nopen('imported', 'w').close()")
    tenant = TenantSettings(providers={"llm": {"id": "acme", "api_key": "secret"}, "tts": "nobody/x"})
    known = TenantsSettings(known={"ann": tenant})
    settings = PoolSettings(url="ws://x", key=ApiKey(key="k", secret="s"), paths=(), tenants=known)
    options = shard_settings(settings, "").options
    assert options == {"prepare": [("llm", "acme"), ("tts", "nobody/x")]}
    prewarmed(written(tmp_path, ""), options=options, path=str(tmp_path), runs=f"os.chdir({str(tmp_path)!r})")
    assert (tmp_path / "imported").exists()


def test_the_providers_of_the_file_of_tenants_are_imported_too(tmp_path: Path) -> None:
    file = tmp_path / "tenants.toml"
    file.write_text('[bob.providers]\nllm = { id = "acme", api_key = "secret" }\n')
    ann = TenantSettings(providers={"tts": "nobody/x"})
    said = TenantsSettings(known={"ann": ann}, file=str(file))
    settings = PoolSettings(url="ws://x", key=ApiKey(key="k", secret="s"), paths=(), tenants=said)
    tenants = Tenants(said)
    tenants.load()
    options = shard_settings(settings, "", tenants.listed()).options
    assert options == {"prepare": [("llm", "acme"), ("tts", "nobody/x")]}


def test_what_a_program_sets_for_itself_does_not_decide_for_the_others(prewarmed: Prewarm, tmp_path: Path) -> None:
    program = 'import os\nos.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] = "0"\n'
    found = prewarmed(written(tmp_path, program + WANTS[0]), runs=program)
    assert found["models"] == ["vad", "end_of_turn"]


HUB = "def try_to_load_from_cache(repo, name, *, revision):\n    return {found!r}\n"
DETECTOR = (
    "HG_MODEL = 'livekit/turn-detector'\nONNX_FILENAME = 'model.onnx'\nMODEL_REVISIONS = {'en': 'v1', 'multi': 'v2'}\n"
)
USES = "import os\nfrom livekit.plugins.turn_detector import models\n"


@pytest.mark.parametrize(
    ("cached", "remote", "failed"), [(None, "", True), ("/there", "", False), (None, "http://x", False)]
)
def test_an_agent_whose_turn_detector_has_no_files_fails_at_the_start_and_says_what_to_run(
    prewarmed: Prewarm, tmp_path: Path, cached: str | None, remote: str, failed: bool
) -> None:
    plugin = tmp_path / "livekit" / "plugins" / "turn_detector"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text("")
    (plugin / "models.py").write_text(DETECTOR)
    (tmp_path / "huggingface_hub.py").write_text(HUB.format(found=cached))
    file = written(tmp_path, USES)
    environment = {"LIVEKIT_REMOTE_EOT_URL": remote} if remote else {}
    found = prewarmed(file, environment=environment, runs=USES, path=str(tmp_path))
    if not failed:
        assert found["failures"] == []
        return
    ((line, message),) = found["failures"]
    assert line == 2
    assert message == (
        "livekit-plugins-turn-detector has no model files on this machine: livekit/turn-detector v1, "
        "livekit/turn-detector v2. Run: python -m livekit.agents download-files, or leave turn_detection out: "
        "livekit-agents has a model of its own that needs no download"
    )
