"""A pool on a machine without a way out: nothing is downloaded, and the first call is answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from support import no_network

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("dev")]


async def test_the_first_calls_are_answered_where_nothing_can_be_downloaded(tmp_path: Path) -> None:
    command, environment = no_network.command("-m", "support.pool_call", str(tmp_path))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    told = json.loads(out)
    assert told["outside"] == "Network is unreachable"
    status, typed, problem = told["typed"]
    assert (status, problem) == (0, ""), told
    assert typed.splitlines()[-1] == "front-desk: We are at 1 Harbour Street, across from the ferry."
    status, said, problem = told["said"]
    assert (status, problem) == (0, ""), told
    assert said.splitlines() == ["ferry: Hello.", "you: where are you", "ferry: We are at the ferry."]
    assert told["pool"] == 0, told
    assert not [line for line in told["told"] if "ERROR" in line or "Traceback" in line]
