"""The offline providers without livekit-agents."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def test_without_livekit_agents_the_import_says_what_to_install() -> None:
    program = """
import sys
sys.modules["livekit.agents"] = None
from greenroom.errors import MissingExtraError
try:
    import greenroom.offline
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "The offline LLM needs the 'agents' extra. Run: pip install 'greenroom[agents]'\n"
