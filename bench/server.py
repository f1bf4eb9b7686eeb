"""``greenroom server`` from exec to ready, and the memory it then holds."""

from __future__ import annotations

from bench._figures import Figure, Options, percentile
from bench._process import greenroom, key_option

READY_SECONDS = 0.3
MEMORY_MB = 55.0


async def run(options: Options) -> list[Figure]:
    """Start and stop the server repeatedly."""
    rounds = options.count(20)
    # The first start compiles bytecode on a fresh checkout; a user pays that once, so it is not counted.
    async with greenroom("server", *key_option()):
        pass
    seconds, work, resident, proportional = [], [], [], []
    for _ in range(rounds):
        async with greenroom("server", *key_option()) as running:
            seconds.append(running.seconds_to_ready)
            work.append(running.cpu_seconds())
            rss, pss = running.memory()
            resident.append(rss)
            proportional.append(pss)
    note = f"{rounds} starts"
    return [
        Figure("server exec to ready p50", percentile(seconds, 0.5), "s", READY_SECONDS, note=note),
        Figure("server exec to ready worst", max(seconds), "s", note=note),
        Figure(
            "server exec to ready, processor time", percentile(work, 0.5), "s", note="median; what load cannot change"
        ),
        Figure("server memory when ready, RSS", percentile(resident, 0.5), "MB", MEMORY_MB, note="median"),
        Figure("server memory when ready, PSS", percentile(proportional, 0.5), "MB", MEMORY_MB, note="median"),
    ]
