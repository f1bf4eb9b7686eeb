"""Large content beside the log: one file for each content, named by its hash; whole or absent, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO, Final

from greenroom.eventlog._errors import BlobMissingError, BlobTooLargeError, EventLogError, LogFullError
from greenroom.eventlog._events import BlobRef
from greenroom.eventlog._files import sync_directory

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_READ: Final = 256 * 1024
_WRITE: Final = 256 * 1024
DEFAULT_LIMIT: Final = 256 * 1024 * 1024
# How long content that no event names yet may wait for one.
GRACE: Final = 3600.0


class Blobs:
    """Content-addressed files under one directory.

    A blob is stored before the event that names it (in a :class:`BlobRef` field) is appended, and deleted with the
    payload of the last such event. Content that no event names is deleted an hour after it was stored.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"

    async def put(self, source: AsyncIterable[bytes], *, limit: int = DEFAULT_LIMIT) -> BlobRef:
        """Store what ``source`` yields; return once it is durable.

        :param limit: in bytes.
        :raises BlobTooLargeError: past ``limit``; nothing is stored, no more is read.
        :raises LogFullError: when the disk is full; nothing is stored.
        """
        incoming = await asyncio.to_thread(self._begin)
        try:
            pending = bytearray()
            async for part in source:
                pending += part
                if incoming.size + len(pending) > limit:
                    raise BlobTooLargeError(
                        f"More than {limit} bytes were sent",
                        fix="Send less, or raise the limit",
                        context={"limit": limit},
                    )
                if len(pending) >= _WRITE:
                    await asyncio.to_thread(incoming.write, bytes(pending))
                    pending.clear()
            return await asyncio.to_thread(self._finish, incoming, bytes(pending))
        finally:
            incoming.discard()

    async def put_bytes(self, content: bytes) -> BlobRef:
        """Store ``content``; return once it is durable. Raises :class:`LogFullError`."""
        return await asyncio.to_thread(self.store, content)

    def store(self, content: bytes) -> BlobRef:
        """Store ``content`` from a thread that may wait."""
        incoming = self._begin()
        try:
            return self._finish(incoming, content)
        finally:
            incoming.discard()

    def path(self, blob: str) -> Path:
        """Return the file of a stored blob, never to be written to. Raises :class:`BlobMissingError`."""
        path = self._path(blob)
        if not path.is_file():
            raise BlobMissingError(f"Blob {blob[:12]} is not stored", context={"blob": blob})
        return path

    def holds(self, blob: str) -> bool:
        """Tell whether a blob is stored."""
        return bool(_HASH.fullmatch(blob)) and self._path(blob).is_file()

    async def open(self, blob: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from ``start`` up to, without, ``end``. Raises :class:`BlobMissingError`."""
        file = await asyncio.to_thread(self.path(blob).open, "rb")
        try:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else max(0, end - start)
            while left is None or left > 0:
                part = await asyncio.to_thread(file.read, _READ if left is None else min(_READ, left))
                if not part:
                    return
                if left is not None:
                    left -= len(part)
                yield part
        finally:
            file.close()

    async def read(self, blob: str) -> bytes:
        """Return the whole of a blob. Raises :class:`BlobMissingError`."""
        return await asyncio.to_thread(lambda: self.path(blob).read_bytes())

    def check(self, blob: str) -> str | None:
        """Say what is wrong with a stored blob, by reading it."""
        try:
            with self.path(blob).open("rb") as file:
                if file_digest(file, "sha256").hexdigest() != blob:
                    return "the blob is not what its name says"
        except BlobMissingError:
            return "the blob is missing"
        except OSError:
            return "the blob cannot be read"
        return None

    def delete(self, blobs: Iterable[str]) -> int:
        """Delete blobs and return how many there were. Only the log's writer may."""
        count = 0
        for blob in blobs:
            with contextlib.suppress(FileNotFoundError):
                self._path(blob).unlink()
                count += 1
        return count

    def stale(self, *, age: float = GRACE) -> list[str]:
        """Return the blobs stored more than ``age`` seconds ago, and delete what never became one."""
        found = []
        for file in self._directory.glob("*/*"):
            if _is_older(file, age):
                if _HASH.fullmatch(file.name):
                    found.append(file.name)
                elif file.parent == self._incoming:
                    file.unlink(missing_ok=True)
        return found

    def delete_stale(self, blobs: Iterable[str], *, age: float = GRACE) -> int:
        """Delete those of ``blobs`` that nobody has stored again meanwhile. Only the log's writer may."""
        return self.delete(blob for blob in blobs if _is_older(self._path(blob), age))

    def _path(self, blob: str) -> Path:
        if not _HASH.fullmatch(blob):
            raise BlobMissingError("That is not the name of a blob", context={"blob": blob[:80]})
        return self._directory / blob[:2] / blob

    def _begin(self) -> _Incoming:
        with _explained(self._directory):
            if not self._incoming.is_dir():
                self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_directory(self._directory.parent)
            return _Incoming(self._incoming / secrets.token_hex(8))

    def _finish(self, incoming: _Incoming, last: bytes) -> BlobRef:
        incoming.write(last)
        with _explained(self._directory):
            ref = BlobRef(hash=incoming.hash.hexdigest(), size=incoming.size)
            path = self._path(ref.hash)
            incoming.sync()
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                sync_directory(self._directory)
            incoming.path.replace(path)
            sync_directory(path.parent)
            return ref


class _Incoming:
    """A file that is being written, under a name no one looks for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hash = sha256()
        self.size = 0
        self._file: BinaryIO = path.open("xb", buffering=0)

    def write(self, part: bytes) -> None:
        with _explained(self.path):
            view = memoryview(part)
            while view:
                view = view[self._file.write(view) :]
        self.hash.update(part)
        self.size += len(part)

    def sync(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Close the file; delete it unless it has become a blob."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _is_older(file: Path, age: float) -> bool:
    try:
        return time.time() - file.stat().st_mtime > age
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        raise (LogFullError if full else EventLogError)(
            f"Nothing can be stored below {path.parent}: {error.strerror or error}",
            fix="Free disk space, or raise the limit on a file's size"
            if full
            else "Check the permissions of that directory",
            context={"path": str(path), "errno": error.errno},
        ) from error
