"""The benches of the pool are long; this keeps them from rotting between two runs of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]

# Two calls instead of twelve, one executor instead of four: what is measured is whether it is measured.
ONE_EXECUTOR = """
import asyncio, json
from bench._pool_load import loaded
from bench._pool_stage import ours, stage

async def main():
    async with stage() as place:
        outcome = await loaded(place, ours(1), 2, 4.0)
    series = {name: len(getattr(outcome, name)) for name in ("lags", "late", "joins")}
    print(json.dumps({"failures": outcome.failures, **series, "steps": sorted(outcome.steps),
                      "agents": outcome.cost.agents, "added": outcome.loaded.pss - outcome.idle.pss}))

asyncio.run(main())
"""


def run(*arguments: str) -> str:
    """Run this Python where the benches are and return what it prints."""
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_calls_with_audio_are_answered_and_what_they_cost_is_seen_from_outside_and_inside() -> None:
    told = json.loads(run("-c", ONE_EXECUTOR))
    assert told["failures"] == []
    assert told["joins"] == 2
    assert told["lags"] > 10
    assert told["late"] > 10
    assert told["agents"] > 0
    assert told["steps"] == ["connected", "entered", "heard", "job", "spoke", "subscribed"]


def test_a_burst_is_served_up_to_the_cap() -> None:
    report = json.loads(run("-m", "bench", "pool-burst", "--quick", "--json", "-"))
    found = {figure["name"]: figure["value"] for figure in report["benches"]["pool-burst"]}
    assert found["pool-burst, greenroom, 5 at once, at most 2, served"] == 2
    assert found["pool-burst, greenroom, 5 at once, at most 2, too many"] == 0
