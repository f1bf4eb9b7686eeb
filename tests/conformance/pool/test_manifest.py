"""What files declare is learnt by loading them as a pool does, in a process that ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.errors import GreenroomError
from greenroom.pool.manifest import agent_files, declared_by, read_manifest

pytestmark = pytest.mark.conformance

PROGRAM = """
from livekit.agents import AgentServer
server = AgentServer()
@server.rtc_session(agent_name="desk")
async def entry(ctx): ...
"""


def test_programs_are_declared_and_broken_files_noted(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(PROGRAM)
    (tmp_path / "broken.py").write_text(
        "from livekit.agents import AgentServer\nserver = AgentServer()\nimport nothing_x"
    )
    declared = declared_by(read_manifest(agent_files([tmp_path])))
    assert [(agent.name, agent.dispatch) for agent in declared.agents] == [("desk", "desk")]
    (note,) = declared.notes
    assert "broken.py:3" in note
    assert "nothing_x" in note


def test_a_file_that_ends_what_loads_it_is_named_with_its_last_words(tmp_path: Path) -> None:
    path = tmp_path / "abrupt.py"
    path.write_text("import os\nprint('so long', flush=True)\nos._exit(3)\n")
    with pytest.raises(GreenroomError, match=r"abrupt\.py") as caught:
        read_manifest([path])
    assert "so long" in caught.value.message
