"""Generations of the code: each has a nursery, and the shards, advisor and inference process forked from it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom.errors import GreenroomError
from greenroom.pool._model import AgentSpec, Manifest, Placement
from greenroom.pool._settings import PoolSettings, TenantSettings
from greenroom.pool._wire import Infer, Inferred, Ready, Role, ShardSettings
from greenroom.pool.admission import NeedShard, NoPlace, PlacementLimits, ShardKind, kind_for, place
from greenroom.pool.supervisor._advice import Advice
from greenroom.pool.supervisor._cast import without
from greenroom.pool.supervisor._environment import nursery_environment
from greenroom.pool.supervisor._nursery import Nursery
from greenroom.pool.supervisor._output import Output
from greenroom.pool.supervisor._shards import Shard, Shards

_log = logging.getLogger("greenroom.pool")

_ALONE: Final = ShardKind(placement=Placement.DEDICATED)
_MAX_BACKOFF: Final = 30.0


@dataclass(eq=False, kw_only=True)
class Generation:
    """One load of the code.

    :param staffed: whether it is to have as many shards as the pool has.
    :param inferring: by shard and number, what the inference process is busy with.
    :param stillborn: how many of its processes in a row ended before they were ready.
    """

    number: int
    nursery: Nursery
    manifest: Manifest
    advice: Advice
    inference: Shard | None = None
    inferring: set[tuple[int, int]] = field(default_factory=set)
    staffed: bool = False
    spare: bool = False
    stillborn: Counter[Role] = field(default_factory=Counter)


class Generations:
    """Every generation that still has something to do."""

    def __init__(
        self,
        settings: PoolSettings,
        shards: Shards,
        on_output: Callable[[Output], None],
    ) -> None:
        self._settings = settings
        self._shards = shards
        self._on_output = on_output
        self._by_number: dict[int, Generation] = {}
        self._last = 0
        self._awaited: dict[int, asyncio.Future[Ready]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._closed = False
        self._loading: Nursery | None = None

    @property
    def shared(self) -> int:
        """How many shards for shared calls a generation has."""
        return self._settings.shards or len(os.sched_getaffinity(0))

    def get(self, number: int) -> Generation | None:
        """Return a generation that still has something to do."""
        return self._by_number.get(number)

    def all(self) -> list[Generation]:
        """Return all, the oldest first."""
        return list(self._by_number.values())

    async def load(
        self, paths: Sequence[str], deployment: str, tenants: Mapping[str, TenantSettings] | None = None
    ) -> Generation:
        """Load files as a new generation, and see one shard of it ready.

        :param tenants: whose providers are imported before there are shards; by default those of the settings.
        :raises GreenroomError: when it cannot come up.
        """
        self._last += 1
        nursery = Nursery(
            self._last,
            self._shards,
            environment=nursery_environment(os.environ, self._settings, deployment),
            load_timeout=self._settings.load_timeout,
            on_output=self._on_output,
        )
        self._loading = nursery
        try:
            manifest = await nursery.load(paths, shard_settings(self._settings, deployment, tenants))
            if manifest.agents:
                manifest = without(manifest, (await self._first_shard(nursery)).failed)
        except BaseException:
            await nursery.quit()
            raise
        finally:
            self._loading = None
        generation = Generation(
            number=nursery.generation,
            nursery=nursery,
            manifest=manifest,
            advice=Advice(self._settings.offer_timeout),
        )
        self._by_number[generation.number] = generation
        return generation

    def staff(self, generation: Generation) -> None:
        """Fork whatever the generation needs to run calls and has not got."""
        if self._closed or not generation.nursery.alive:
            return
        generation.staffed = True
        shared = [
            shard
            for shard in self._shards.sessions(generation.number)
            if shard.kind.placement is Placement.SHARED and not shard.retiring
        ]
        for _ in range(self.shared - len(shared)):
            self._shards.fork(generation.nursery, Role.SHARD)
        options = generation.manifest.options
        asks = options.routes or options.resolves or options.filters
        if (asks or any(agent.asks for agent in generation.manifest.agents)) and generation.advice.process is None:
            generation.advice.use(self._shards.fork(generation.nursery, Role.ADVISOR))
        if generation.manifest.inference and generation.inference is None:
            generation.inference = self._shards.fork(generation.nursery, Role.INFERENCE)
        self._keep_spare(generation)

    def place(self, number: int, agent: AgentSpec, tenant: str, *, alone: bool = False) -> Shard | str:
        """Return the shard that takes a call of an agent, forked for it if need be; or why none does."""
        generation = self._by_number.get(number)
        kind = _ALONE if alone else kind_for(agent, tenant)
        found = place(self._shards.views(number), kind, PlacementLimits(shared=self.shared))
        if isinstance(found, NoPlace):
            return found.why
        if isinstance(found, NeedShard):
            if generation is None or self._closed or not generation.nursery.alive:
                return "nothing can be forked for it: the nursery is gone"
            shard = self._shards.fork(generation.nursery, Role.SHARD, kind)
        else:
            chosen = self._shards.get(found.number)
            assert chosen is not None
            shard = chosen
        if kind.placement is Placement.DEDICATED and generation is not None and not alone:
            generation.spare = True
        return shard

    def taken(self, shard: Shard, job_id: str) -> None:
        """A call is on its way to a shard: from now on it counts there."""
        shard.jobs.add(job_id)
        shard.used = True
        generation = self._by_number.get(shard.generation)
        if generation is not None:
            self._keep_spare(generation)

    def ready(self, shard: Shard, message: Ready) -> None:
        """A process is ready."""
        generation = self._by_number.get(shard.generation)
        if generation is not None:
            generation.stillborn[shard.role] = 0
        waiting = self._awaited.pop(shard.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def gone(self, shard: Shard, why: str) -> None:
        """A process is gone: put another in its place where one is needed."""
        waiting = self._awaited.pop(shard.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(
                GreenroomError(f"The first shard did not get ready: {why}", fix="Its output says why")
            )
        generation = self._by_number.get(shard.generation)
        if generation is None:
            return
        if generation.advice.process is shard:
            generation.advice.use(None)
        if generation.inference is shard:
            generation.inference = None
            for number, question in generation.inferring:
                asking = self._shards.get(number)
                if asking is not None:
                    asking.send(Inferred(number=question, problem="the inference process ended"))
            generation.inferring.clear()
        if not generation.staffed or self._closed:
            return
        if shard.ready:
            self.staff(generation)
            return
        delay = min(2.0 ** generation.stillborn[shard.role], _MAX_BACKOFF)
        generation.stillborn[shard.role] += 1
        self._later(delay, lambda: self._restaff(generation.number))

    def infer(self, shard: Shard, message: Infer) -> None:
        """A shard wants a shared model run."""
        generation = self._by_number.get(shard.generation)
        if generation is None or generation.inference is None:
            shard.send(Inferred(number=message.number, problem="there is no inference process"))
            return
        generation.inferring.add((shard.number, message.number))
        generation.inference.send(
            Infer(number=message.number, shard=shard.number, method=message.method, data=message.data)
        )

    def inferred(self, message: Inferred) -> None:
        """A shared model answers."""
        shard = self._shards.get(message.shard)
        if shard is None:
            return
        generation = self._by_number.get(shard.generation)
        if generation is not None:
            generation.inferring.discard((shard.number, message.number))
        shard.send(message)

    def retire(self, number: int) -> None:
        """Give a generation no new calls: its shards end once their last call has."""
        generation = self._by_number.get(number)
        if generation is None:
            return
        generation.staffed = generation.spare = False
        for shard in self._shards.sessions(number):
            shard.retire()

    async def drop(self, number: int) -> None:
        """End a generation's nursery and helpers. Its shards have ended, or do when their calls have."""
        generation = self._by_number.pop(number, None)
        if generation is None:
            return
        for shard in self._shards.all():
            if shard.generation == number and shard.role is not Role.SHARD:
                shard.process.kill()
        await generation.nursery.quit()

    def fork_no_more(self) -> None:
        """Put nothing in the place of what ends from now on."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()

    async def close(self) -> None:
        """End everything that is left. Idempotent."""
        self.fork_no_more()
        for generation in self.all():
            await self.drop(generation.number)
        if self._loading is not None:
            await self._loading.quit()

    async def _first_shard(self, nursery: Nursery) -> Ready:
        future: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        shard = self._shards.fork(nursery, Role.SHARD)
        self._awaited[shard.number] = future
        try:
            async with asyncio.timeout(self._settings.load_timeout):
                return await future
        except TimeoutError:
            shard.doomed = "it did not get ready in time"
            shard.process.kill()
            raise GreenroomError(
                f"The first shard was not ready within {self._settings.load_timeout:g} s",
                fix="Look for what an agent's set-up waits for",
            ) from None
        except BaseException:
            shard.process.kill()
            raise

    def _keep_spare(self, generation: Generation) -> None:
        # Whoever calls a dedicated agent does not wait for its process.
        wanted = generation.spare or any(agent.placement is Placement.DEDICATED for agent in generation.manifest.agents)
        if not wanted or not generation.staffed or self._closed or not generation.nursery.alive:
            return
        unused = any(
            shard.kind.placement is Placement.DEDICATED and not shard.used and not shard.retiring
            for shard in self._shards.sessions(generation.number)
        )
        if not unused:
            self._shards.fork(generation.nursery, Role.SHARD, _ALONE)

    def _restaff(self, number: int) -> None:
        generation = self._by_number.get(number)
        if generation is not None and generation.staffed:
            self.staff(generation)

    def _later(self, delay: float, do: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            do()

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(timer)


def shard_settings(
    settings: PoolSettings, deployment: str, tenants: Mapping[str, TenantSettings] | None = None
) -> ShardSettings:
    """Return what every shard is told."""
    return ShardSettings(
        dev=settings.dev,
        log_level=settings.log_level,
        stall=settings.watchdog.stall,
        session_end_timeout=settings.session_end_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        ffi_routing=settings.ffi_routing,
        gc_policy=settings.gc_policy,
        inline_vad=settings.inline_vad,
        deployment=deployment,
        options=_prewarm_options(settings, settings.tenants.known if tenants is None else tenants),
    )


def _prewarm_options(settings: PoolSettings, tenants: Mapping[str, TenantSettings]) -> dict[str, Any]:
    """Return what is to be loaded before there are shards; ids of providers, and no option of one."""
    found: dict[str, Any] = {} if settings.end_of_turn is None else {"end_of_turn": settings.end_of_turn}
    known = (item for tenant in tenants.values() for item in tenant.providers.items())
    ids = {(kind, said.get("id") if isinstance(said, dict) else said) for kind, said in known}
    if wanted := sorted((kind, name) for kind, name in ids if isinstance(name, str)):
        found["prepare"] = wanted
    return found
