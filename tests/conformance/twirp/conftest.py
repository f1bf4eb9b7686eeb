from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.twirp_stage import Stage, twirp_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with twirp_stage() as running:
        yield running
