"""One executor under load: what its calls cost, how late its loop turns and its audio comes, how soon it is heard."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench import _pool_tree as processes
from bench._figures import percentile
from bench._pool_stage import Executor, Stage
from bench._process import Running

#: After the last call has been answered: greetings end, the callers ask their first question.
SETTLE = 3.0
#: Who heard less of the agent than this share of the time was in no conversation.
QUIET = 0.1


@dataclass(frozen=True)
class Cost:
    """What some seconds cost, in shares of a core."""

    agents: float
    server: float
    callers: float
    everything: float

    @property
    def others(self) -> float:
        """What has nothing to do with the bench."""
        return max(0.0, self.everything - self.agents - self.server - self.callers)


@dataclass
class Outcome:
    """One executor in one round; memory in MB, times in seconds."""

    calls: int
    ready: float
    idle: processes.Memory
    loaded: processes.Memory
    cost: Cost
    lags: list[float]
    late: list[float]
    pauses: list[float]
    joins: list[float]
    steps: dict[str, list[float]]
    failures: list[str]
    silent: int

    @property
    def cpu_per_call(self) -> float:
        """Percent of a core."""
        return self.cost.agents / self.calls * 100

    @property
    def pss_per_call(self) -> float:
        """What the calls added, divided among them."""
        return (self.loaded.pss - self.idle.pss) / self.calls

    @property
    def uss_per_call(self) -> float:
        """The same of unshared memory."""
        return (self.loaded.uss - self.idle.uss) / self.calls


@dataclass
class Outcomes:
    """All rounds of one executor."""

    executor: Executor
    rounds: list[Outcome] = field(default_factory=list)

    def middle(self, name: str) -> float:
        """Return the median of an attribute over the rounds."""
        return median(getattr(one, name) for one in self.rounds)

    def range(self, name: str) -> str:
        """Say between what an attribute was."""
        values = [getattr(one, name) for one in self.rounds]
        return f"{min(values):.3g} to {max(values):.3g} in {len(values)} rounds"

    def quantile(self, name: str, fraction: float) -> float:
        """Return the median over the rounds of a percentile, in ms; infinite where a round told nothing."""
        series = [getattr(one, name) for one in self.rounds]
        return median(percentile(values, fraction) if values else math.inf for values in series) * 1000

    def all(self, name: str) -> list[float]:
        """Return a series of all rounds together."""
        return [value for one in self.rounds for value in getattr(one, name)]

    def step(self, name: str) -> float | None:
        """Return the median of a step of all joins in ms; None where the executor does not tell of it."""
        values = [value for one in self.rounds for value in one.steps.get(name, [])]
        return median(values) * 1000 if values else None


async def loaded(stage: Stage, executor: Executor, calls: int, seconds: float) -> Outcome:
    """Start an executor, give it calls, measure for twice some seconds, and stop it."""
    stage.listener.told.clear()
    async with stage.runs(executor) as running:
        idle = await warm(stage, running)
        answered = await stage.callers.call(calls)
        await asyncio.sleep(SETTLE)
        await stage.callers.count()
        cost = await _spent(stage, running, seconds)
        with stage.watching():
            # The agents look once a second whether somebody watches.
            await asyncio.sleep(1.1)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            ended = time.monotonic()
        heard = await stage.callers.count()
        memory = processes.memory(running.process.pid)
        await stage.callers.leave()
    series = {name: stage.listener.series(name, began, ended) for name in ("lags", "late")}
    return Outcome(
        calls=calls,
        ready=running.seconds_to_ready,
        idle=idle,
        loaded=memory,
        cost=cost,
        **series,
        pauses=stage.listener.series("pauses", began - seconds, ended),
        joins=[call["first"] - call["began"] for call in answered["calls"]],
        steps=dict(_steps(stage, answered["calls"])),
        failures=answered["failures"],
        silent=sum(amount < QUIET * 2 * seconds for amount in heard),
    )


async def warm(stage: Stage, running: Running) -> processes.Memory:
    """Have two calls taken and ended, wait until the processes are as before, and weigh them."""
    await stage.callers.call(2)
    await stage.callers.leave()
    before = processes.memory(running.process.pid)
    for _ in range(20):
        await asyncio.sleep(0.5)
        now = processes.memory(running.process.pid)
        if abs(now.pss - before.pss) < 1 and now.processes == before.processes:
            break
        before = now
    return now


async def _spent(stage: Stage, running: Running, seconds: float) -> Cost:
    roots = [running.process.pid, stage.server.process.pid, stage.callers.process.pid]

    def used() -> list[float]:
        return [*(processes.cpu_seconds(pid) for pid in roots), processes.machine_seconds()]

    before, began = used(), time.monotonic()
    await asyncio.sleep(seconds)
    after, time_passed = used(), time.monotonic() - began
    return Cost(*((late - early) / time_passed for early, late in zip(before, after, strict=True)))


def _steps(stage: Stage, calls: list[dict[str, Any]]) -> Iterator[tuple[str, list[float]]]:
    """Yield the steps on the way from a caller's join to the agent's first sound."""
    yield "subscribed", [call["subscribed"] - call["began"] for call in calls]
    for kind in ("job", "connected", "entered", "spoke"):
        moments = stage.listener.moments(kind)
        known = [moments[call["name"]] - call["began"] for call in calls if call["name"] in moments]
        if known:
            yield kind, known
    spoke = stage.listener.moments("spoke")
    yield "heard", [call["first"] - spoke[call["name"]] for call in calls if call["name"] in spoke]
