"""The log as the rest of the program sees it: asynchronous, over one writer thread and a few readers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from greenroom.eventlog._blobs import Blobs
from greenroom.eventlog._chain import Append, Encoded, Row
from greenroom.eventlog._errors import LogClosedError
from greenroom.eventlog._events import decode, encode, type_of
from greenroom.eventlog._model import Appended, Erased, NewEvent, Record, StreamHead, check_key, check_stream
from greenroom.eventlog._store import Page, Query, Reader, Store
from greenroom.eventlog._writer import Outcome, Waiting, Writer

_Result = TypeVar("_Result")

_READERS: Final = 2
_PAGE: Final = 500
# How often a follower looks for what another process has appended. Of its own process it is told.
_LOOK: Final = 0.5


class LogReader:
    """Reads a log. Other processes may be writing to it."""

    def __init__(self, reader: Callable[[], Reader]) -> None:
        self._new_reader = reader
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="greenroom-eventlog-read")
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._news = asyncio.Event()
        self._closed = False

    @classmethod
    async def open_reader(cls, path: Path) -> LogReader:
        """Open the log at ``path`` for reading only. Raises :class:`EventLogError`."""
        from greenroom.eventlog._sqlite_reader import SqliteReader  # noqa: PLC0415 - only who opens a log pays for it

        log = LogReader(lambda: SqliteReader(path))
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
        while True:
            records, searched = await self._page(after, limit - len(found), query)
            found += records
            if len(found) >= limit or searched <= after:
                return found
            after = searched

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
            records, searched = await self._page(after, _PAGE, query)
            for record in records:
                yield record
            if searched > after:
                after = searched
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await news.wait()

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


class EventLog(LogReader):
    """The append-only log of everything Greenroom decides and has been told.

    Belongs to the event loop it was opened in. Several processes may have it open; SQLite keeps them apart.
    """

    def __init__(self, store: Store, blobs: Blobs, *, clock: Callable[[], float]) -> None:
        super().__init__(store.reader)
        self.blobs = blobs
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(store, clock=clock, missing=lambda blob: not blobs.holds(blob), tell=self._tell)
        self._writer.start()

    @classmethod
    async def open(cls, path: Path, *, blobs: Path | None = None, clock: Callable[[], float] = time.time) -> EventLog:
        """Open the log at ``path`` (``DATA_DIR/log.db``), creating it if need be.

        :param blobs: the directory for blobs; ``blobs`` beside the log by default.
        :param clock: seconds since 1970.
        :raises EventLogError: when the file is damaged, no log, of a newer version or cannot be written to.
        """
        from greenroom.eventlog._sqlite import SqliteStore  # noqa: PLC0415 - only who opens a log pays for it

        store = await asyncio.to_thread(SqliteStore, path)
        return cls(store, Blobs(blobs or path.parent / "blobs"), clock=clock)

    async def close(self) -> None:
        """Store what has been given, then let go of the database."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        await super().close()
        await asyncio.to_thread(self._store.close)

    async def append(
        self, stream: str, events: Sequence[NewEvent], *, expected: int | None = None, tenant: str = ""
    ) -> Appended:
        """Append events to a stream, all or none; return when they are durable.

        An event whose key is stored already is left out and counted as a duplicate, so an append that got no
        answer may be repeated. A cancelled append may or may not be stored.

        :param stream: ``kind:opaque-id``.
        :param expected: the stream's last sequence number, 0 when it must be new; by default any.
        :raises ConflictError: the stream is not at ``expected``.
        :raises BlobMissingError: an event names a blob that is not stored.
        :raises LogFullError: the disk is full. :raises LogBusyError: another process keeps writing.
        :raises TypeError: an event's type is not declared. :raises ValueError: a malformed stream, key or time.
        """
        if self._closed:
            raise LogClosedError
        if not events:
            raise ValueError("nothing to append")
        encoded = [_encoded(given) for given in events]
        size = sum(len(found.payload) for found in encoded)
        future: asyncio.Future[Appended] = self._loop.create_future()
        self._writer.append(Waiting(Append(tenant, check_stream(stream), expected, encoded), size, future))
        return await future

    async def erase(self, stream: str, reason: str, *, through_seq: int | None = None, tenant: str = "") -> Erased:
        """Delete a stream's payloads, and the blobs only they name; its chain still verifies.

        :param reason: kept for ever in the ``stream.erased`` event; name nobody in it.
        :param through_seq: erase no later events than this one; by default all.
        """

        def work() -> Erased:
            now = round(self._clock() * 1_000_000)
            erasure = self._store.erase(tenant, stream, through=through_seq, reason=reason, now=now)
            return Erased(events=erasure.events, blobs=self.blobs.delete(erasure.orphans))

        erased = await self._in_writer(work)
        self._wake()
        return erased

    async def _in_writer(self, work: Callable[[], _Result]) -> _Result:
        if self._closed:
            raise LogClosedError
        future: asyncio.Future[_Result] = self._loop.create_future()

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                self._post(_fail, future, error)
            else:
                self._post(_succeed, future, result)

        self._writer.call(run)
        return await future

    def _tell(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        self._post(self._settle, batch, outcomes)

    def _settle(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            future: asyncio.Future[Appended] = waiting.token  # type: ignore[assignment]
            if isinstance(outcome, Appended):
                _succeed(future, outcome)
            else:
                _fail(future, outcome)
        self._wake()

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        # The loop may have been closed with appends under way: then no one waits for them.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _succeed(future: asyncio.Future[_Result], result: _Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _query(streams: Iterable[str] | None, types: Iterable[str] | None, tenant: str | None) -> Query:
    return Query(tenant, None if streams is None else tuple(streams), None if types is None else tuple(types))


def _encoded(given: NewEvent) -> Encoded:
    known = type_of(given.data)
    at = given.at
    if at is not None and not math.isfinite(at):
        raise ValueError(f"{at} is no time")
    return Encoded(
        known.name,
        known.version,
        None if at is None else round(at * 1_000_000),
        check_key(given.key) if given.key else "",
        encode(known, given.data),
        known.blobs(given.data),
    )


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
