"""A server in a process of its own that tells what it holds: memory, its own objects, what the engine has alive.

``python -m support.watched_server [ADDRESS]...`` serves on free ports, announces its media at the addresses, and
prints its URL and its media port. Then it answers
``holdings`` with a JSON object, and a number when exactly so many sections carry a track.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenroom._media import EngineConfig, Str0mEngine, TrackId, TransportId
from support.helper import PATIENCE, Helper, helper
from support.serving import running_server

# What allocators may take more than before. 5,000 cycles that left an offer each would take 40 MB.
SLACK = 8 * 1024 * 1024
# Messages on their way; jobs for each publisher, which wait a minute for a worker, and their history, which has an end.
PASSING = {"Outgoing", "Job", "Transition", "WorkerKey"}
OF_SOMEBODY = {"Participant", "Publisher", "SignalSession", "Slot", "Subscriber", "Track"}


@dataclass(frozen=True)
class Holdings:
    """What a server held at one moment."""

    #: Proportional memory in bytes.
    memory: int
    #: How many objects of each of Greenroom's types.
    objects: dict[str, int]
    #: The engine's counters; see :class:`greenroom._media.EngineStats`.
    engine: dict[str, Any]

    def assert_no_more_than(self, before: Holdings) -> None:
        """Fail if there is more of anything that lasts, or notably more memory."""
        lasting = self.objects.keys() - PASSING
        more = {kind: n for kind in lasting if (n := self.objects[kind] - before.objects.get(kind, 0)) > 0}
        assert not more, f"there are more of {more}"
        assert self.engine["transports"] == before.engine["transports"], self.engine
        assert self.memory - before.memory < SLACK, f"{before.memory / 1e6:.1f} MB became {self.memory / 1e6:.1f} MB"


class WatchedServer:
    """The process, seen from a test."""

    def __init__(self, process: Helper, url: str, media_port: int) -> None:
        self.url = url
        self.media_port = media_port
        self._process = process

    async def holdings(self) -> Holdings:
        """Ask what the server holds now, when all garbage is collected."""
        return Holdings(**json.loads(await self._process.ask("holdings")))

    async def is_left(self) -> None:
        """Return when nothing of anybody is there; the last words of a connection take a moment."""
        async with asyncio.timeout(PATIENCE):
            while (gone := await self.holdings()).objects.keys() & OF_SOMEBODY:
                pass
        assert gone.engine["transports"] == 0

    async def sends_on(self, sections: int) -> None:
        """Return when the server sends tracks on so many sections of its clients."""
        await self._process.ask(str(sections))


@contextlib.asynccontextmanager
async def watched_server(*addresses: str) -> AsyncIterator[WatchedServer]:
    """Run a server that announces its media at the addresses; it stops at the end."""
    async with helper(__name__, *addresses) as process:
        url, media_port = (await process.line()).split()
        yield WatchedServer(process, url, int(media_port))


def _holdings(engine: Str0mEngine) -> Holdings:
    gc.collect()
    types = (type(thing) for thing in gc.get_objects())
    objects = Counter(kind.__qualname__ for kind in types if str(kind.__module__).startswith("greenroom."))
    return Holdings(_proportional_memory(), dict(objects), asdict(engine.stats()))


def _proportional_memory() -> int:
    lines = Path(f"/proc/{os.getpid()}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class _WatchedEngine(Str0mEngine):
    """Knows the sections that carry a track."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__(EngineConfig(addresses=tuple(addresses)))
        self._sections: dict[tuple[TransportId, str], TrackId] = {}
        self._changed = asyncio.Event()

    def forward(self, track: TrackId, transport: TransportId, mid: str) -> None:
        super().forward(track, transport, mid)
        self._now_on({**self._sections, (transport, mid): track})

    def unforward(self, transport: TransportId, mid: str) -> None:
        super().unforward(transport, mid)
        self._keep(lambda section, _: section != (transport, mid))

    def close_transport(self, transport: TransportId) -> None:
        super().close_transport(transport)
        self._keep(lambda section, _: section[0] != transport)

    def unpublish(self, track: TrackId) -> None:
        super().unpublish(track)
        self._keep(lambda _, carried: carried != track)

    async def sends_on(self, count: int) -> None:
        while len(self._sections) != count:
            self._changed.clear()
            await self._changed.wait()

    def _keep(self, stays: Callable[[tuple[TransportId, str], TrackId], bool]) -> None:
        self._now_on({section: track for section, track in self._sections.items() if stays(section, track)})

    def _now_on(self, sections: dict[tuple[TransportId, str], TrackId]) -> None:
        self._sections = sections
        self._changed.set()


async def _main(addresses: Sequence[str]) -> None:
    engine = _WatchedEngine(addresses)
    async with running_server(engine) as (_, url):
        print(url, engine.port, flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "holdings":
                print(json.dumps(asdict(_holdings(engine))), flush=True)
            else:
                await engine.sends_on(int(line))
                print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
