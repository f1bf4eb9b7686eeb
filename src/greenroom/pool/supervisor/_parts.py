"""What most parts of a pool work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from greenroom.pool._metrics import Metrics
from greenroom.pool.admission import Breakers, Desk
from greenroom.pool.supervisor._generations import Generations
from greenroom.pool.supervisor._shards import Shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The pool's processes, its places and its clocks.

    :param metrics: counts the pool's sessions.
    :param clock: of decisions, in seconds; it never goes back.
    :param wall: seconds since the epoch.
    """

    shards: Shards
    generations: Generations
    desk: Desk
    breakers: Breakers
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
