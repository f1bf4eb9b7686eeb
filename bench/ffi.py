"""What it takes to hand livekit-rtc's events to whom they concern, as livekit-rtc does and routed."""

from __future__ import annotations

import asyncio
import sys

from bench._dispatching import ANSWERS, OTHERS, SOUND
from bench._figures import Figure, Options

ROOMS = (8, 32, 50)


async def run(options: Options) -> list[Figure]:
    """Measure both ways, side by side for each number of rooms."""
    seconds = 10 if not options.quick else 3
    figures = []
    for rooms in ROOMS:
        for way in ("stock", "routed"):
            share, rate = await _measured(way, rooms, seconds)
            wanted = SOUND + ANSWERS + OTHERS
            # One that cannot keep up did only part of the work; what all of it takes is told.
            figures.append(
                Figure(
                    f"events of {rooms} rooms, {way}",
                    share * wanted / rate * 100,
                    "% of a core",
                    25 if way == "routed" and rooms == ROOMS[-1] else None,
                    note=f"{rate:.0f} of {wanted} events a second of each room arrived",
                )
            )
    return figures


async def _measured(way: str, rooms: int, seconds: float) -> tuple[float, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench._dispatching", way, str(rooms), str(seconds)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    share, rate = output.decode().split()
    return float(share), float(rate)
