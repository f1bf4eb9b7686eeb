from __future__ import annotations

import pytest

from support.dispatcher_stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
