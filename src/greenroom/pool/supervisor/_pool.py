"""A pool of agents: everything between LiveKit and the shards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from livekit.protocol import agent as agent_pb

from greenroom.errors import GreenroomError
from greenroom.pool._model import EndKind
from greenroom.pool._settings import PoolSettings
from greenroom.pool._wire import (
    Answer,
    Beat,
    Checkpoint,
    Ended,
    Fact,
    FromShard,
    Infer,
    Inferred,
    Ready,
    Role,
    Routed,
    Stalled,
    Started,
    TenantFound,
)
from greenroom.pool.admission import (
    Breakers,
    Desk,
    Kill,
    Resume,
    Router,
    Say,
    ShardState,
    StopPlacing,
    Tenants,
    Watchdog,
)
from greenroom.pool.supervisor import _effective as effective
from greenroom.pool.supervisor._advice import Advice
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._files import Files
from greenroom.pool.supervisor._front import Front
from greenroom.pool.supervisor._generations import Generation, Generations
from greenroom.pool.supervisor._http import HttpServer
from greenroom.pool.supervisor._link import Link
from greenroom.pool.supervisor._links import Links
from greenroom.pool.supervisor._messages import Load
from greenroom.pool.supervisor._metrics import metrics_of
from greenroom.pool.supervisor._nursery import Nursery
from greenroom.pool.supervisor._output import Output
from greenroom.pool.supervisor._report import Self, agent_reports, shard_report
from greenroom.pool.supervisor._routes import Routes
from greenroom.pool.supervisor._runs import Runs
from greenroom.pool.supervisor._shards import Shard, Shards
from greenroom.reports import PoolSnapshot

_log = logging.getLogger("greenroom.pool")

_TICK: Final = 0.25
_GRACE: Final = 2.0


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
        self.cast = Cast()
        self._self = Self(time.time())
        self._files = Files(settings.paths, discover)
        self._clock = time.monotonic
        self._desk = Desk(effective.caps(settings, self.cast))
        self._breakers = Breakers(effective.breaker(settings, self.cast.options))
        self._tenants = Tenants(settings.tenants, patience=settings.offer_timeout)
        self._watchdog = Watchdog(settings.watchdog)
        output = on_output or _ignore
        self._shards = Shards(self, output, self._clock)
        self._generations = Generations(settings, self._shards, output)
        self._runs = Runs(
            settings,
            self,
            shards=self._shards,
            generations=self._generations,
            desk=self._desk,
            breakers=self._breakers,
            clock=self._clock,
            wall=time.time,
            cost_of=cost_of,
        )
        self._front = Front(
            settings,
            self,
            runs=self._runs,
            shards=self._shards,
            generations=self._generations,
            desk=self._desk,
            breakers=self._breakers,
            tenants=self._tenants,
            clock=self._clock,
            wall=time.time,
        )
        self._links = Links(settings, self, self.changed)
        self._http = HttpServer(Routes(self, settings.key))
        self._reloading = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._over = asyncio.Event()
        self._news_due = False
        self._state = "starting"
        self._draining = False
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
        if self._settings.port is not None or self._settings.dev:
            await self._listen_on(effective.port(self._settings, self.cast.options))
        await self._load_first()
        if not self._http.url:
            await self._listen_on(effective.port(self._settings, self.cast.options))
        self._spawn(self._tick())
        problem = await self._links.settled()
        if problem is not None:
            raise problem
        await self._shards_ready()
        self._state = "serving"
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
        self._over.set()

    async def reload(self) -> None:
        """Bring a new generation of the code into service; return once it is, or is refused."""
        async with self._reloading:
            await self._load()

    def snapshot(self) -> PoolSnapshot:
        """Return what the pool is doing."""
        options = self.cast.options
        now = self._clock()
        return PoolSnapshot(
            instance=self._self.instance,
            machine=self._self.machine,
            pid=self._self.pid,
            started_at=self._self.started_at,
            at=time.time(),
            state=self.state,
            generation=self.cast.generation,
            deployment=effective.deployment(self._settings, options),
            load=self._desk.load,
            max_sessions=self._desk.caps.total,
            agents=agent_reports(self.cast, self._links, self._desk.by_agent()),
            shards=tuple(shard_report(shard) for shard in self._shards.all() if shard.role is Role.SHARD),
            sessions=tuple(call.report() for call in self._runs.calls.running.values()),
            by_tenant=self._desk.by_tenant(),
            started=self._runs.calls.started,
            ended=dict(self._runs.calls.ended),
            refused=dict(self._front.refused),
            rescued=self._runs.calls.rescued,
            breakers={name: str(state) for name, state in self._breakers.states(now).items()},
            versions=dict(self.cast.versions),
            cpus=self._self.cpus,
            memory_total=self._self.memory,
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
        if self._state == "starting":
            return "the agents are being loaded"
        if self._state == "stopped":
            return "the pool has stopped"
        if not self.cast.members:
            broken = "; ".join(f"{each.source}:{each.line}: {each.message}" for each in self.cast.failures[:3])
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
        """Begin to reload."""
        self._spawn(self.reload())

    # What its parts ask

    def is_draining(self) -> bool:
        """Whether no more calls are taken."""
        return self._draining

    def link(self, number: int) -> Link | None:
        """Return a registration."""
        return self._links.get(number)

    def advice(self) -> Advice | None:
        """Return who answers for the program."""
        generation = self._generations.get(self.cast.generation)
        return generation.advice if generation is not None else None

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

    def changed(self) -> None:
        """Tell LiveKit how busy the pool is, and who listens that something happened; once for many changes."""
        if not self._news_due:
            self._news_due = True
            asyncio.get_running_loop().call_soon(self._tell_news)

    # Processes

    def shard_ready(self, shard: Shard, message: Ready) -> None:
        """See :class:`~greenroom.pool.supervisor._shards.Listener`."""
        if shard.role is Role.SHARD:
            self._watchdog.started(shard.number, self._clock())
        self._generations.ready(shard, message)
        self.changed()

    def shard_said(self, shard: Shard, message: FromShard) -> None:
        """See :class:`~greenroom.pool.supervisor._shards.Listener`."""
        match message:
            case Beat():
                self._beat(shard, message)
            case Stalled():
                self._watch(self._watchdog.stalled(shard.number, message, self._clock()))
            case Started() | Fact() | Checkpoint() | Ended():
                self._runs.said(shard, message)
            case Answer() | Routed() | TenantFound():
                generation = self._generations.get(shard.generation)
                if generation is not None and generation.advice.process is shard:
                    generation.advice.answered(message)
            case Infer():
                self._generations.infer(shard, message)
            case Inferred():
                self._generations.inferred(message)

    def shard_gone(self, shard: Shard, why: str) -> None:
        """See :class:`~greenroom.pool.supervisor._shards.Listener`."""
        culprit = self._watchdog.culprit(shard.number)
        self._watchdog.gone(shard.number)
        expected = shard.retiring and not shard.jobs
        level = logging.DEBUG if expected or self._state == "stopped" else logging.ERROR
        extra = {"shard": shard.number, "role": shard.role, "why": why, "sessions": len(shard.jobs)}
        _log.log(level, "a process of the pool has ended", extra=extra)
        self._generations.gone(shard, why)
        if shard.role is Role.SHARD:
            self._runs.shard_gone(shard, why, culprit)
        self.changed()

    def nursery_ended(self, nursery: Nursery) -> None:
        """A nursery died: what it has forked lives on, and only a new one can fork more."""
        if nursery.generation in self.cast.generations and not self._draining:
            self._spawn(self.reload())

    def _beat(self, shard: Shard, beat: Beat) -> None:
        shard.beat = beat
        self._watch(self._watchdog.beat(shard.number, self._clock()))
        self._runs.spent(beat)
        warn, limit = effective.memory(self._settings, self.cast.options)
        held = beat.pss or beat.rss
        if warn and held >= warn and not shard.warned:
            shard.warned = True
            _log.warning("a shard holds much memory", extra={"shard": shard.number, "bytes": held})
        elif held < warn:
            shard.warned = False
        if limit and held >= limit and shard.used and not shard.retiring:
            shard.limited = True
            extra = {"shard": shard.number, "bytes": held, "limit": limit, "sessions": len(shard.jobs)}
            _log.warning("a shard holds as much memory as it may, new calls go elsewhere", extra=extra)
            shard.retire()
            generation = self._generations.get(shard.generation)
            if generation is not None and generation.staffed:
                self._generations.staff(generation)

    def _watch(self, effects: Sequence[Say | StopPlacing | Resume | Kill]) -> None:
        for effect in effects:
            shard = self._shards.get(effect.number)
            if shard is None:
                continue
            match effect:
                case Say():
                    self._say_stall(shard, effect)
                case StopPlacing():
                    shard.unfed = True
                case Resume():
                    shard.unfed = False
                case Kill(seconds=seconds):
                    shard.doomed = f"its loop did not turn for {seconds:.0f} s"
                    shard.process.kill()
            self.changed()

    def _say_stall(self, shard: Shard, said: Say) -> None:
        shard.where = "" if said.over else said.where
        extra: dict[str, object] = {
            "shard": shard.number,
            "seconds": round(said.seconds, 2),
            "where": said.where,
            "job_id": said.job_id,
        }
        if said.over:
            _log.warning("a shard's event loop turns again", extra=extra)
        else:
            _log.warning("a shard's event loop is blocked", extra={**extra, "stack": said.stack})

    # Loading

    async def _load_first(self) -> None:
        async with self._reloading:
            await self._load()
        if not self.cast.members and not self._settings.watch:
            broken = [f"{each.source}:{each.line}: {each.message}" for each in self.cast.failures]
            raise GreenroomError("No agent can run\n" + "\n".join(broken), fix="Mend what the lines say")

    async def _load(self) -> None:
        paths = await asyncio.to_thread(self._files.find)
        generation = await self._generations.load(paths, effective.deployment(self._settings, self.cast.options))
        await self._recast(generation, paths)

    async def _recast(self, generation: Generation, paths: Sequence[str]) -> None:
        """Put what has loaded into service, and what it replaces out of it."""
        before = self.cast
        self.cast = before.replaced(generation.number, generation.manifest, paths, self._settings.agents)
        for failure in self.cast.failures:
            place = f"{failure.source}:{failure.line}" if failure.line else failure.source
            _log.error("a file is not in service", extra={"file": place, "why": failure.message})
        options = self.cast.options
        self.router_changed()
        self._desk.apply(effective.caps(self._settings, self.cast))
        self._breakers.apply(effective.breaker(self._settings, options))
        changed = self.cast.changed(before)
        for name in changed:
            self._breakers.forget_agent(name)
        if generation.number in self.cast.generations:
            self._generations.staff(generation)
        self._tenants.resolve_with(generation.advice.tenant if options.resolves else None)
        self._links.serve(
            self.cast.agents,
            version=self.cast.versions.get("livekit-agents", ""),
            deployment=effective.deployment(self._settings, options),
        )
        for each in self._generations.all():
            if each.number not in self.cast.generations:
                self._generations.retire(each.number)
        if self._settings.swap:
            self._runs.move(changed, generation.number)
        await self._drop_old()
        self.changed()

    def router_changed(self) -> None:
        """Route by what is in service now."""
        options = self.cast.options
        self._front.router = Router(
            self.cast.agents,
            first_prefix=effective.flag(self._settings.first_prefix, options.first_prefix),
            only_registered_rooms=effective.flag(self._settings.only_registered_rooms, options.only_registered_rooms),
        )

    async def _drop_old(self) -> None:
        for generation in self._generations.all():
            needed = generation.number in self.cast.generations or self._runs.calls.of_generation(generation.number)
            if not needed and not self._shards.sessions(generation.number):
                await self._generations.drop(generation.number)

    async def _shards_ready(self) -> None:
        while any(shard.state is ShardState.STARTING for shard in self._shards.sessions()):
            await self._news()

    # Time

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        rounds = 0
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self._lag = max(self._lag * 0.9, loop.time() - due)
            rounds += 1
            self._watch(self._watchdog.tick(self._clock()))
            self._runs.tick()
            self._shards.retire_idle_tenants()
            if rounds % 4 == 0:
                self._tenants.refresh()
                self._breakers.tidy(self._clock())
                await self._drop_old()

    async def _drain_and_tell(self) -> None:
        await self.drain()
        await self._idle.wait()
        self._over.set()

    def _begin_drain(self) -> None:
        if not self._draining:
            self._draining = True
            if self._state in {"starting", "serving"}:
                self._state = "draining"
            _log.info("draining", extra={"sessions": len(self._runs.calls.running)})
        # At once: LiveKit would go on to choose this pool.
        self._tell_news()

    def _tell_news(self) -> None:
        self._news_due = False
        self._links.tell_load(self._load_of)
        if self._draining and not self._runs.calls.running and not self._front.open:
            self._idle.set()
        for callback in self._listeners:
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

    async def _listen_on(self, port: int) -> None:
        await self._http.start(self._settings.host, port)

    async def _end_processes(self) -> None:
        shards = self._shards.all()
        for shard in shards:
            shard.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                for shard in shards:
                    await shard.process.gone.wait()
        for shard in self._shards.all():
            shard.process.kill()
        for shard in shards:
            await shard.process.gone.wait()
        await self._generations.close()

    def _spawn(self, work: Any) -> None:
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
