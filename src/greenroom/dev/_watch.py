"""Tells that something may have been saved, without saying what: the reader compares files itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Final

_DEBOUNCE_MS: Final = 600
_QUIET_MS: Final = 60


async def changes(directories: Collection[Path]) -> AsyncIterator[None]:
    """Yield after each burst of changes to Python files, or to directories, directly inside ``directories``.

    Directories are watched rather than files, since many editors save by replacing the file, and each by
    itself, since a recursive watch would follow every virtual environment.
    """
    from watchfiles import Change, awatch  # noqa: PLC0415 - only needed while reloading

    def matters(change: Change, path: str) -> bool:
        name = path.rpartition("/")[2]
        return name.endswith(".py") or (change is not Change.modified and "." not in name)

    existing = [directory for directory in directories if directory.is_dir()]
    async for _ in awatch(
        *existing,
        watch_filter=matters,
        debounce=_DEBOUNCE_MS,
        step=_QUIET_MS,
        recursive=False,
        ignore_permission_denied=True,
        raise_interrupt=False,
    ):
        yield
