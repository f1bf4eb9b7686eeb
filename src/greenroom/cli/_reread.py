"""Reads the configuration again when its file is saved, for a pool that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from greenroom.cli._configuration import Configuration
from greenroom.cli._options import PoolOptions, PoolWays
from greenroom.cli._pool_settings import pool_configuration, pool_settings
from greenroom.errors import ConfigError
from greenroom.pool.settings import PoolSettings

_Signature: TypeAlias = tuple[int, int, int] | None


class Reread:
    """Returns other settings once after each save of the file; options and the environment still go before it.

    :param said: as it was read at the start. A pool without a file has nothing to read again.
    """

    def __init__(
        self, said: Configuration, paths: Sequence[Path], options: PoolOptions, ways: PoolWays, *, watch: bool | None
    ) -> None:
        self._file = said.file
        self._paths = paths
        self._options = options
        self._ways = ways
        self._watch = watch
        self._seen = self._signature()

    def __call__(self) -> PoolSettings | None:
        """Return what is told now, or ``None`` when nothing was saved. Raises :class:`ConfigError`."""
        signature = self._signature()
        if signature is None or signature == self._seen:
            return None
        try:
            said = pool_configuration(self._paths, self._options, self._ways, watch=self._watch)
            settings = pool_settings(said, self._options)
        except ConfigError:
            self._seen = signature
            raise
        if self._signature() != signature:
            return None  # It is being written: a part of it may read like a whole.
        self._seen = signature
        return settings

    def _signature(self) -> _Signature:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
