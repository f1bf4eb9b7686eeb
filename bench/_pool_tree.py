"""What a tree of processes costs: processor time, and memory that is shared only once."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """MB of all processes of a tree: proportional (shared pages divided among their users), and unshared."""

    pss: float
    uss: float
    processes: int
    uss_of: dict[int, float]


def tree(root: int) -> list[int]:
    """List the living processes that descend from one or were started in its session, itself first."""
    parents: dict[int, int] = {}
    sessions: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            fields = _stat(int(entry.name))
            parents[int(entry.name)], sessions[int(entry.name)] = int(fields[1]), int(fields[3])
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found or sessions[pid] == root} - found
        if not more:
            return sorted(found, key=lambda pid: (pid != root, pid))
        found |= more


def cpu_seconds(root: int) -> float:
    """Return the processor time of a tree so far, of its children that have ended too."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError, ValueError):
            ticks += sum(int(field) for field in _stat(pid)[11:15])
    return ticks / _TICKS


def memory(root: int) -> Memory:
    """Weigh a tree."""
    pss, unshared = 0.0, {}
    for pid in tree(root):
        with contextlib.suppress(OSError, ValueError, KeyError):
            values = rollup(pid)
            pss += values["Pss"]
            unshared[pid] = values["Private_Clean"] + values["Private_Dirty"]
    return Memory(pss, sum(unshared.values()), len(unshared), unshared)


def rollup(pid: int) -> dict[str, float]:
    """Return the sums of a process's mappings, in MB."""
    lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) * 1024 / 1e6 for name, _, rest in (line.partition(":") for line in lines)}


def machine_seconds() -> float:
    """Return the processor time that everything on this machine has used so far."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    # user, nice, system, idle, iowait, irq, softirq, steal: those that did something.
    return sum(int(fields[place]) for place in (0, 1, 2, 5, 6)) / _TICKS


def _stat(pid: int) -> list[str]:
    # The name of the program, in parentheses, may hold blanks.
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
