"""Which files hold a pool's agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from greenroom.pool.discovery import Discovery


class Files:
    """Finds the files with agents, again whenever asked.

    :param paths: files, and directories to look for agents in.
    :param discover: finds them instead.
    """

    def __init__(self, paths: Sequence[Path], discover: Callable[[], Sequence[Path]] | None) -> None:
        self._paths = paths
        self._given = discover
        self._discoveries = [] if discover is not None else [Discovery(path) for path in paths if path.is_dir()]
        self.directories: frozenset[Path] = frozenset()

    def find(self) -> list[str]:
        """Return the files with agents, absolute. Blocking.

        :raises ConfigError: when there are none, or something is wrong with what was named.
        """
        if self._given is not None:
            found = [path.resolve() for path in self._given()]
            directories = {path.parent for path in found} | {path for path in self._paths if path.is_dir()}
        else:
            found, directories = [], set()
            for path in self._paths:
                if path.is_dir():
                    continue
                found.append(path.resolve())
                directories.add(path.resolve().parent)
            for discovery in self._discoveries:
                survey = discovery.survey()
                found += survey.agents
                directories |= survey.directories
        self.directories = frozenset(directories)
        return list(dict.fromkeys(map(str, found)))
