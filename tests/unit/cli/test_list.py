"""``greenroom list``: which agents are in some files, and what it says of their weight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenroom.cli import main

pytestmark = pytest.mark.unit

PROGRAM = """
from livekit.agents import Agent
from greenroom.pool import AgentPool

class Sales(Agent):
    def __init__(self):
        super().__init__(instructions="You sell.")

pool = AgentPool(agent_name="cast", default_llm="offline/llm")
pool.add("sales", Sales, capabilities=["de"])
pool.add("clinic", Sales, placement="dedicated", max_sessions=2)
pool.run()
"""

BROKEN = "from livekit.agents import AgentServer\nserver = AgentServer()\n1 / 0\n"


def test_agents_are_listed_with_what_their_calls_weigh(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    (tmp_path / "broken.py").write_text(BROKEN)
    assert main(["list", str(tmp_path), "--resources", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [(each["name"], each["placement"], each["resources"]["call_mb"]) for each in told["agents"]] == [
        ("sales", "shared", 2.0),
        ("clinic", "dedicated", 12.0),
    ]
    assert told["agents"][0]["providers"] == {"llm": "offline/llm"}
    assert told["agents"][0]["capabilities"] == ["de"]
    assert told["agents"][1]["max_sessions"] == 2
    assert told["estimated"] is True
    assert "broken.py:3" in told["notes"][0]

    assert main(["list", str(tmp_path / "main.py"), "--plain"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        f"{name}\tclass\tcast\t{placement}\tllm=offline/llm\t{tmp_path / 'main.py'}"
        for name, placement in (("sales", "shared"), ("clinic", "dedicated"))
    ]


def test_a_directory_without_agents_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(tmp_path), "--json", "--plain"]) == 2
    assert "exclude each other" in capfd.readouterr().err
    (tmp_path / "broken.py").write_text(BROKEN)
    assert main(["list", str(tmp_path)]) == 1
    assert "not in service" in capfd.readouterr().err
