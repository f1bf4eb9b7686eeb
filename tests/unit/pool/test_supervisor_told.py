"""Agents in service take other settings; what their code says comes back where the settings are gone."""

from __future__ import annotations

import pytest

from greenroom.pool._model import AgentSpec, Manifest
from greenroom.pool._settings import AgentSettings
from greenroom.pool.supervisor._cast import Cast

pytestmark = pytest.mark.unit


def test_settings_of_agents_are_replaced_and_not_piled_up() -> None:
    first = Manifest(
        agents=(AgentSpec(name="a", capabilities=("x",), source="/a.py"), AgentSpec(name="b", source="/b.py"))
    )
    cast = Cast().replaced(1, first, ["/a.py", "/b.py"], {"a": AgentSettings(capabilities=("y",), max_sessions=1)})
    declared = {(1, agent.name): agent for agent in first.agents}
    told = cast.told(declared, {"b": AgentSettings(max_sessions=2)})
    assert [(each.spec.name, each.spec.capabilities, each.spec.max_sessions) for each in told.members] == [
        ("a", ("x",), None),
        ("b", (), 2),
    ]
    assert told.generations == cast.generations
    assert told.told(declared, {}).agents == first.agents


def test_an_agent_whose_code_is_not_at_hand_stays_as_it_is() -> None:
    manifest = Manifest(agents=(AgentSpec(name="a", source="/a.py", max_sessions=3),))
    cast = Cast().replaced(1, manifest, ["/a.py"], {})
    assert cast.told({}, {}).agents == manifest.agents
