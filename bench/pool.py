"""Executors of agents beside each other: real sessions and audio through the embedded server, scripted providers.

Stock livekit-agents, OpenRTC where ``--openrtc-python`` names a Python that has it, and ours with one and two shards
take turns. Each is measured twice under the same calls: first what they cost, then how late loops and audio are.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench._figures import Figure, Options, percentile
from bench._pool_load import Outcomes, loaded
from bench._pool_stage import Executor, openrtc, ours, stage, stock

#: With more the callers, the server and a process for each call would fill two cores: then only waiting is measured.
CALLS = 12
SECONDS = 6.0
ROUNDS = 2
OF_STOCK_CPU = 0.75
OF_OPENRTC_CPU = 0.9
OF_STOCK_PSS = 0.15
LAG_P99_MS = 3.0
LAG_MOST_MS = 20.0
LATE_P99_MS = 5.0
PAUSE_MS = 10.0


def executors(options: Options) -> list[Executor]:
    """List who is compared."""
    peers = [stock()]
    if options.openrtc_python:
        peers.append(openrtc(options.openrtc_python))
    return [*peers, ours(1), ours(2)]


async def run(options: Options) -> list[Figure]:
    """Let each executor in turn serve the same calls."""
    calls, seconds, rounds = (4, 4.2, 1) if options.quick else (CALLS, SECONDS, options.rounds or ROUNDS)
    found = {executor.name: Outcomes(executor) for executor in executors(options)}
    async with stage() as place:
        for number in range(rounds):
            names = [*found][number:] + [*found][:number]
            for name in names:
                found[name].rounds.append(await loaded(place, found[name].executor, calls, seconds))
    figures = [figure for outcomes in found.values() for figure in _figures(outcomes)]
    if "openrtc" not in found:
        figures.append(Figure("pool, executors left out", 1, "", note="OpenRTC: --openrtc-python names none"))
    return figures + [figure for name in found for figure in _compared(found, name)]


def _figures(outcomes: Outcomes) -> Iterator[Figure]:
    name, mine = f"pool, {outcomes.executor.name}", outcomes.executor.is_ours
    last = outcomes.rounds[-1]
    calls = f"{last.calls} calls"
    others = " ".join(
        f"{word} {median(getattr(one.cost, word) for one in outcomes.rounds) * 100:.0f} %"
        for word in ("agents", "server", "callers", "others")
    )
    yield Figure(f"{name}, CPU per call", outcomes.middle("cpu_per_call"), "%", note=outcomes.range("cpu_per_call"))
    yield Figure(
        f"{name}, CPU of the machine", median(one.cost.everything for one in outcomes.rounds) * 100, "%", note=others
    )
    yield Figure(f"{name}, PSS per call", outcomes.middle("pss_per_call"), "MB", note=outcomes.range("pss_per_call"))
    yield Figure(f"{name}, USS per call", outcomes.middle("uss_per_call"), "MB")
    yield Figure(
        f"{name}, PSS with {calls}",
        median(one.loaded.pss for one in outcomes.rounds),
        "MB",
        note=f"idle {last.idle.pss:.0f} MB in {last.idle.processes} processes; {outcomes.executor.note}",
    )
    yield Figure(f"{name}, loop lag p99", outcomes.quantile("lags", 0.99), "ms", LAG_P99_MS if mine else None)
    yield Figure(f"{name}, loop lag worst", outcomes.quantile("lags", 1), "ms", LAG_MOST_MS if mine else None)
    yield Figure(f"{name}, frame lateness p99", outcomes.quantile("late", 0.99), "ms", LATE_P99_MS if mine else None)
    yield Figure(
        f"{name}, longest pause of the collector",
        max(outcomes.all("pauses"), default=0) * 1000,
        "ms",
        PAUSE_MS if mine else None,
        note=f"{len(outcomes.all('pauses'))} longer than 1 ms",
    )
    yield from _joins(name, outcomes)


def _joins(name: str, outcomes: Outcomes) -> Iterator[Figure]:
    joins = outcomes.all("joins")
    steps = "; ".join(
        f"{label} {value:.0f}"
        for label, step in (
            ("job", "job"),
            ("connected", "connected"),
            ("session", "entered"),
            ("its track at the caller (the SDK waits 150 ms before it offers one)", "subscribed"),
            ("speech rendered", "spoke"),
            ("from there to the caller's ear", "heard"),
        )
        if (value := outcomes.step(step)) is not None
    )
    yield Figure(f"{name}, join to first agent audio p50", percentile(joins, 0.5) * 1000, "ms", note=f"p50: {steps}")
    yield Figure(
        f"{name}, join to first agent audio p99",
        percentile(joins, 0.99) * 1000,
        "ms",
        note=f"{len(joins)} joins, two at a time",
    )
    failures = [failure for one in outcomes.rounds for failure in one.failures]
    silent = sum(one.silent for one in outcomes.rounds)
    yield Figure(
        f"{name}, calls without an answer",
        len(failures) + silent,
        "",
        0 if outcomes.executor.is_ours else None,
        note="; ".join(sorted(set(failures)))[:200],
    )


def _compared(found: dict[str, Outcomes], name: str) -> Iterator[Figure]:
    mine = found[name]
    if not mine.executor.is_ours:
        return
    for peer, most in (("stock", OF_STOCK_CPU), ("openrtc", OF_OPENRTC_CPU)):
        if peer in found:
            share = mine.middle("cpu_per_call") / found[peer].middle("cpu_per_call")
            yield Figure(f"pool, {name}, CPU per call, of {peer}'s", share, "times", most)
    share = mine.middle("pss_per_call") / found["stock"].middle("pss_per_call")
    yield Figure(f"pool, {name}, PSS per call, of stock's", share, "times", OF_STOCK_PSS)
