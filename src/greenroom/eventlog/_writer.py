"""The one thread that writes: it takes what is waiting, stores it in one transaction, then says so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from greenroom.eventlog._chain import Append
from greenroom.eventlog._checkpoints import SigningKey
from greenroom.eventlog._errors import EventLogError
from greenroom.eventlog._model import Appended
from greenroom.eventlog._store import Store

_log = logging.getLogger(__name__)

Outcome: TypeAlias = Appended | EventLogError
Answer: TypeAlias = Callable[[Outcome], None]

# What one transaction takes at most, so that the first of them does not wait for the last of many.
BATCH_EVENTS: Final = 2_000
BATCH_BYTES: Final = 8 * 1024 * 1024
# When a checkpoint is due: after so many events, or so many seconds after the first of them.
CHECKPOINT_EVENTS: Final = 20_000
CHECKPOINT_SECONDS: Final = 60.0


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
        key: SigningKey | None,
        tell: Callable[[Sequence[Waiting], Sequence[Outcome]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._missing = missing
        self._key = key
        self._tell = tell
        # What an earlier run has not covered any more counts as one.
        self._uncovered = 1
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._queue: SimpleQueue[Waiting | Callable[[], None] | None] = SimpleQueue()
        self._carried: list[Callable[[], None] | None] = []
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
        while (item := self._next()) is not None:
            if isinstance(item, Waiting):
                self._commit(self._batch(item))
            else:
                item()
            if self._uncovered >= CHECKPOINT_EVENTS:
                self._checkpoint()
        self._checkpoint()

    def _next(self) -> Waiting | Callable[[], None] | None:
        if self._carried:
            return self._carried.pop()
        while self._uncovered:
            try:
                return self._queue.get(timeout=max(0.0, self._due - time.monotonic()))
            except Empty:
                self._checkpoint()
        return self._queue.get()

    def _batch(self, first: Waiting) -> list[Waiting]:
        """Return what is waiting and may go into one transaction."""
        batch = [first]
        events, size = len(first.append.events), first.size
        while events < BATCH_EVENTS and size < BATCH_BYTES:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if not isinstance(item, Waiting):
                self._carried.append(item)
                break
            batch.append(item)
            events += len(item.append.events)
            size += item.size
        if not self._uncovered:
            self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._uncovered += events
        return batch

    def checkpoint(self) -> bool:
        """Write a checkpoint, on the writer's thread; tell whether there was anything to cover."""
        written = self._store.checkpoint(key=self._key, now=round(self._clock() * 1_000_000))
        self._uncovered = 0
        return written

    def _checkpoint(self) -> None:
        try:
            self.checkpoint()
        except EventLogError as error:
            # The next one covers what this one should have.
            _log.error("no checkpoint", extra={"code": error.code, **error.context})
        except Exception:
            # The thread must live: whoever appends waits for it.
            _log.exception("no checkpoint")
        self._uncovered = 0

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
            if len(batch) > 1:
                # One of them is to blame. The others are not.
                for waiting in batch:
                    self._commit([waiting])
                return
            _log.exception("events not stored")
            failed = EventLogError(f"The event log failed: {type(error).__name__}", fix="See the log for the traceback")
            outcomes = [failed] * len(batch)
        self._tell(batch, outcomes)
