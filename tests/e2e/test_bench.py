"""``make bench`` measures the product as it is; this keeps it from rotting between two runs of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_figures_come_with_their_expectation_machine_and_command():
    done = bench("server", "dispatch", "--rounds", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["command"] == "python -m bench server dispatch --rounds 2 --json -"
    assert report["machine"]["cpus"] >= 1
    figures = {figure["name"]: figure for bench in report["benches"].values() for figure in bench}
    assert figures["server exec to ready p50"]["expected"] == 0.3
    assert figures["dispatch, join to assignment held p99"]["expected"] == 25
    assert all(figure["value"] > 0 for figure in figures.values())


def test_the_table_has_a_line_for_each_figure():
    done = bench("connect", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[:5]] == [
        "figure",
        "connect, Python SDK p50",
        "connect, Python SDK p99",
        "connect, signalling alone p50",
        "connect, signalling alone p99",
    ]


def test_an_unknown_bench_is_named():
    done = bench("teleport")
    assert done.returncode == 2
    assert "no bench is called teleport; there are server, connect" in done.stderr
