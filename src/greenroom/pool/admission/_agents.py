"""Agents as the configuration wants them: what it says goes before what their code says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from greenroom.pool._model import AgentSpec, Placement
from greenroom.pool._settings import AgentSettings


def configured(
    agents: Iterable[AgentSpec], settings: Mapping[str, AgentSettings], placement: str | None = None
) -> tuple[AgentSpec, ...]:
    """Return agents with the capabilities, placement and cap that the configuration gives them.

    :param placement: of those that neither the configuration nor their own code places.
    """
    return tuple(_configured(agent, settings.get(agent.name), placement) for agent in agents)


def _configured(agent: AgentSpec, said: AgentSettings | None, placement: str | None) -> AgentSpec:
    if placement is not None and not agent.placed:
        agent = msgspec.structs.replace(agent, placement=Placement(placement))
    if said is None:
        return agent
    return msgspec.structs.replace(
        agent,
        capabilities=agent.capabilities if said.capabilities is None else said.capabilities,
        placement=agent.placement if said.placement is None else Placement(said.placement),
        max_sessions=agent.max_sessions if said.max_sessions is None else said.max_sessions,
    )
