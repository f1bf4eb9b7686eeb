"""Sessions, live: the projection follows the log in a thread of its own and answers from its tables."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self, TypeVar

from greenroom.errors import GreenroomError
from greenroom.eventlog import BlobMissingError, Blobs, EventLog, Record
from greenroom.sessions._events import RecordingStored
from greenroom.sessions._peaks import PeakMaker
from greenroom.sessions._prices import PriceTable, load_prices
from greenroom.sessions._query import SessionQuery
from greenroom.sessions._reader import Peaks, Reader, SessionPage
from greenroom.sessions._state import RoomState
from greenroom.sessions._store import Store
from greenroom.sessions._view import Session

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_BATCH: Final = 500
_READERS: Final = 2
_PAUSE: Final = 0.5


class Sessions:
    """The sessions of one log. Belongs to the event loop it was opened in.

    The tables are a cache: another schema, another price table, damage or a log that has become shorter make them
    anew from the log.
    """

    def __init__(self, log: EventLog, path: Path, store: Store, writer: ThreadPoolExecutor, *, peaks: bool) -> None:
        self.log = log
        self._store = store
        self._writer = writer
        self._reader = Reader(path)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="greenroom-sessions-read")
        self._position = store.position
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._records: asyncio.Queue[Record] = asyncio.Queue(2 * _BATCH)
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._maker = PeakMaker()
        work = [self._read_log(), self._project()]
        if peaks:
            work.append(self._make_peaks())
        self._tasks = [asyncio.create_task(each) for each in work]

    @classmethod
    async def open(cls, log: EventLog, path: Path, *, prices: PriceTable | None = None, peaks: bool = True) -> Sessions:
        """Open the tables at ``path`` (``DATA_DIR/sessions.db``) and begin to follow the log.

        :param peaks: whether to make the peaks of recordings, which needs the extra ``recordings``.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100, ASYNC240 - needs no disk
        writer = ThreadPoolExecutor(1, thread_name_prefix="greenroom-sessions-write")
        head = await log.head()

        def prepare() -> Store:
            store = Store(path, prices or load_prices())
            if store.position > head:
                logger.warning("the log is behind the sessions made from it; they are made anew")
                store.clear()
            return store

        store = await asyncio.get_running_loop().run_in_executor(writer, prepare)
        return cls(log, path, store, writer, peaks=peaks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop following and let go of the tables. The log is closed by who opened it, afterwards."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._maker.close()
        await asyncio.get_running_loop().run_in_executor(self._writer, self._store.close)
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._reader.close()

    @property
    def blobs(self) -> Blobs:
        """Where recordings and batches of telemetry are."""
        return self.log.blobs

    @property
    def position(self) -> int:
        """The position of the log up to which sessions are told."""
        return self._position

    @property
    def healthy(self) -> bool:
        """Whether the projection still follows the log."""
        return not any(task.done() for task in self._tasks)

    async def reached(self, position: int) -> None:
        """Wait until sessions are told up to a position of the log."""
        while self._position < position:
            await self._moved.wait()

    def listen(self, listener: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        """Call ``listener`` with the ids of sessions that changed, or whose peaks came. Returns the way to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def search(self, query: SessionQuery) -> SessionPage:
        """Return a page of sessions. Raises :class:`QueryError`."""
        return await self._ask(lambda: self._reader.search(query))

    async def session(self, session: str) -> Session:
        """Return a session. Raises :class:`SessionNotFoundError`."""
        return await self._ask(lambda: self._reader.session(session))

    async def rooms(self, room: str) -> list[RoomState]:
        """Return the rooms with this name or sid, as webhooks tell of them."""
        return await self._ask(lambda: self._reader.rooms(room))

    async def peaks(self, blob: str) -> Peaks:
        """Return the peaks of a recording."""
        return await self._ask(lambda: self._reader.peaks(blob))

    async def decode(self, work: Callable[[], _Result]) -> _Result:
        """Do something longer beside the event loop."""
        return await self._ask(work)

    async def rebuild(self) -> None:
        """Make the tables anew from the log, and wait until they are."""
        head = await self.log.head()
        for task in self._tasks[:2]:
            task.cancel()
        await asyncio.gather(*self._tasks[:2], return_exceptions=True)
        await self._write(self._store.clear)
        self._records = asyncio.Queue(2 * _BATCH)
        self._position = 0
        self._tasks[:2] = [asyncio.create_task(self._read_log()), asyncio.create_task(self._project())]
        await self.reached(head)

    async def _read_log(self) -> None:
        async for record in self.log.follow(self._position):
            await self._records.put(record)

    async def _project(self) -> None:
        while True:
            batch = [await self._records.get()]
            while len(batch) < _BATCH and not self._records.empty():
                batch.append(self._records.get_nowait())
            began = time.monotonic()
            await self._apply(batch)
            if self._records.empty():
                # A long call is written whole with each change of it: let some come together.
                await asyncio.sleep(min(_PAUSE, time.monotonic() - began))

    async def _apply(self, batch: Sequence[Record]) -> None:
        try:
            changed = await self._write(lambda: self._store.apply(batch, batch[-1].position))
        except Exception:
            # Nothing of it is written; without this the projection would stand still and no one would know.
            logger.exception("sessions could not be projected", extra={"position": batch[0].position})
            raise
        self._position = batch[-1].position
        self._moved, moved = asyncio.Event(), self._moved
        moved.set()
        for record in batch:
            if isinstance(record.data, RecordingStored):
                self._wanted.put_nowait(record.data.blob.hash)
        self._tell(changed)

    def _tell(self, changed: set[str]) -> None:
        if changed:
            for listener in list(self._listeners):
                listener(frozenset(changed))

    async def _make_peaks(self) -> None:
        for blob in await self._write(self._store.wanting_peaks):
            self._wanted.put_nowait(blob)
        while True:
            blob = await self._wanted.get()
            if not (await self.peaks(blob)).made:
                await self._make(blob)

    async def _make(self, blob: str) -> None:
        data: bytes | None = None
        error = ""
        try:
            data = await self._maker.make(self.blobs.path(blob))
        except BlobMissingError:
            return
        except GreenroomError as failed:
            logger.warning("the peaks of a recording could not be made", extra={"code": failed.code})
            error = str(failed)
        self._tell(await self._write(lambda: self._store.save_peaks(blob, data, error)))

    async def _write(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def _ask(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)
