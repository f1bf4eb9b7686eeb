"""The control plane's parts, opened and closed together: the log and everybody who writes to it or reads it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import importlib.util
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final, Self

import msgspec
from starlette.routing import Route

from greenroom.config import ApiKey, RecordSettings
from greenroom.control._feed import Feed
from greenroom.control._guard import Access
from greenroom.control._live import live_routes
from greenroom.control._log import log_routes
from greenroom.control._login import Login
from greenroom.control._pools import pool_routes
from greenroom.errors import ConfigError, GreenroomError
from greenroom.eventlog import EventLog, SigningKey
from greenroom.fleet import Changes, Fleet, OpenOrcaFeed, Outside, Pools, Used, openorca_routes
from greenroom.fleet import routes as fleet_routes
from greenroom.ingest import Ingest, LiveWatch, WebhookIngest
from greenroom.link import Controls, LiveKit, ObservePolicy, Observer, When
from greenroom.sessions import Sessions, Usage, cost_of, load_prices
from greenroom.sessions import routes as session_routes

_log = logging.getLogger("greenroom.control")

LOCK: Final = "control.lock"


class PlaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a control plane works.

    :param data_dir: where the log, its blobs and the sessions' tables are.
    :param observe: which sessions are listened to while they run.
    :param recording: whether agents may upload; if not, they are told to stop.
    :param retention: seconds after which sessions and rooms are erased; ``None`` keeps them.
    :param signing_key: a file with the key that the log's checkpoints are signed with.
    :param compare: seconds between two questions whether a webhook was missed.
    """

    data_dir: Path
    observe: ObservePolicy = ObservePolicy()
    recording: bool = True
    retention: float | None = None
    signing_key: Path | None = None
    compare: float = 60.0

    @classmethod
    def of(cls, data_dir: Path, record: RecordSettings) -> PlaneSettings:
        """Return how a control plane works that keeps such a record."""
        observe = ObservePolicy(
            when=When(record.observe),
            share=record.share,
            linger=record.linger,
            limit=record.limit,
            content=record.content,
        )
        return cls(
            data_dir=data_dir,
            observe=observe,
            recording=record.recording,
            retention=record.retention,
            signing_key=record.log_key,
            compare=record.compare,
        )


