"""A program that writes to a log until it is killed, and says on stdout what it has been promised.

``python -m support.log_writer DIRECTORY FIRST [--limit BYTES]``: twenty producers append events with keys
from ``FIRST`` on, every tenth with a blob. A line ``NUMBER BLOB`` follows each acknowledgement (``-`` without a blob).
With a limit on the size of a file, it writes until that is reached, says ``full CODE``, lifts the limit and appends.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
from itertools import count
from pathlib import Path

from greenroom.eventlog import EventLog, LogFullError, NewEvent
from support.logs import Said

PRODUCERS = 20
BLOB = 300_000


def content(number: int) -> bytes:
    """Return what the blob of an event holds."""
    return number.to_bytes(8, "big") * (BLOB // 8)


async def produce(log: EventLog, producer: int, numbers: count[int]) -> None:
    """Append one event after the other to two streams."""
    for number in numbers:
        ref = await log.blobs.put_bytes(content(number)) if number % 10 == 0 else None
        event = NewEvent(Said(text="x" * (number % 300), number=number, blob=ref), key=f"key-{number}")
        await log.append(f"session:AJ_{producer}", [event])
        os.write(1, f"{number} {ref.hash if ref else '-'}\n".encode())
        if number % 97 == 0:
            await log.checkpoint()
        if number % 211 == 0:
            await log.erase(f"session:AJ_{producer}", "test")


async def run(directory: Path, first: int, limit: int | None) -> None:
    """Write until killed, or until the file cannot grow."""
    async with await EventLog.open(directory / "log.db") as log:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        numbers = count(first)
        results = await asyncio.gather(
            *(produce(log, producer, numbers) for producer in range(PRODUCERS)), return_exceptions=True
        )
        full = [result for result in results if isinstance(result, LogFullError)]
        if len(full) < PRODUCERS:
            raise next(result for result in results if result not in full)  # type: ignore[misc]
        os.write(1, f"full {full[0].code}\n".encode())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        number = next(numbers)
        await log.append("session:AJ_0", [NewEvent(Said(number=number), key=f"key-{number}")])
        os.write(1, f"{number} -\n".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    asyncio.run(run(options.directory, options.first, options.limit))
