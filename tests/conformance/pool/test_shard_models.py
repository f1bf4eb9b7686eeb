"""Agents that import models which their machine does not have: told when the pool starts; others are not kept back."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pool_nursery import nursery

pytestmark = pytest.mark.conformance

AGENT = """
{first}
from livekit.agents import AgentServer, JobContext
server = AgentServer()
@server.rtc_session(agent_name="{name}")
async def entrypoint(ctx: JobContext) -> None: ...
"""
DETECTOR = """
from livekit.agents.inference_runner import _InferenceRunner
from . import models

class Runner(_InferenceRunner):
    INFERENCE_METHOD = "end_of_utterance"
    def initialize(self): ...
    def run(self, data): return data

_InferenceRunner.register_runner(Runner)
"""
MODELS = """
HG_MODEL, ONNX_FILENAME, MODEL_REVISIONS = "livekit/turn-detector", "model.onnx", {"en": "v1"}
"""


def machine(path: Path, *, cached: bool) -> dict[str, str]:
    """Lay the turn detector's plugin out, with its files or without; return the environment that finds it."""
    plugin = path / "site" / "livekit" / "plugins" / "turn_detector"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(DETECTOR)
    (plugin / "models.py").write_text(MODELS)
    there = "name" if cached else "None"
    hub = f"def try_to_load_from_cache(repo, name, *, revision): return {there}\n"
    (path / "site" / "huggingface_hub.py").write_text(hub)
    return {"PYTHONPATH": str(path / "site")}


def agents(path: Path) -> tuple[Path, Path, Path]:
    files = path / "needs.py", path / "lacks.py", path / "fine.py"
    first = "from livekit.plugins import turn_detector", "from livekit.plugins import no_such_thing", ""
    for file, line in zip(files, first, strict=True):
        file.write_text(AGENT.format(first=line, name=file.stem))
    return files


async def test_an_agent_without_its_model_or_plugin_does_not_enter_service_and_says_what_to_run(tmp_path: Path) -> None:
    needs, lacks, fine = agents(tmp_path)
    async with nursery(tmp_path, needs, lacks, fine, environment=machine(tmp_path, cached=False)) as made:
        manifest = made.manifest
    assert [agent.name for agent in manifest.agents] == ["fine"]
    told = {failure.source: (failure.line, failure.message) for failure in manifest.failures}
    line, message = told[str(needs)]
    assert line == 2
    assert message.startswith("livekit-plugins-turn-detector has no model files on this machine")
    assert "Run: python -m livekit.agents download-files" in message
    line, message = told[str(lacks)]
    assert line == 2
    assert message.endswith("Run: pip install livekit-plugins-no-such-thing")
    # Nobody is left who would ask the process that runs such models.
    assert not manifest.inference


async def test_an_agent_with_its_model_enters_service(tmp_path: Path) -> None:
    needs, _, fine = agents(tmp_path)
    async with nursery(tmp_path, needs, fine, environment=machine(tmp_path, cached=True)) as made:
        manifest = made.manifest
    assert [agent.name for agent in manifest.agents] == ["needs", "fine"]
    assert not manifest.failures
    assert manifest.inference
