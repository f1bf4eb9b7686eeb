"""What is in service: loads generations of the code, and puts them in place of each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from greenroom.errors import GreenroomError
from greenroom.pool._model import Placement
from greenroom.pool._settings import PoolSettings
from greenroom.pool.admission import Router, Tenants
from greenroom.pool.discovery import shown
from greenroom.pool.supervisor import _effective as effective
from greenroom.pool.supervisor._advice import Advice
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._files import Files
from greenroom.pool.supervisor._generations import Generation
from greenroom.pool.supervisor._links import Links
from greenroom.pool.supervisor._parts import Parts
from greenroom.pool.supervisor._runs import Runs
from greenroom.pool.supervisor._watch import Watcher

_log = logging.getLogger("greenroom.pool")


class Service:
    """The agents in service, and everything that follows from them.

    :ivar cast: what is in service.
    :ivar router: routes by it.
    """

    def __init__(
        self,
        settings: PoolSettings,
        discover: Callable[[], Sequence[Path]] | None,
        parts: Parts,
        *,
        tenants: Tenants,
        on_change: Callable[[], None],
    ) -> None:
        self.cast = Cast()
        self.router = Router(())
        self._settings = settings
        self._files = Files(settings.paths, discover)
        self._shards = parts.shards
        self._generations = parts.generations
        self._desk = parts.desk
        self._breakers = parts.breakers
        self._tenants = tenants
        self._on_change = on_change
        self._loading = asyncio.Lock()
        self._watcher = Watcher(
            self._files.find,
            lambda: (self._files.directories, self.cast.files),
            lambda: bool(self.cast.failures),
            self.reload,
        )
        self._links: Links | None = None
        self._runs: Runs | None = None

    def join(self, links: Links, runs: Runs) -> None:
        """Take who depends on what is in service."""
        self._links, self._runs = links, runs

    @property
    def deployment(self) -> str:
        """The version that users of the code see."""
        return effective.deployment(self._settings, self.cast.options)

    def advice(self) -> Advice | None:
        """Return who answers for the program."""
        generation = self._generations.get(self.cast.generation)
        return generation.advice if generation is not None else None

    async def open(self) -> None:
        """Load for the first time.

        :raises GreenroomError: when no agent can run, and no save is waited for.
        """
        paths = await asyncio.to_thread(self._files.find)
        if not paths and not self._settings.watch:
            # Known before livekit-agents is imported, which takes seconds.
            where = ", ".join(f"'{path}'" for path in self._settings.paths)
            words = "A file with an agent imports livekit.agents and has an AgentServer or an Agent class"
            raise GreenroomError(f"No agent found under {where}", fix=words)
        try:
            await self.reload()
        except GreenroomError as error:
            if not self._settings.watch:
                raise
            _log.error("no agent is in service: %s", error)
        if not self.cast.members and not self._settings.watch:
            broken = [
                f"  {place(str(shown(Path(each.source))), each.line)}: {each.message}" for each in self.cast.failures
            ]
            raise GreenroomError("\n".join(["No agent can run:", *broken]))

    async def reload(self) -> None:
        """Load what is on disk, and put it into service as far as it can be.

        :raises GreenroomError: when the code cannot be loaded at all; what was in service goes on.
        """
        async with self._loading:
            paths = await asyncio.to_thread(self._files.find)
            if self.cast.generation:
                _log.info("loading the new code", extra={"files": [shown(Path(path)) for path in paths]})
            await self._watcher.loading(paths)
            generation = await self._generations.load(paths, self.deployment, self._tenants.listed())
            await self._replace(generation, paths)

    def apply(self, settings: PoolSettings) -> None:
        """Take other settings, as far as they count at once."""
        self._settings = settings
        declared = {
            (generation.number, agent.name): agent
            for generation in self._generations.all()
            for agent in generation.manifest.agents
        }
        self.cast = self.cast.told(declared, settings.agents, settings.placement)
        self._tune()

    async def watch(self) -> None:
        """Reload whenever a file that matters is saved, for ever."""
        try:
            await self._watcher.run()
        except Exception as error:
            # Too many watches, usually. Everything else goes on.
            _log.error("files are not watched any more, saving brings nothing into service: %s", error)

    async def drop_old(self) -> None:
        """End the nurseries of generations that have nothing to do any more."""
        assert self._runs is not None
        for generation in self._generations.all():
            needed = generation.number in self.cast.generations or self._runs.calls.of_generation(generation.number)
            if not needed and not self._shards.sessions(generation.number):
                await self._generations.drop(generation.number)

    async def _replace(self, generation: Generation, paths: Sequence[str]) -> None:
        assert self._links is not None
        assert self._runs is not None
        before = self.cast
        told = self._settings
        self.cast = before.replaced(generation.number, generation.manifest, paths, told.agents, told.placement)
        for failure in self.cast.failures:
            said = {"file": place(str(shown(Path(failure.source))), failure.line), "why": failure.message}
            if any(member.spec.source == failure.source for member in self.cast.members):
                _log.error("a file is not in service, its version before goes on", extra=said)
            else:
                _log.error("a file is not in service", extra=said)
        options = self.cast.options
        self._tune()
        changed = self.cast.changed(before)
        for name in changed:
            self._breakers.forget_agent(name)
        if generation.number in self.cast.generations:
            generation.spare = any(agent.placement is Placement.DEDICATED for agent in self.cast.agents)
            self._generations.staff(generation)
        self._tenants.resolve_with(generation.advice.tenant if options.resolves else None)
        version = self.cast.versions.get("livekit-agents", "")
        self._links.serve(self.cast.agents, version=version, deployment=self.deployment)
        for each in self._generations.all():
            if each.number not in self.cast.generations:
                self._generations.retire(each.number)
        if before.members:
            names = [agent.name for agent in self.cast.agents]
            gone = {member.spec.name for member in before.members} - {*names}
            extra: dict[str, object] = {"generation": generation.number, "agents": names, "changed": sorted(changed)}
            if gone:
                extra["gone"] = sorted(gone)
            _log.info("new code is in service", extra=extra)
        if self._settings.swap:
            self._runs.move(changed, generation.number)
        await self.drop_old()
        self._on_change()

    def _tune(self) -> None:
        """Route and admit by what is in service and by the settings that hold."""
        options = self.cast.options
        self.router = Router(
            self.cast.agents,
            first_prefix=effective.flag(self._settings.first_prefix, options.first_prefix),
            only_registered_rooms=effective.flag(self._settings.only_registered_rooms, options.only_registered_rooms),
        )
        self._desk.apply(effective.caps(self._settings, self.cast))
        self._breakers.apply(effective.breaker(self._settings, options))


def place(source: str, line: int) -> str:
    """Return where a problem is."""
    return f"{source}:{line}" if line else source