class Plane:
    """A running control plane beside one LiveKit server. Belongs to the event loop; open it with :func:`open_plane`."""

    def __init__(
        self,
        livekit: LiveKit,
        keys: Sequence[ApiKey],
        access: Access,
        settings: PlaneSettings,
        *,
        log: EventLog,
        sessions: Sessions,
    ) -> None:
        self.livekit = livekit
        self.log = log
        self.sessions = sessions
        self.settings = settings
        self.pools = Pools(log)
        self._pools_told: object = ()
        self.ingest = Ingest(log, keys, recording=settings.recording, pools=self.pools.take)
        self.webhooks = WebhookIngest(log, keys, livekit)
        # Who is told not to record is not listened to for what is said either.
        observe = msgspec.structs.replace(settings.observe, content=settings.observe.content and settings.recording)
        self.observer = Observer(livekit, log.append, observe)
        self.watch = LiveWatch(log, livekit, self.observer)
        self.controls = Controls(livekit, self.observer, log.append)
        self.feed = Feed(log)
        self.fleet = Fleet(log, pricing=_price, outside=self._outside)
        self.openorca = OpenOrcaFeed(self.fleet)
        self.login = Login(access, keys, log)
        self._tasks: list[asyncio.Task[None]] = []

    def root_routes(self) -> list[Route]:
        """Return what is mounted at the root: uploads, webhooks and logging in."""
        return [*self.ingest.routes(), *self.webhooks.routes(), *self.login.pages()]

    def api_routes(self) -> list[Route]:
        """Return what is mounted under ``/api``."""
        return [
            *self.login.routes(),
            *session_routes(self.sessions),
            *live_routes(self),
            *pool_routes(self),
            *log_routes(self),
            *fleet_routes(self.fleet),
            *self.feed.routes(self.observer.watching),
        ]

    def openorca_routes(self) -> list[Route]:
        """Return what is mounted under ``/openorca``."""
        return openorca_routes(self.fleet, self.openorca)

    async def start(self) -> None:
        """Begin to follow what happens; the LiveKit server may come up later."""
        await self.feed.start()
        await self.fleet.start()
        await self.pools.start()
        await self.watch.start()
        self.fleet.listen(self._announce)
        self.pools.listen(self._pools_changed)
        self.sessions.listen(lambda changed: self.feed.announce("sessions.changed", {"ids": sorted(changed)}))
        self._tasks.append(asyncio.create_task(self._compare(), name="control compare"))
        # What is there by now stays; looking through it again and again would hold everybody up.
        gc.collect()
        gc.freeze()

    async def hang_up(self) -> None:
        """End the answers that would never end by themselves, so that the HTTP server can stop."""
        await self.openorca.aclose()
        await self.feed.aclose()

    async def aclose(self) -> None:
        """Stop what follows, then what is followed. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.watch.aclose()
        await self.observer.aclose()
        await self.webhooks.aclose()
        await self.openorca.aclose()
        await self.pools.aclose()
        await self.fleet.aclose()
        await self.feed.aclose()
        await self.ingest.close()
        await self.livekit.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _announce(self, changes: Changes) -> None:
        self.feed.announce("fleet.changed", changes.announcement())

    def _pools_changed(self) -> None:
        # Figures move with each report; whoever follows the fleet is told when one of its words is another.
        now = tuple(
            (view.instance, view.lost, view.report.state, len(view.report.shards), round(view.report.load, 1))
            for view in self.pools.views
        )
        if now != self._pools_told:
            self._pools_told = now
            self.fleet.machines_moved()
        self.feed.announce("pools.changed", {"ids": [view.instance for view in self.pools.views]})

    def _outside(self) -> Outside:
        healthy = {"the record of sessions": self.sessions.healthy, "the feed": self.feed.healthy}
        return Outside(
            failing_since=self.watch.failing_since,
            behind=max(0, self.feed.head - self.sessions.position),
            broken=tuple(name for name, well in healthy.items() if not well),
            workers_known=self.watch.has_worker_list,
            pools=self.pools.views,
        )

    async def _compare(self) -> None:
        """Make up for webhooks that were missed while nobody listened, and for servers that send none."""
        while True:
            try:
                await self.webhooks.compare()
            except GreenroomError as error:
                _log.debug("rooms could not be compared", extra={"why": error.message})
            await asyncio.sleep(self.settings.compare)


@contextlib.asynccontextmanager
async def open_plane(
    livekit_url: str,
    keys: Sequence[ApiKey],
    access: Access,
    settings: PlaneSettings,
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Plane]:
    """Open the log and start everything around it; close all of it at the end.

    :raises ConfigError: the directory cannot be used, or another Greenroom uses it.
    :raises EventLogError: the log is damaged or of a newer version.
    """
    signing = SigningKey.read(settings.signing_key) if settings.signing_key else None
    retention = None if settings.retention is None else dict.fromkeys(("session", "room"), settings.retention)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_lock(settings.data_dir))
        log = await EventLog.open(settings.data_dir / "log.db", clock=clock, key=signing, retention=retention)
        stack.push_async_callback(log.close)
        # Peaks are a drawing: without the extra everything else is there.
        peaks = importlib.util.find_spec("av") is not None
        sessions = await stack.enter_async_context(
            await Sessions.open(log, settings.data_dir / "sessions.db", peaks=peaks)
        )
        plane = Plane(LiveKit(livekit_url, keys[0]), keys, access, settings, log=log, sessions=sessions)
        yield await stack.enter_async_context(plane)


def _price(used: Iterable[Used]) -> float | None:
    table = load_prices()
    if table.currency != "USD":
        return None
    usage = [Usage(kind=each.kind, provider=each.provider, model=each.model, amounts=each.amounts) for each in used]
    return cost_of(usage, table).amount


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[IO[str]]:
    """Hold the directory: two programs would both make the tables of its sessions."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / LOCK).open("w")
    except OSError as error:
        raise ConfigError(
            f"Cannot write to '{directory}': {error.strerror}", fix="Name a directory of yours with --data-dir"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"Another Greenroom uses the directory '{directory}'", fix="Name another with --data-dir"
            ) from None
        yield file
