"""A pool of agents: everything between LiveKit and the shards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from livekit.protocol import agent as agent_pb

from greenroom.errors import GreenroomError
from greenroom.pool._model import EndKind
from greenroom.pool._settings import PoolSettings
from greenroom.pool._wire import FromShard, Ready, Role
from greenroom.pool.admission import Breakers, Desk, Router, ShardState, Tenants, hot_applied
from greenroom.pool.supervisor import _effective as effective
from greenroom.pool.supervisor._advice import Advice
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._devlink import DevLink, JobInfo
from greenroom.pool.supervisor._front import Front
from greenroom.pool.supervisor._generations import Generations
from greenroom.pool.supervisor._heartbeat import Heartbeat
from greenroom.pool.supervisor._http import HttpServer
from greenroom.pool.supervisor._link import Link
from greenroom.pool.supervisor._links import Links
from greenroom.pool.supervisor._messages import Load
from greenroom.pool.supervisor._metrics import metrics_of
from greenroom.pool.supervisor._nursery import Nursery
from greenroom.pool.supervisor._output import Output
from greenroom.pool.supervisor._overseer import Overseer
from greenroom.pool.supervisor._parts import Parts
from greenroom.pool.supervisor._report import Self, agent_reports, shard_report
from greenroom.pool.supervisor._routes import Routes
from greenroom.pool.supervisor._runs import Runs
from greenroom.pool.supervisor._service import Service, place
from greenroom.pool.supervisor._shards import Shard, Shards
from greenroom.pool.supervisor._stream import MetricsFiles
from greenroom.reports import PoolCommands, PoolSnapshot

_log = logging.getLogger("greenroom.pool")

_TICK: Final = 0.25
_GRACE: Final = 2.0
#: One that runs, and one that waits for what was saved meanwhile.
_RELOADS: Final = 2


class Pool:
    """Many agents in few processes.

    :param on_output: is given each line that a shard or nursery prints.
    :param cost_of: the price in USD of LiveKit's usage by model, ``None`` when unknown.
    :param discover: names the files with agents, again after each change; by default those under ``settings.paths``.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        on_output: Callable[[Output], None] | None = None,
        cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
        discover: Callable[[], Sequence[Path]] | None = None,
    ) -> None:
        self._settings = settings
        self._self = Self(time.time())
        self._clock = time.monotonic
        output = on_output or _ignore
        self._shards = Shards(self, output, self._clock)
        self._generations = Generations(settings, self._shards, output)
        self._desk = Desk(effective.caps(settings, Cast()))
        self._breakers = Breakers(effective.breaker(settings, Cast().options))
        self._tenants = Tenants(settings.tenants, patience=settings.offer_timeout)
        parts = Parts(shards=self._shards, generations=self._generations, desk=self._desk, breakers=self._breakers)
        self._service = Service(settings, discover, parts, tenants=self._tenants, on_change=self.changed)
        self._runs = Runs(settings, self, parts, cost_of=cost_of)
        self._front = Front(settings, self, parts, runs=self._runs, tenants=self._tenants)
        self._overseer = Overseer(
            settings.watchdog,
            parts,
            runs=self._runs,
            memory=lambda: effective.memory(self._settings, self.cast.options),
            on_change=self.changed,
            on_drain=self.order_drain,
        )
        self._links = Links(settings, self, self.changed)
        self._service.join(self._links, self._runs)
        self._files = MetricsFiles(settings, parts.metrics, self.snapshot)
        self._http = HttpServer(Routes(self, settings.key))
        self._listeners: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._over = asyncio.Event()
        self._news_due = False
        self._state = "starting"
        self._draining = False
        self._reloads = 0
        self._lag = 0.0

    # The public face

    @property
    def url(self) -> str:
        """The URL of its HTTP port."""
        return self._http.url

    async def start(self) -> None:
        """Return when the HTTP port is open, the shards are ready and the agents are registered.

        :raises GreenroomError: when nothing can ever run, and no save is waited for.
        """
        self._tenants.load()
        self._files.open()
        self.listen(self._files.events)
        if self._settings.port is not None or self._settings.dev:
            await self._http.start(self._settings.host, effective.port(self._settings, self.cast.options))
        await self._service.open()
        if not self._http.url:
            await self._http.start(self._settings.host, effective.port(self._settings, self.cast.options))
        self._spawn(self._tick())
        self._spawn(self._files.run())
        problem = await self._links.settled()
        if problem is not None:
            raise problem
        while any(shard.state is ShardState.STARTING for shard in self._shards.sessions()):
            await self._news()
        if self._state == "starting":
            self._state = "serving"
        if self._settings.watch:
            self._spawn(self._service.watch())
        if self._settings.observability:
            self._spawn(self._heartbeat().run())
        if self._settings.cli_address:
            self._spawn(self._dev_link().run())
        self.changed()

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - one bound around several steps
        """Take no more calls, and return once the last one has hung up: true, or false when ``timeout`` was over.

        Calls that run then are ended.

        :param timeout: seconds; by default what the pool was told.
        """
        self._begin_drain()
        limit = effective.drain_timeout(self._settings, self.cast.options) if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                await self._idle.wait()
        except TimeoutError:
            self._runs.end_all(EndKind.DRAINED, f"its pool stopped; {limit:g} s to end were over")
            return False
        return True

    async def drained(self) -> None:
        """Wait until somebody has had the pool drained: over HTTP, or through its control plane."""
        await self._over.wait()

    async def stop(self) -> None:
        """End what runs, and wait for the processes. Idempotent."""
        if self._state == "stopped":
            return
        self._begin_drain()
        self._runs.end_all(EndKind.DRAINED, "its pool stopped")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_timeout + _GRACE):
                await self._idle.wait()
        self._state = "stopped"
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._front.close()
        await self._links.close()
        await self._tenants.aclose()
        await self._end_processes()
        await self._http.close()
        self._files.close()
        self._over.set()

    async def reload(self) -> None:
        """Bring a new generation of the code into service; return once it is, or is refused.

        :raises GreenroomError: when the code cannot be loaded at all; what was in service goes on.
        """
        await self._service.reload()

    def apply(self, settings: PoolSettings) -> tuple[str, ...]:
        """Take other settings while running; calls that run keep their places.

        :returns: the names of those that count from the next start.
        :raises ConfigError: when the file of tenants cannot be read; nothing has changed then.
        """
        held, waiting = hot_applied(self._settings, settings)
        if held.tenants != self._settings.tenants:
            self._tenants.apply(held.tenants)
        self._settings = held
        self._service.apply(held)
        self._runs.apply(held)
        self._overseer.apply(held.watchdog)
        self.changed()
        return waiting

    def snapshot(self) -> PoolSnapshot:
        """Return what the pool is doing."""
        now = self._clock()
        return PoolSnapshot(
            instance=self._self.instance,
            machine=self._self.machine,
            pid=self._self.pid,
            started_at=self._self.started_at,
            at=time.time(),
            state=self.state,
            generation=self.cast.generation,
            deployment=self._service.deployment,
            load=self._desk.load,
            max_sessions=self._desk.caps.total,
            agents=agent_reports(self.cast, self._links, self._desk.by_agent()),
            shards=tuple(shard_report(shard) for shard in self._shards.all() if shard.role is Role.SHARD),
            sessions=tuple(call.report() for call in self._runs.calls.running.values()),
            by_tenant=self._desk.by_tenant(),
            started=self._runs.calls.started,
            ended={str(kind): count for kind, count in self._runs.calls.ended.items()},
            refused={str(reason): count for reason, count in self._front.refused.items()},
            rescued=self._runs.calls.rescued,
            breakers={name: str(state) for name, state in self._breakers.states(now).items()},
            versions=dict(self.cast.versions),
            cpus=self._self.cpus,
            memory_total=self._self.memory,
            shards_lost=self._shards.lost,
            heartbeat=self._settings.heartbeat,
            routes=self.cast.options.routes,
            first_prefix=self.router.first_prefix,
            only_registered_rooms=self.router.only_registered_rooms,
        )

    def listen(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the snapshot has changed in substance."""
        self._listeners.append(callback)

    # What the HTTP port asks

    @property
    def state(self) -> str:
        """What stands in its snapshot."""
        links = self._links.all()
        if self._state == "serving" and links and not any(link.is_registered for link in links):
            return "lost"
        return self._state

    def health(self) -> str:
        """Return what keeps it from taking calls; empty when nothing does."""
        if self._state == "starting" and not self.cast.generation:
            return "the agents are being loaded"
        if self._state == "stopped":
            return "the pool has stopped"
        if not self.cast.members:
            broken = "; ".join(f"{place(each.source, each.line)}: {each.message}" for each in self.cast.failures[:3])
            return f"no agent is in service: {broken}" if broken else "no agent is in service"
        if not all(link.is_registered for link in self._links.all() if not self._links.is_leaving(link)):
            return "not registered with LiveKit"
        if not any(shard.state is ShardState.READY for shard in self._shards.sessions()):
            return "no shard is ready"
        return ""

    def metrics(self) -> str:
        """Return its figures as Prometheus reads them."""
        calls = self._runs.calls
        return metrics_of(self.snapshot(), calls.by_agent, calls.seconds, self._lag)

    def order_drain(self) -> None:
        """Begin to drain, and tell who waits once drained."""
        if not self._draining:
            self._begin_drain()
            self._spawn(self._drain_and_tell())

    def order_reload(self) -> None:
        """Begin to reload. What is ordered while another order waits is done by that one."""
        if self._reloads < _RELOADS:
            self._reloads += 1
            self._spawn(self._reload_as_ordered())

    # What its parts ask

    @property
    def cast(self) -> Cast:
        """What is in service."""
        return self._service.cast

    @property
    def router(self) -> Router:
        """Routes by what is in service."""
        return self._service.router

    def is_draining(self) -> bool:
        """Whether no more calls are taken."""
        return self._draining

    def link(self, number: int) -> Link | None:
        """Return a registration."""
        return self._links.get(number)

    def advice(self) -> Advice | None:
        """Return who answers for the program."""
        return self._service.advice()

    def tell(self, link: int, message: agent_pb.WorkerMessage) -> None:
        """Send a message over a registration."""
        found = self._links.get(link)
        if found is not None:
            found.send(message)

    def received(self, link: Link, message: agent_pb.ServerMessage) -> None:
        """LiveKit says something."""
        self._front.received(link, message)

    def lost(self, link: Link) -> None:
        """A registration's connection is gone."""
        self._front.lost(link)

    def jobs_of(self, link: Link) -> list[str]:
        """Return the jobs that run and came over a registration."""
        return [call.id for call in self._runs.calls.of_link(link.number)]

    def shard_ready(self, shard: Shard, message: Ready) -> None:
        """A process is ready."""
        self._overseer.ready(shard, message)

    def shard_said(self, shard: Shard, message: FromShard) -> None:
        """A process said something."""
        self._overseer.said(shard, message)

    def shard_gone(self, shard: Shard, why: str) -> None:
        """A process is gone."""
        self._overseer.gone(shard, why, stopping=self._state == "stopped")

    def nursery_ended(self, nursery: Nursery) -> None:
        """A nursery died: what it has forked lives on, and only a new one can fork more."""
        if nursery.generation in self.cast.generations and not self._draining:
            self._spawn(self.reload())

    def changed(self) -> None:
        """Tell LiveKit how busy the pool is, and who listens that something happened; once for many changes."""
        if not self._news_due:
            self._news_due = True
            asyncio.get_running_loop().call_soon(self._tell_news)

    # Whom it talks to besides LiveKit

    def _heartbeat(self) -> Heartbeat:
        def obey(commands: PoolCommands) -> None:
            if commands.reload:
                self.order_reload()
            if commands.drain:
                self.order_drain()

        settings = self._settings
        return Heartbeat(settings.observability, settings.key, settings.heartbeat, self.snapshot, obey)

    def _dev_link(self) -> DevLink:
        def restore(jobs: Iterable[JobInfo]) -> None:
            for job in jobs:
                self._spawn(self._front.restore(job, self._links))

        return DevLink(
            self._settings.cli_address,
            agent_name=next((agent.dispatch for agent in self.cast.agents), ""),
            url=self._settings.url,
            on_restore=restore,
            running=self._runs.hand_over,
        )

    # Time

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        rounds = 0
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self._lag = max(self._lag * 0.9, loop.time() - due)
            rounds += 1
            try:
                self._look(each_second=rounds % 4 == 0)
            except Exception:
                # Without these looks nobody would be watched any more.
                _log.exception("a look at the pool failed")

    def _look(self, *, each_second: bool) -> None:
        self._overseer.tick()
        self._runs.tick()
        self._shards.retire_idle_tenants()
        if each_second:
            self._tenants.refresh()
            self._breakers.tidy(self._clock())
            # It may wait for a process to end, and the watchdog must not.
            self._spawn(self._service.drop_old())

    async def _reload_as_ordered(self) -> None:
        try:
            await self.reload()
        finally:
            self._reloads -= 1

    async def _drain_and_tell(self) -> None:
        if not await self.drain():
            # They were told to end; who waits for the pool goes on to stop it when they take too long.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.shutdown_timeout):
                    await self._idle.wait()
        self._over.set()

    def _begin_drain(self) -> None:
        if not self._draining:
            self._draining = True
            if self._state == "serving":
                _log.info("draining", extra={"sessions": len(self._runs.calls.running)})
            if self._state in {"starting", "serving"}:
                self._state = "draining"
            self._runs.leave_handed_over()
        # At once: LiveKit would go on to choose this pool.
        self._tell_news()

    def _tell_news(self) -> None:
        self._news_due = False
        self._links.tell_load(self._load_of)
        if self._draining and not self._runs.calls.running and not self._front.open:
            self._idle.set()
        for callback in list(self._listeners):
            callback()

    def _load_of(self, link: Link) -> Load:
        leaving = self._links.is_leaving(link)
        return Load(
            share=round(self._desk.load, 3),
            jobs=len(self._runs.calls.of_link(link.number)),
            full=self._desk.full or leaving,
            draining=self._draining or leaving,
        )

    async def _news(self) -> None:
        """Wait until something has changed."""
        news = asyncio.Event()
        self._listeners.append(news.set)
        try:
            await news.wait()
        finally:
            self._listeners.remove(news.set)

    async def _end_processes(self) -> None:
        self._generations.fork_no_more()
        shards = self._shards.all()
        for shard in shards:
            shard.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                for shard in shards:
                    await shard.process.gone.wait()
        for shard in self._shards.all():
            shard.process.kill()
        with contextlib.suppress(TimeoutError):
            # One that was never forked ends with the nursery that does not fork it.
            async with asyncio.timeout(_GRACE):
                for shard in shards:
                    await shard.process.gone.wait()
        await self._generations.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, GreenroomError):
            _log.error("%s", error)
        elif error is not None:
            _log.error("a task of the pool failed", exc_info=error)


def _ignore(_output: Output) -> None:
    pass
