"""Tells of saved files, several changes at a time. The pool's own reload does not need it; programs may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import site
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from watchfiles import Change, awatch

ChangeType: TypeAlias = Literal["created", "modified", "deleted"]
WatcherState: TypeAlias = Literal["new", "running", "stopped"]

_log = logging.getLogger(__name__)
_WORDS: Final[dict[Change, ChangeType]] = {
    Change.added: "created",
    Change.modified: "modified",
    Change.deleted: "deleted",
}
#: Of several changes to one file the first of these is told.
_WEIGHT: Final[tuple[ChangeType, ...]] = ("deleted", "created", "modified")


@dataclass(frozen=True)
class FileChange:
    """A file that was saved, made or removed."""

    path: Path
    change_type: ChangeType


class FileWatcher:
    """Watches the program's own modules, or given paths, and tells of changes once nothing more comes for a moment.

    It watches the directories of the files, so that it goes on after a save that replaces a file.

    :param on_change: what it raises is logged, and the watching goes on.
    :param debounce_ms: how long it waits for more, in milliseconds.
    :param paths: files and directories; without them the modules that are imported from outside of Python's own
        directories.
    :raises ValueError: when ``debounce_ms`` is not positive.
    """

    def __init__(
        self,
        on_change: Callable[[list[FileChange]], Awaitable[None]],
        *,
        debounce_ms: int = 200,
        paths: list[Path] | None = None,
    ) -> None:
        if debounce_ms <= 0:
            raise ValueError(f"debounce_ms must be > 0, got {debounce_ms}.")
        self._on_change = on_change
        self._debounce = debounce_ms
        self._given = paths is not None
        self._paths = list(paths) if paths is not None else _own_modules()
        self._state: WatcherState = "new"
        self._refreshed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def paths(self) -> list[Path]:
        """What is watched."""
        return list(self._paths)

    @property
    def state(self) -> WatcherState:
        """Whether it has begun, and whether it has ended."""
        return self._state

    def refresh_paths(self) -> None:
        """Look again which modules are imported; nothing when paths were given."""
        if not self._given:
            self._paths = _own_modules()
            self._refreshed.set()

    async def start(self) -> None:
        """Begin. Raises ``RuntimeError`` after :meth:`stop`."""
        if self._state == "stopped":
            raise RuntimeError("FileWatcher cannot be restarted after stop(); construct a new watcher.")
        if self._state == "new":
            self._state = "running"
            self._task = asyncio.create_task(self._watch(), name="greenroom-file-watcher")

    async def stop(self) -> None:
        """End. What was not told yet is dropped."""
        self._state = "stopped"
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            self._refreshed.clear()
            wanted = {path.resolve() for path in self._paths}
            watched = {path if path.is_dir() else path.parent for path in wanted}
            present = [path for path in watched if path.exists()]
            if not present:
                await self._refreshed.wait()
                continue
            # A quiet moment of this length ends a batch; a file that is written all the time is told of anyway.
            async for batch in awatch(
                *present,
                watch_filter=None,
                debounce=max(self._debounce * 8, 1600),
                step=self._debounce,
                stop_event=self._refreshed,
            ):
                changes = _changes(batch, wanted)
                if changes:
                    await self._tell(changes)

    async def _tell(self, changes: list[FileChange]) -> None:
        try:
            await self._on_change(changes)
        except Exception:
            _log.exception("on_change of a file watcher failed")


def collapsed(changes: Iterable[FileChange]) -> list[FileChange]:
    """Return one change for each file: deleted before created before modified."""
    kinds: dict[Path, set[ChangeType]] = {}
    for change in changes:
        kinds.setdefault(change.path, set()).add(change.change_type)
    return [FileChange(path, next(kind for kind in _WEIGHT if kind in seen)) for path, seen in kinds.items()]


def _changes(batch: Iterable[tuple[Change, str]], wanted: set[Path]) -> list[FileChange]:
    told = (FileChange(Path(name).resolve(), _WORDS[change]) for change, name in batch)
    return collapsed(change for change in told if _is_wanted(change.path, wanted))


def _is_wanted(path: Path, wanted: set[Path]) -> bool:
    return path in wanted or any(parent in wanted for parent in path.parents)


def _own_modules() -> list[Path]:
    foreign = [Path(place).resolve() for place in (*site.getsitepackages(), sys.prefix, sys.base_prefix)]
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = dict.fromkeys(Path(file).resolve() for file in files if file)
    return [path for path in paths if not any(path.is_relative_to(place) for place in foreign)]
