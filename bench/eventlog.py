"""How fast events become durable, beside bare SQLite doing the same and less."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
import time
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench._figures import Figure, Options, percentile
from greenroom.eventlog import EventLog, NewEvent, SigningKey, event

PRODUCERS: Final = 200
TEXT: Final = "I would like to move my appointment to Thursday afternoon, if that is possible at all. " * 2


@event("bench.said")
class Said(msgspec.Struct, frozen=True, kw_only=True):
    """About what a turn of a conversation weighs: 250 bytes."""

    role: str
    text: str
    number: int
    interrupted: bool = False


class Run:
    """What producers saw. Times are seconds."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.elapsed = 0.0
        self.cpu = 0.0
        self.followed = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.elapsed


async def produce(log: EventLog, run: Run, producer: int, until: float) -> None:
    """Append one event after the other, each with a key, to a stream of its own."""
    stream = f"session:AJ_bench{producer:04}"
    number = 0
    while (start := time.perf_counter()) < until:
        number += 1
        data = Said(role="user", text=TEXT, number=number)
        await log.append(stream, [NewEvent(data, key=f"{stream}/{number}")])
        run.latencies.append(time.perf_counter() - start)


async def follow(log: EventLog, run: Run) -> None:
    """Read everything as it comes."""
    async for _ in log.follow(0):
        run.followed += 1


async def appends(seconds: float, *, follower: bool) -> Run:
    """Let 200 producers append for a while."""
    run = Run()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as directory:
        async with await EventLog.open(Path(directory) / "log.db", key=SigningKey(b"k" * 32)) as log:
            # SQLite parses each statement once.
            warm = NewEvent(Said(role="user", text=TEXT, number=0))
            await asyncio.gather(*(log.append(f"session:AJ_warm{number}", [warm]) for number in range(PRODUCERS)))
            following = asyncio.create_task(follow(log, run)) if follower else None
            start, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(produce(log, run, number, start + seconds) for number in range(PRODUCERS)))
            run.elapsed, run.cpu = time.perf_counter() - start, time.process_time() - cpu
            if following is not None:
                following.cancel()
            found = await log.verify(key=SigningKey(b"k" * 32))
            if not found.ok or found.events != len(run.latencies) + PRODUCERS:
                raise RuntimeError(f"the log does not hold what was appended: {found.problems[:3]}")
    return run


def bare(seconds: float, batch: int) -> tuple[float, list[float]]:
    """Insert rows of the same size with neither keys, chains, streams nor waiting producers.

    Returns rows a second, and how long each commit took.
    """
    payload = msgspec.json.encode(Said(role="user", text=TEXT, number=1))
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as directory,
        closing(sqlite3.connect(Path(directory) / "bare.db", isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, at REAL, type TEXT, payload BLOB)")
        commits: list[float] = []
        start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(batch):
                connection.execute(
                    "INSERT INTO events (at, type, payload) VALUES (?, ?, ?)", (now, "bench.said", payload)
                )
            before = time.perf_counter()
            connection.execute("COMMIT")
            commits.append(time.perf_counter() - before)
        return len(commits) * batch / (time.perf_counter() - start), commits


async def run(options: Options) -> list[Figure]:
    """Append with 200 producers; beside it, loops of bare INSERTs, before and after."""
    # As a serving command does once it has started: else the collector walks through all that the other benches loaded.
    gc.collect()
    gc.freeze()
    try:
        return await _measure(options)
    finally:
        gc.unfreeze()


async def _measure(options: Options) -> list[Figure]:
    seconds = 0.5 if options.quick else 4.0
    looped = [await asyncio.to_thread(bare, seconds / 4, PRODUCERS)]
    single, _ = await asyncio.to_thread(bare, seconds / 4, 1)
    alone = await _in_its_own_loop(appends(seconds, follower=False))
    followed = await _in_its_own_loop(appends(seconds, follower=True))
    looped.append(await asyncio.to_thread(bare, seconds / 4, PRODUCERS))
    average = sum(rate for rate, _ in looped) / len(looped)
    commits = [seconds * 1000 for _, found in looped for seconds in found]
    milliseconds = [latency * 1000 for latency in alone.latencies]
    note = f"{PRODUCERS} producers, one event at a time, synchronous=FULL; keys, chains, signed checkpoints; verified"
    return [
        Figure("log, durable appends", alone.rate, "events/s", 20_000, higher_is_better=True, note=note),
        Figure("log, append p50", percentile(milliseconds, 0.5), "ms", note="given to acknowledged"),
        Figure("log, append p99", percentile(milliseconds, 0.99), "ms", 20, note="given to acknowledged"),
        Figure("log, CPU for an event", alone.cpu / len(alone.latencies) * 1e6, "us", note="producers included"),
        Figure("log, appends with a live follower", followed.rate, "events/s", note=f"it read {followed.followed}"),
        Figure("bare INSERT loop, 200 a commit", average, "rows/s", note="one table, no index, one thread; the mean"),
        Figure(
            "bare INSERT loop, commit p99", percentile(commits, 0.99), "ms", note="what the disk does to the slowest"
        ),
        Figure("bare INSERT loop, one a commit", single, "rows/s", note="what the disk allows without group commit"),
        Figure("log / bare INSERT loop", alone.rate / average, "x", note="200 a commit both"),
    ]


async def _in_its_own_loop(work: Coroutine[None, None, Run]) -> Run:
    """Run on uvloop, as the product does, on a thread of its own."""
    return await asyncio.to_thread(uvloop.run, work)
