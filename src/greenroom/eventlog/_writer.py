"""The one thread that writes: it takes what is waiting, stores it in one transaction, then says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from greenroom.eventlog._chain import Append
from greenroom.eventlog._errors import EventLogError
from greenroom.eventlog._model import Appended
from greenroom.eventlog._store import Store

_log = logging.getLogger(__name__)

Outcome: TypeAlias = Appended | EventLogError
Answer: TypeAlias = Callable[[Outcome], None]

# What one transaction takes at most, so that the first of them does not wait for the last of many.
BATCH_EVENTS: Final = 2_000
BATCH_BYTES: Final = 8 * 1024 * 1024


class Waiting:
    """An append on its way, and who is told what became of it."""

    __slots__ = ("append", "size", "token")

    def __init__(self, append: Append, size: int, token: object) -> None:
        self.append = append
        self.size = size
        self.token = token


class Writer:
    """Runs a store's writes on a thread of its own.

    :param clock: seconds since 1970.
    :param missing: tells, on the writer's thread, whether a blob is not stored.
    :param tell: called on the writer's thread with appends that are durable, or failed, and their outcomes.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        missing: Callable[[str], bool],
        tell: Callable[[Sequence[Waiting], Sequence[Outcome]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._missing = missing
        self._tell = tell
        self._queue: SimpleQueue[Waiting | Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="greenroom-eventlog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append(self, waiting: Waiting) -> None:
        """Queue an append."""
        self._queue.put(waiting)

    def call(self, work: Callable[[], None]) -> None:
        """Queue work that must not run beside a write. It does not raise."""
        self._queue.put(work)

    def stop(self) -> None:
        """Finish what is queued and return when the thread has ended."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        carried: Waiting | Callable[[], None] | None = None
        while True:
            first = self._queue.get() if carried is None else carried
            carried = None
            if first is None:
                return
            if not isinstance(first, Waiting):
                first()
                continue
            batch = [first]
            events, size = len(first.append.events), first.size
            stopped = False
            while events < BATCH_EVENTS and size < BATCH_BYTES:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
                if not isinstance(item, Waiting):
                    carried, stopped = item, item is None
                    break
                batch.append(item)
                events += len(item.append.events)
                size += item.size
            self._commit(batch)
            if stopped:
                return

    def _commit(self, batch: list[Waiting]) -> None:
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._store.commit(
                [waiting.append for waiting in batch], now=round(self._clock() * 1_000_000), missing=self._missing
            )
        except EventLogError as error:
            _log.error("events not stored", extra={"code": error.code, "appends": len(batch), **error.context})
            outcomes = [error] * len(batch)
        except Exception as error:
            _log.exception("events not stored")
            failed = EventLogError(f"The event log failed: {type(error).__name__}", fix="See the log for the traceback")
            outcomes = [failed] * len(batch)
        self._tell(batch, outcomes)
