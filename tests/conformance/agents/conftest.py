from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.agent_stage import AgentStage, agent_stage


@pytest.fixture
async def stage() -> AsyncIterator[AgentStage]:
    async with agent_stage() as running:
        yield running
