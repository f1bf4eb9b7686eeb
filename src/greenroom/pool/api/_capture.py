"""How the nursery hears of the pools of a program that it loads, without running them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.pool.api._pool import AgentPool


@dataclass(slots=True)
class Capture:
    """What a program did with pools while it was loaded.

    :ivar made: every pool, in the order of their making.
    :ivar run: those whose ``run()`` was called.
    """

    made: list[AgentPool] = field(default_factory=list)
    run: list[AgentPool] = field(default_factory=list)


_captures: list[Capture] = []


@contextlib.contextmanager
def capture() -> Iterator[Capture]:
    """While it lasts, ``AgentPool.run()`` notes the pool and returns, instead of becoming a program.

    A pool without agents is no error then.
    """
    taken = Capture()
    _captures.append(taken)
    try:
        yield taken
    finally:
        _captures.remove(taken)


def note_made(pool: AgentPool) -> None:
    """Tell whoever captures that a pool was made."""
    for each in _captures:
        each.made.append(pool)


def note_run(pool: AgentPool) -> bool:
    """Tell whoever captures that a pool should run. Return whether somebody does."""
    for each in _captures:
        if pool not in each.run:
            each.run.append(pool)
    return bool(_captures)
