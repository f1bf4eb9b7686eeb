"""What audio costs the server and how long it takes, with clients of ``greenroom-load`` beside a bare ``sendto``.

Only the server's threads are counted; whoever receives is outside the measurement.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench._figures import Figure, Options
from bench._load import load, sendto_floor, thread_seconds
from bench._process import PATIENCE, Running, greenroom, key_option

# The thread that forwards, as the system shows it: names end after 15 characters.
MEDIA = "greenroom-media"
#: Bytes of Opus at 32 kbit/s, the rate of speech.
SIZE = 80
STALLED_P99_MS = 20.0
QUEUEING_MS = 20.0
#: At fewer, most of the cost is waking up for each packet.
SESSIONS = 200


@dataclass(frozen=True)
class Scenario:
    """Who talks to whom, and how often.

    :param rate: packets a second of each publisher.
    :param most: how many times a ``sendto`` a packet out may cost.
    """

    name: str
    rate: int
    publishers: int = 1
    subscribers: int = 100
    sections: int = 3
    most: float | None = None

    @property
    def options(self) -> tuple[str, ...]:
        return (
            *("--publishers", str(self.publishers), "--subscribers", str(self.subscribers)),
            *("--rate", str(self.rate), "--size", str(SIZE), "--sections", f"{self.sections},3"),
        )


FAN_OUT = (
    Scenario("1 to 100 at 30,000 packets/s", rate=300, most=2.8),
    Scenario("1 to 100 at 50 packets/s each", rate=50, most=4.5),
    Scenario("10 to 100 at 50 packets/s each", rate=50, publishers=10, sections=10),
)


@dataclass(frozen=True)
class Outcome:
    """What one scenario's clients told, and what its server used while they measured."""

    ready: dict[str, Any]
    measured: dict[str, Any]
    threads: dict[str, float]
    kb_per_connection: float

    @property
    def per_packet_us(self) -> float:
        """Processor time of the media thread for each packet that came out."""
        return self.threads[MEDIA] / self.measured["received"] * 1e6

    def share(self, *, media: bool) -> float:
        """Percent of a core that the media thread used, or all others."""
        spent = sum(seconds for name, seconds in self.threads.items() if (name == MEDIA) == media)
        return float(spent / self.measured["seconds"] * 100)


