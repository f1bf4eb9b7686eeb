"""Runs a pool as a program: signals drain it and stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from greenroom.pool._settings import PoolSettings
from greenroom.pool.supervisor._output import Output


async def run_pool(
    settings: PoolSettings,
    on_ready: Callable[[str], None],
    *,
    on_output: Callable[[Output], None] | None = None,
    cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
    discover: Callable[[], Sequence[Path]] | None = None,
) -> int:
    """Run until told to stop, and return the exit status.

    The first SIGTERM or SIGINT drains, the second stops; in development SIGINT stops at once.

    :param on_ready: called with the URL of the pool's HTTP port once calls can come in.
    """
    raise NotImplementedError
