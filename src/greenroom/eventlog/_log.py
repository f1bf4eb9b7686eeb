"""The log as the rest of the program sees it: asynchronous, over one writer thread and a few readers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from greenroom.eventlog._blobs import Blobs
from greenroom.eventlog._chain import Append, Encoded
from greenroom.eventlog._checkpoints import SigningKey
from greenroom.eventlog._errors import EventLogError, LogClosedError
from greenroom.eventlog._events import encode, type_of
from greenroom.eventlog._model import (
    ERASED,
    Appended,
    Erased,
    NewEvent,
    check_key,
    check_reason,
    check_stream,
    check_tenant,
    check_time,
)
from greenroom.eventlog._reading import LogReader
from greenroom.eventlog._store import Erasure, Reader, Store
from greenroom.eventlog._writer import Outcome, Waiting, Writer

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_HOUR: Final = 3600.0
# Payloads that wait to be written, in bytes. Past it, appends wait before they are queued.
_MOST_WAITING: Final = 64 * 1024 * 1024


class EventLog(LogReader):
    """The append-only log of everything Greenroom decides and has been told.

    Belongs to the event loop it was opened in. Several processes may have it open; SQLite keeps them apart.
    """

    def __init__(
        self, store: Store, blobs: Blobs, *, clock: Callable[[], float] = time.time, key: SigningKey | None = None
    ) -> None:
        super().__init__(store.reader, blobs)
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(store, clock=clock, missing=lambda blob: not blobs.holds(blob), key=key, tell=self._tell)
        self._writer.start()
        self._waiting_bytes = 0
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        blobs: Path | None = None,
        clock: Callable[[], float] = time.time,
        key: SigningKey | None = None,
        retention: Mapping[str, float] | None = None,
    ) -> EventLog:
        """Open the log at ``path`` (``DATA_DIR/log.db``), creating it if need be.

        :param blobs: the directory for blobs; ``blobs`` beside the log by default.
        :param clock: seconds since 1970.
        :param key: signs checkpoints.
        :param retention: how many seconds payloads are kept, by kind of stream; see :meth:`expire`. Looked at hourly.
        :raises EventLogError: when the file is damaged, no log, of a newer version or cannot be written to.
        """
        from greenroom.eventlog._sqlite import SqliteStore  # noqa: PLC0415 - only who opens a log pays for it

        store = await asyncio.to_thread(SqliteStore, path)
        log = cls(store, Blobs(blobs or path.parent / "blobs"), clock=clock, key=key)
        log._keeper = asyncio.create_task(log._keep(dict(retention or {})))
        return log

    async def close(self) -> None:
        """Store what has been given, then let go of the database."""
        if self._closed:
            return
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
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
        while self._waiting_bytes > _MOST_WAITING:
            await self._news.wait()
            if self._closed:
                raise LogClosedError
        future: asyncio.Future[Appended] = self._loop.create_future()
        self._waiting_bytes += size
        self._writer.append(
            Waiting(Append(check_tenant(tenant), check_stream(stream), expected, encoded), size, future)
        )
        return await future

    async def erase(self, stream: str, reason: str, *, through_seq: int | None = None, tenant: str = "") -> Erased:
        """Delete a stream's payloads, and the blobs only they name; its chain still verifies.

        :param reason: kept for ever in the ``stream.erased`` event; name nobody in it.
        :param through_seq: erase no later events than this one; by default all.
        """
        events = blobs = 0
        more = True
        while more:
            erasure, deleted = await self._in_writer(
                partial(self._erase, tenant, check_stream(stream), through_seq, check_reason(reason))
            )
            events += erasure.events
            blobs += deleted
            more = erasure.more
        self._wake()
        return Erased(events=events, blobs=blobs)

    async def expire(self, kind: str, age: float, *, reason: str = "retention") -> Erased:
        """Erase the streams of a kind whose last event was recorded more than ``age`` seconds ago.

        The streams of the kind ``system`` never end: of them every event is erased that is older.
        """
        before = self._clock() - age
        events = blobs = 0
        if kind == "system":
            heads = [
                (head, await self._read(partial(_last_before, tenant=head.tenant, stream=head.stream, time=before)))
                for head in await self.streams(kind)
            ]
        else:
            expired = await self._read(lambda reader: reader.heads(None, kind, before=round(before * 1_000_000)))
            heads = [(head, head.seq) for head in expired]
        for head, through in heads:
            if through > head.erased:
                erased = await self.erase(head.stream, reason, through_seq=through, tenant=head.tenant)
                events += erased.events
                blobs += erased.blobs
        return Erased(events=events, blobs=blobs)

    async def sweep(self) -> int:
        """Delete the blobs that no event has named for an hour, and return how many there were."""
        stale = await asyncio.to_thread(self.blobs.stale)
        unnamed = await self._read(lambda reader: reader.unnamed(stale))
        return await self._in_writer(partial(self._store.release, unnamed, self.blobs.delete_stale))

    async def checkpoint(self) -> bool:
        """Join the ends of the streams that have grown since the last checkpoint; tell whether there were any."""
        return await self._in_writer(self._writer.checkpoint)

    async def _keep(self, retention: Mapping[str, float]) -> None:
        """Erase what is too old, now and every hour."""
        while True:
            try:
                for kind, age in retention.items():
                    erased = await self.expire(kind, age)
                    if erased.events:
                        _log.info("payloads expired", extra={"kind": kind, "events": erased.events})
                await self.sweep()
            except LogClosedError:
                return
            except EventLogError as error:
                _log.error("expiry failed", extra={"code": error.code, **error.context})
            await asyncio.sleep(_HOUR)

    def _erase(self, tenant: str, stream: str, through: int | None, reason: str) -> tuple[Erasure, int]:
        now = round(self._clock() * 1_000_000)
        erasure = self._store.erase(tenant, stream, through=through, reason=reason, now=now)
        return erasure, self._store.release(erasure.blobs, self.blobs.delete)

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
        self._waiting_bytes -= sum(waiting.size for waiting in batch)
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


def _last_before(reader: Reader, *, tenant: str, stream: str, time: float) -> int:
    return reader.last_before(tenant, stream, round(time * 1_000_000))


def _encoded(given: NewEvent) -> Encoded:
    known = type_of(given.data)
    if known.name == ERASED:
        raise ValueError("erase() alone says that something is erased")
    return Encoded(
        known.name,
        known.version,
        None if given.at is None else check_time(given.at),
        check_key(given.key) if given.key else "",
        encode(known, given.data),
        known.blobs(given.data),
    )
