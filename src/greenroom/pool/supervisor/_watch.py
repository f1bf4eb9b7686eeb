"""Notices that the code on disk is another than the one that was loaded."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from greenroom.errors import GreenroomError

_log = logging.getLogger("greenroom.pool")

_DEBOUNCE_MS: Final = 400
_QUIET_MS: Final = 60
_LOOK_MS: Final = 3000
#: How long an agent's file may be missing while an editor or git puts another in its place.
_GONE_FOR: Final = 0.5

Signature: TypeAlias = tuple[int, int, int]


class Contents:
    """What files hold, read again only where they look otherwise. Blocking."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Signature, bytes]] = {}

    def of(self, directories: Iterable[Path], files: Iterable[str]) -> dict[str, bytes]:
        """Return a digest of each Python file directly inside the directories, and of the others named."""
        names = set(files)
        for directory in directories:
            try:
                names.update(str(path) for path in directory.iterdir() if path.suffix == ".py")
            except OSError:
                continue
        found = {}
        for name in sorted(names):
            digest = self._digest(name)
            if digest is not None:
                found[name] = digest
        self._seen = {name: seen for name, seen in self._seen.items() if name in found}
        return found

    def _digest(self, name: str) -> bytes | None:
        path = Path(name)
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._seen.get(name)
            if known is not None and known[0] == signature:
                return known[1]
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        except OSError:
            return None
        self._seen[name] = (signature, digest)
        return digest


class Watcher:
    """Asks for another load when a file that matters has changed.

    :param find: returns the files with agents; blocking.
    :param places: returns the directories to look in, and the files that were loaded.
    :param broken: whether some file is not in service, so that any other may be what mends it.
    """

    def __init__(
        self,
        find: Callable[[], list[str]],
        places: Callable[[], tuple[frozenset[Path], frozenset[str]]],
        broken: Callable[[], bool],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self._find = find
        self._places = places
        self._broken = broken
        self._reload = reload
        self._contents = Contents()
        self._loaded: dict[str, bytes] = {}
        self._agents: frozenset[str] = frozenset()

    async def loading(self, agents: Collection[str]) -> None:
        """Take what the files hold as what is loaded: call it just before."""
        self._agents = frozenset(agents)
        directories, files = self._places()
        self._loaded = await asyncio.to_thread(self._contents.of, directories, files | self._agents)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            directories = self._directories()
            async for _ in _events(directories):
                await self._look()
                if self._directories() != directories:
                    break

    async def _look(self) -> None:
        try:
            if await self._has_changed():
                await self._reload()
        except (GreenroomError, OSError) as error:
            _log.error("the code on disk is not in service: %s", error)

    async def _has_changed(self) -> bool:
        agents = frozenset(await asyncio.to_thread(self._find))
        if self._agents - agents:
            await asyncio.sleep(_GONE_FOR)
            agents = frozenset(await asyncio.to_thread(self._find))
        directories, files = self._places()
        there = await asyncio.to_thread(self._contents.of, directories, files | agents)
        if agents != self._agents:
            return True
        changed = {name for name in there.keys() | self._loaded.keys() if there.get(name) != self._loaded.get(name)}
        return bool(changed) and (self._broken() or bool(changed & (files | agents)))

    def _directories(self) -> frozenset[Path]:
        directories, files = self._places()
        return directories | {Path(file).parent for file in files}


async def _events(directories: Collection[Path]) -> AsyncIterator[None]:
    """Yield after each burst of changes directly inside the directories, and every few seconds without any.

    Directories are watched rather than files, since many editors save by replacing the file, and each by itself,
    since a recursive watch would follow every virtual environment.
    """
    from watchfiles import Change, awatch  # noqa: PLC0415 - only needed while reloading

    def matters(change: Change, path: str) -> bool:
        name = path.rpartition("/")[2]
        return name.endswith(".py") or (change is not Change.modified and "." not in name)

    existing = [directory for directory in directories if directory.is_dir()]
    if not existing:
        await asyncio.sleep(_LOOK_MS / 1000)
        yield
        return
    async for _ in awatch(
        *existing,
        watch_filter=matters,
        debounce=_DEBOUNCE_MS,
        step=_QUIET_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
        ignore_permission_denied=True,
    ):
        yield
