"""The queue of alarms."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.server.agents._alarms import Alarms

pytestmark = pytest.mark.unit


@dataclass(eq=False)
class Sleeper:
    wake: float | None = None


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 20))))
def test_each_sleeper_wakes_once_at_the_last_time_it_was_given(settings: list[tuple[int, int | None]]) -> None:
    alarms: Alarms[Sleeper] = Alarms()
    sleepers = [Sleeper() for _ in range(5)]
    wanted: dict[int, int] = {}
    for index, when in settings:
        alarms.set(sleepers[index], when)
        wanted.pop(index, None)
        if when is not None:
            wanted[index] = when
    assert alarms.next() == min(wanted.values(), default=None)
    for now in range(21):
        woken = set()
        while (sleeper := alarms.pop_due(now)) is not None:
            woken.add(sleepers.index(sleeper))
        assert woken == {index for index, when in wanted.items() if when == now}
    assert alarms.next() is None
