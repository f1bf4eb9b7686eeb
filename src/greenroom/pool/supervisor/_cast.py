"""Which agents are in service, and of which generation of the code. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from greenroom.pool._model import AgentSpec, CodeOptions, Failure, Manifest
from greenroom.pool._settings import AgentSettings
from greenroom.pool.admission import configured


class Member(msgspec.Struct, frozen=True):
    """An agent in service, and the generation of the code that runs its new calls."""

    spec: AgentSpec
    generation: int


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in service at a moment.

    :param failures: files that are not in service, or only as they were before.
    :param files: saving one of them asks for another generation.
    """

    generation: int = 0
    members: tuple[Member, ...] = ()
    failures: tuple[Failure, ...] = ()
    files: frozenset[str] = frozenset()
    options: CodeOptions = CodeOptions()
    versions: Mapping[str, str] = {}

    @property
    def agents(self) -> tuple[AgentSpec, ...]:
        """What is in service, in the order of registration."""
        return tuple(member.spec for member in self.members)

    @property
    def generations(self) -> frozenset[int]:
        """The generations that some agent's new calls need."""
        return frozenset(member.generation for member in self.members)

    def member(self, name: str) -> Member | None:
        """Return an agent in service."""
        return next((member for member in self.members if member.spec.name == name), None)

    def replaced(
        self,
        generation: int,
        manifest: Manifest,
        wanted: Iterable[str],
        settings: Mapping[str, AgentSettings],
        placement: str | None = None,
    ) -> Cast:
        """Return what is in service once a new generation has loaded.

        An agent whose file failed to load goes on as it was. One whose file is gone does not.

        :param wanted: the files that were to be loaded.
        :param placement: see :func:`configured`.
        """
        fresh = configured(manifest.agents, settings, placement)
        names = {agent.name for agent in fresh}
        failed = {failure.source for failure in manifest.failures} & set(wanted)
        kept = [member for member in self.members if member.spec.name not in names and member.spec.source in failed]
        entered = [Member(agent, generation) for agent in fresh]
        return Cast(
            generation=generation if entered else self.generation or generation,
            members=tuple(_in_order(self.members, entered, kept)),
            failures=manifest.failures,
            files=frozenset(manifest.files) | frozenset(wanted) | (self.files if kept else frozenset()),
            options=self.options if kept and manifest.options == CodeOptions() else manifest.options,
            versions=manifest.versions or self.versions,
        )

    def told(
        self,
        declared: Mapping[tuple[int, str], AgentSpec],
        settings: Mapping[str, AgentSettings],
        placement: str | None = None,
    ) -> Cast:
        """Return the same agents under other settings.

        :param declared: by generation and name, what their code says.
        :param placement: see :func:`configured`.
        """
        specs = [declared.get((member.generation, member.spec.name), member.spec) for member in self.members]
        members = tuple(
            Member(spec, member.generation)
            for spec, member in zip(configured(specs, settings, placement), self.members, strict=True)
        )
        return msgspec.structs.replace(self, members=members)

    def changed(self, before: Cast) -> frozenset[str]:
        """Return the agents whose code is another than before."""
        old = {member.spec.name: member.spec.fingerprint for member in before.members}
        return frozenset(
            member.spec.name
            for member in self.members
            if member.spec.name in old and old[member.spec.name] != member.spec.fingerprint
        )


def without(manifest: Manifest, failed: Mapping[str, str]) -> Manifest:
    """Return a manifest less the agents whose set-up failed in a process that was to run them."""
    if not failed:
        return manifest
    broken = [agent for agent in manifest.agents if agent.name in failed]
    return msgspec.structs.replace(
        manifest,
        agents=tuple(agent for agent in manifest.agents if agent.name not in failed),
        failures=(
            *manifest.failures,
            *(Failure(source=agent.source, message=f"{agent.name}: {failed[agent.name]}") for agent in broken),
        ),
    )


def _in_order(before: tuple[Member, ...], entered: list[Member], kept: list[Member]) -> list[Member]:
    if not kept:
        return entered
    # Who was first stays first: the first registered gets what nobody else is asked for.
    place = {member.spec.name: index for index, member in enumerate(before)}
    late = len(place)
    order = {member.spec.name: index for index, member in enumerate(entered)}
    return sorted(
        [*entered, *kept],
        key=lambda member: (place.get(member.spec.name, late), order.get(member.spec.name, 0)),
    )
