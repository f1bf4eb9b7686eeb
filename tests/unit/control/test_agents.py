from __future__ import annotations

import pytest

from greenroom.control import AgentListing

pytestmark = pytest.mark.unit


async def test_agents_are_listed_by_name_and_the_unnamed_one_comes_last(client_of) -> None:
    known = [
        AgentListing(name="", state="ready"),
        AgentListing(name="front-desk", state="starting", detail="loading models"),
        AgentListing(name="back-office", state="failed", detail="agent.py:3: no module named 'x'"),
    ]
    answer = await (await client_of(agents=lambda: known)).get("/api/agents")
    assert answer.json() == {
        "agents": [
            {"name": "back-office", "state": "failed", "detail": "agent.py:3: no module named 'x'"},
            {"name": "front-desk", "state": "starting", "detail": "loading models"},
            {"name": "", "state": "ready", "detail": ""},
        ]
    }


async def test_the_list_is_asked_for_anew_each_time(client_of) -> None:
    known: list[AgentListing] = []
    client = await client_of(agents=lambda: known)
    assert (await client.get("/api/agents")).json() == {"agents": []}

    known.append(AgentListing(name="front-desk", state="ready"))
    assert [agent["name"] for agent in (await client.get("/api/agents")).json()["agents"]] == ["front-desk"]
