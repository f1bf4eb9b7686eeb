"""Reading the log: pages, streams, followers and verification, on threads that may wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from greenroom.eventlog._blobs import Blobs
from greenroom.eventlog._chain import Row
from greenroom.eventlog._checkpoints import SigningKey
from greenroom.eventlog._errors import LogClosedError
from greenroom.eventlog._events import decode
from greenroom.eventlog._model import (
    Record,
    StreamHead,
)
from greenroom.eventlog._proof import Anchor, Link, anchor_of, links_of
from greenroom.eventlog._store import Page, Query, Reader
from greenroom.eventlog._verify import Verification, verify_log, verify_stream

_Result = TypeVar("_Result")

_READERS: Final = 2
_PAGE: Final = 500
# How often a follower looks for what another process has appended. Of its own process it is told.
_LOOK: Final = 0.5


class NewReader(Protocol):
    """Opens a reader, on the thread that will use it."""

    def __call__(self, *, tolerant: bool = False) -> Reader:
        """Open a reader, for verification when it is ``tolerant``."""


class LogReader:
    """Reads a log. Other processes may be writing to it."""

    def __init__(self, reader: NewReader, blobs: Blobs) -> None:
        self.blobs = blobs
        self._new_reader = reader
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="greenroom-eventlog-read")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._news = asyncio.Event()
        self._closed = False

    @classmethod
    async def open_reader(cls, path: Path, *, blobs: Path | None = None) -> LogReader:
        """Open the log at ``path`` for reading only. Raises :class:`EventLogError`."""
        from greenroom.eventlog._sqlite_reader import SqliteReader  # noqa: PLC0415 - only who opens a log pays for it

        log = LogReader(partial(SqliteReader, path), Blobs(blobs or path.parent / "blobs"))
        try:
            await log.head()
        except BaseException:
            await log.close()
            raise
        return log

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the database. Followers end."""
        self._closed = True
        self._wake()
        await asyncio.to_thread(self._threads.shutdown)
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    async def head(self) -> int:
        """Return the last position, 0 of an empty log."""
        return await self._read(lambda reader: reader.head())

    async def read(
        self,
        after: int = 0,
        *,
        limit: int = 1000,
        streams: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        tenant: str | None = None,
    ) -> list[Record]:
        """Return the first ``limit`` events past the position ``after``, in order of position.

        :param streams: only events of these streams.
        :param types: only events of these types.
        :param tenant: only events of this tenant; by default of all.
        """
        query = _query(streams, types, tenant)
        found: list[Record] = []
        while len(found) < limit:
            records, searched = await self._page(after, limit - len(found), query)
            found += records
            if searched <= after:
                break
            after = searched
        return found

    async def read_stream(
        self, stream: str, after_seq: int = 0, *, limit: int | None = None, tenant: str = ""
    ) -> list[Record]:
        """Return the events of a stream past a sequence number; all there are, unless ``limit`` is given."""
        count = -1 if limit is None else limit
        return await self._read(
            lambda reader: [_record(row) for row in reader.stream(tenant, stream, after_seq, count)]
        )

    async def streams(self, kind: str = "", *, tenant: str | None = None) -> list[StreamHead]:
        """Return where the streams of a kind (``session``) end, by name; those of every kind by default."""
        return await self._read(lambda reader: reader.heads(tenant, kind))

    async def follow(
        self,
        after: int,
        *,
        streams: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        tenant: str | None = None,
    ) -> AsyncIterator[Record]:
        """Yield every event past the position ``after``, then each new one, until the log is closed.

        Nothing is missed, however slow the reader is, and no more than one page is held for it. To go on later,
        remember the position of the last record dealt with.
        """
        query = _query(streams, types, tenant)
        while not self._closed:
            news = self._news
            try:
                records, searched = await self._page(after, _PAGE, query)
            except LogClosedError:
                return
            for record in records:
                yield record
            if searched > after:
                after = searched
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await news.wait()

    async def proof(self, stream: str, *, tenant: str = "") -> list[Link]:
        """Return a stream's chain with all its hashes are made of, to be checked elsewhere (:func:`broken_link`)."""
        return await self._read(lambda reader: links_of(reader.stream(tenant, stream, 0, -1)))

    async def anchor(self, stream: str, *, tenant: str = "") -> Anchor | None:
        """Return the last checkpoint that holds a stream, to be checked elsewhere (:func:`is_anchored`)."""
        return await self._read(lambda reader: anchor_of(reader, tenant, stream))

    async def verify(
        self, stream: str | None = None, *, tenant: str = "", key: SigningKey | None = None, blobs: bool = True
    ) -> Verification:
        """Walk the whole log, or one stream's chain, and name what is not as it was written.

        :param key: checks the signatures of checkpoints.
        :param blobs: also read every blob that an event names.
        """
        check = self.blobs.check if blobs else None

        def work() -> Verification:
            with contextlib.closing(self._new_reader(tolerant=True)) as reader:
                if stream is None:
                    return verify_log(reader, key=key, check_blob=check)
                return verify_stream(reader, tenant, stream)

        return await asyncio.to_thread(work)

    async def _page(self, after: int, limit: int, query: Query) -> tuple[list[Record], int]:
        def work(reader: Reader) -> tuple[list[Record], int]:
            page: Page = reader.page(after, limit, query)
            return [_record(row) for row in page.rows], page.searched

        return await self._read(work)

    async def _read(self, work: Callable[[Reader], _Result]) -> _Result:
        if self._closed:
            raise LogClosedError
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_reader, work)

    def _with_reader(self, work: Callable[[Reader], _Result]) -> _Result:
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self._new_reader()
            self._readers.append(reader)
        return work(reader)

    def _wake(self) -> None:
        self._news, news = asyncio.Event(), self._news
        news.set()


def _query(streams: Iterable[str] | None, types: Iterable[str] | None, tenant: str | None) -> Query:
    return Query(tenant, None if streams is None else tuple(streams), None if types is None else tuple(types))


def _record(row: Row) -> Record:
    return Record(
        position=row.position,
        tenant=row.tenant,
        stream=row.stream,
        seq=row.seq,
        type=row.type,
        version=row.version,
        at=row.at / 1_000_000,
        recorded_at=row.recorded_at / 1_000_000,
        key=row.key,
        data=None if row.payload is None else decode(row.type, row.version, row.payload),
        hash=row.hash,
    )
