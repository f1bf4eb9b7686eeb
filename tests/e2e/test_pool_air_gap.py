"""A pool on a machine without a way out: nothing is downloaded, and the first call is answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from support import no_network

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(not no_network.permitted(), reason="this user may not make a network namespace")
async def test_the_first_call_is_answered_where_there_is_no_network(tmp_path: Path) -> None:
    command, environment = no_network.command("-m", "support.pool_call", str(tmp_path))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    told = json.loads(out)
    assert told["outside"] == "Network is unreachable"
    assert (told["status"], told["err"]) == (0, ""), told
    assert told["out"].splitlines()[1:] == [
        "you: where are you",
        "front-desk: We are at 1 Harbour Street, across from the ferry.",
    ]
    assert told["pool"] == 0, told
    assert not [line for line in told["told"] if "ERROR" in line or "Traceback" in line]
