"""A pool of agents: everything between LiveKit and the shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from greenroom.pool._settings import PoolSettings
from greenroom.pool._snapshot import PoolSnapshot
from greenroom.pool.supervisor._output import Output


class Pool:
    """Many agents in few processes.

    :param on_output: is given each line that a shard or nursery prints.
    :param cost_of: the price in USD of LiveKit's usage by model, ``None`` when unknown.
    :param discover: names the files with agents, again after each change; by default those under ``settings.paths``.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        on_output: Callable[[Output], None] | None = None,
        cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
        discover: Callable[[], Sequence[Path]] | None = None,
    ) -> None:
        self._settings = settings
        self._on_output = on_output
        self._cost_of = cost_of
        self._discover = discover

    @property
    def url(self) -> str:
        """The URL of its HTTP port."""
        raise NotImplementedError

    async def start(self) -> None:
        """Return when the HTTP port is open, the shards are ready and the agents are registered.

        :raises GreenroomError: when nothing can ever run, and no save is waited for.
        """
        raise NotImplementedError

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - one bound around several steps
        """Take no more calls, and return once the last one has hung up: true, or false when ``timeout`` was over."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End what runs, and wait for the processes. Idempotent."""
        raise NotImplementedError

    async def reload(self) -> None:
        """Bring a new generation of the code into service; return once it is, or is refused."""
        raise NotImplementedError

    def snapshot(self) -> PoolSnapshot:
        """Return what the pool is doing."""
        raise NotImplementedError

    def listen(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the snapshot has changed in substance."""
        raise NotImplementedError