async def run(options: Options) -> list[Figure]:
    """Let audio flow between ever more clients."""
    seconds = 2.0 if options.quick else 5.0
    figures = []
    for scenario in FAN_OUT:
        bursts = scenario.rate * scenario.publishers
        floor = await sendto_floor(scenario.subscribers, bursts, SIZE, seconds)
        async with greenroom("server", *key_option()) as running:
            outcome = await _measure(running, scenario.options, seconds)
        figures += _fan_out(scenario, outcome, floor)
    figures += await _sessions(SESSIONS // 10 if options.quick else SESSIONS, seconds)
    figures += await _stalls(seconds)
    return figures


async def _measure(
    running: Running, options: tuple[str, ...], seconds: float, began: Callable[[], None] | None = None
) -> Outcome:
    before = running.memory()[1]
    ready: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    threads: dict[str, float] = {}
    after: dict[str, float] = {}
    kilobytes = 0.0
    options = (*options, "--seconds", str(seconds), "--patience", str(2 * PATIENCE))
    async for report in load("--url", running.signal_url, *options):
        if report["event"] == "ready":
            ready = report
            if report["ready"] < report["clients"]:
                raise RuntimeError(f"only {report['ready']} of {report['clients']} clients: {report['failures']}")
            kilobytes = (running.memory()[1] - before) * 1000 / report["clients"]
        elif report["event"] == "measuring":
            threads = thread_seconds(running.process.pid)
            if began:
                began()
        elif report["event"] == "measured":
            measured, after = report, thread_seconds(running.process.pid)
    spent = {name: after[name] - threads.get(name, 0.0) for name in after}
    return Outcome(ready, measured, spent, kilobytes)


def _fan_out(scenario: Scenario, outcome: Outcome, floor: float) -> list[Figure]:
    cost = outcome.per_packet_us
    rate = outcome.measured["received"] / outcome.measured["seconds"]
    name = f"audio {scenario.name}"
    note = f"sendto alone: {floor:.2f} us"
    if outcome.measured["latency_ms"]["p50"] > QUEUEING_MS:
        # Then many leave in one go, which is cheaper.
        note += "; too low: the machine was so busy that packets queued up"
    return [
        Figure(f"{name}, media thread per packet out", cost, "us", note=f"{rate:.0f} packets/s out"),
        Figure(f"{name}, in sendto calls", cost / floor, "times", scenario.most, note=note),
        *_circumstances(name, outcome),
    ]


async def _sessions(pairs: int, seconds: float) -> list[Figure]:
    options = ("--rooms", str(pairs), "--publishers", "2", "--subscribers", "0", "--two-way", "--size", str(SIZE))
    async with greenroom("server", *key_option()) as running:
        outcome = await _measure(running, options, seconds)
    name = f"audio {pairs} two-way sessions"
    held = pairs / (outcome.share(media=True) / 100)
    ready = outcome.ready
    return [
        Figure(
            f"{name}, sessions a core carries",
            held,
            "",
            400 if pairs == SESSIONS else None,
            higher_is_better=True,
            note="of the media thread",
        ),
        Figure(f"{name}, per packet out", outcome.per_packet_us, "us", note="the packet in included"),
        *_circumstances(name, outcome),
        Figure(f"{name}, memory per connection", outcome.kb_per_connection, "kB", note="PSS of the server"),
        Figure(
            f"{name}, join to first packet heard p99",
            ready["heard_ms"]["p99"],
            "ms",
            note=f"{ready['joins']} joins in {ready['seconds']:.1f} s, eight at a time",
        ),
    ]


async def _stalls(seconds: float) -> list[Figure]:
    """Measure the same call with a Python that runs and with one that stands still half of the time."""
    options = ("--publishers", "1", "--subscribers", "20", "--size", str(SIZE))
    stalling = (sys.executable, str(Path(__file__).with_name("_stalling.py")))
    async with greenroom("server", *key_option(), command=stalling) as running:
        calm = await _measure(running, options, seconds)
        waits: list[float] = []
        asking = asyncio.create_task(_ask_often(running.url, waits))
        stall = running.process.send_signal
        stalled = await _measure(running, options, seconds, began=lambda: stall(signal.SIGUSR1))
        asking.cancel()
    note = f"p99 {calm.measured['latency_ms']['p99']:.3g} ms without; 20 receivers"
    latency = stalled.measured["latency_ms"]
    return [
        Figure("audio while Python stalls for 50 ms, latency p99", latency["p99"], "ms", STALLED_P99_MS, note=note),
        Figure("audio while Python stalls for 50 ms, latency worst", latency["max"], "ms"),
        Figure("audio while Python stalls for 50 ms, lost", _lost(stalled), "%", 0.0),
        Figure("audio while Python stalls for 50 ms, longest answer to GET /", max(waits) * 1000, "ms", note="proof"),
    ]


async def _ask_often(url: str, waits: list[float]) -> None:
    """Request the server's page again and again and note how long each answer took."""
    parts = urlsplit(url)
    while True:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"HEAD / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        await reader.read()
        waits.append(time.perf_counter() - began)
        writer.close()
        # Short, or it would keep step with the stalls.
        await asyncio.sleep(0.005)


def _circumstances(name: str, outcome: Outcome) -> list[Figure]:
    latency = outcome.measured["latency_ms"]
    others = outcome.share(media=False)
    return [
        Figure(f"{name}, added latency p50", latency["p50"], "ms", note="client to client on one machine"),
        Figure(f"{name}, added latency p99", latency["p99"], "ms"),
        Figure(f"{name}, media thread", outcome.share(media=True), "% of a core", note=f"Python: {others:.1f} %"),
        Figure(f"{name}, lost", _lost(outcome), "%", 0.0),
    ]


def _lost(outcome: Outcome) -> float:
    measured = outcome.measured
    silent = measured["streams"][1] - measured["streams"][0]
    if silent:
        raise RuntimeError(f"{silent} of {measured['streams'][1]} streams were silent")
    return float(measured["lost"] / (measured["lost"] + measured["received"]) * 100)
