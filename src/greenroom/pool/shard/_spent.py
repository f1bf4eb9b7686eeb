"""What each session costs: CPU and memory, measured while its code runs.

An event loop runs one callback at a time, each in the context of the session it belongs to. So the time between
the start and the end of a callback is that session's, and memory that the process gained meanwhile is too. The same
holds for work that a session hands to the loop's threads. What remains, the loop itself and native threads that
carry the media, is split equally.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, TypeVar

from greenroom.pool._model import Spent
from greenroom.pool.context import SCOPE, Scope
from greenroom.pool.shard._upstream_loop import measure

T = TypeVar("T")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: So many callbacks of a session are looked at closely after one that took long.
_CLOSE: Final = 32
_SPARSE: Final = 16
#: How much of what was seen of memory in one interval is still believed in the next.
_FADING: Final = 0.8
THREADS: Final = 64


class Averaged:
    """How fast a sum of nanoseconds grows, over a sliding window, as a share of one core."""

    def __init__(self, window: float, now: float, total: float) -> None:
        self._window = window
        self._seen = deque([(now, total)])

    def share(self, now: float, total: float) -> float:
        """Return the share up to ``now``, when the sum is ``total``."""
        self._seen.append((now, total))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._window:
            self._seen.popleft()
        then, before = self._seen[0]
        return max(0.0, (total - before) / 1e9 / (now - then)) if now > then else 0.0


class Account:
    """What was seen of one session. CPU in nanoseconds, memory in bytes."""

    __slots__ = (
        *("average", "close", "cpu", "gained", "memory", "probe", "probed", "seen", "session", "shared"),
        *("threads", "weight"),
    )

    def __init__(self, session: str, average: Averaged) -> None:
        self.session = session
        self.average = average
        self.cpu = 0
        self.threads = 0
        self.shared = 0.0
        self.memory = 0
        self.probe = 1
        self.probed = 0
        self.seen = 0
        self.gained = 0
        self.close = 0
        self.weight = 0.0

    @property
    def total(self) -> float:
        """All CPU, with the share of what belongs to no session."""
        return self.cpu + self.threads + self.shared


class Readings:
    """What the system says of this process. One place, so that tests can say something else."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._statm)

    def now(self) -> float:
        """Return a clock, in seconds."""
        return time.monotonic()

    def thread(self) -> int:
        """Return the CPU that this thread used, in nanoseconds."""
        return time.thread_time_ns()

    def process(self) -> int:
        """Return the CPU that the process used, in nanoseconds."""
        return time.process_time_ns()

    def faults(self) -> tuple[int, int]:
        """Return how many pages this thread, and the whole process, have touched for the first time."""
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt, resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def private(self) -> int:
        """Return the resident memory that belongs to no file, in bytes."""
        _, resident, shared, _ = os.pread(self._statm, 64, 0).split(None, 3)
        return (int(resident) - int(shared)) * _PAGE

    def resident(self) -> int:
        """Return the resident memory, in bytes."""
        return int(os.pread(self._statm, 64, 0).split(None, 2)[1]) * _PAGE


class Meter:
    """Measures the sessions of one loop. Everything but the threads' part runs on the loop's thread.

    :param window: seconds over which CPU is averaged.
    """

    long = 1_000_000

    def __init__(self, window: float, readings: Readings | None = None) -> None:
        self._window = window
        self._readings = readings or Readings()
        self._accounts: dict[Any, Account] = {}
        self.nobody: Any = self._new("")
        self._process = Averaged(window, self._readings.now(), self._readings.process())
        self._by_threads: deque[int] = deque()
        self._by_loop = 0
        self._at_work = 0
        self._undo: Callable[[], None] | None = None
        self._unassigned = 0
        self._gone = 0
        self._rest = 0
        self._memory_mark = self._readings.private()
        self._mark()

    @property
    def accounts(self) -> Mapping[Any, Any]:
        """The accounts of sessions by their scopes."""
        return self._accounts

    # --- sessions

    def open(self, scope: Scope) -> Account:
        """Begin to measure a session."""
        account = self._accounts[scope] = self._new(scope.session)
        return account

    def close(self, scope: Scope) -> None:
        """Measure a session no longer."""
        account = self._accounts.pop(scope, None)
        if account is not None:
            self._gone += account.cpu + account.threads

    def account(self, scope: Scope | None) -> Account:
        """Return the account of a session, or nobody's."""
        found: Account = self._accounts.get(scope, self.nobody)
        return found

    def _new(self, session: str) -> Account:
        return Account(session, Averaged(self._window, self._readings.now(), 0))

    # --- the loop's callbacks

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure each callback of a loop from now on."""
        self._undo = measure(loop, self, SCOPE)

    def wall(self) -> int:
        """Return a clock, in nanoseconds."""
        return time.perf_counter_ns()

    def probe(self, run: Callable[..., Any], arguments: tuple[Any, ...], account: Any) -> None:
        """Run a callback and look at it closely."""
        readings = self._readings
        self._memory_mark += self._gained_by_threads()
        memory, used = readings.private(), readings.thread()
        self._unassigned += memory - self._memory_mark
        try:
            run(*arguments)
        finally:
            took = readings.thread() - used
            self._memory_mark = readings.private()
            gained = self._memory_mark - memory - self._gained_by_threads()
            account.cpu += took
            account.memory += gained
            account.gained += gained
            self._by_loop += gained
            account.probed += took
            if took >= self.long:
                account.close = _CLOSE
            if account.close:
                account.close -= 1
                account.probe = 1

    def was_long(self, account: Any, took: int) -> None:
        """Count a callback that took long."""
        # It may have waited rather than worked: then the thread's clock stood still.
        used = self._readings.thread() - self._thread_mark - (self._measured() - self._measured_mark)
        took = min(took, max(0, used))
        account.cpu += took
        self._mark()
        memory = self._readings.private()
        account.memory += memory - self._memory_mark
        self._memory_mark = memory
        # On a busy machine many wait, and to look closely at what comes then would keep it busy.
        if took >= self.long:
            account.close = _CLOSE
            account.probe = 1

    def _measured(self) -> int:
        return int(self.nobody.cpu) + self._gone + sum(account.cpu for account in self._accounts.values())

    def _mark(self) -> None:
        self._thread_mark = self._readings.thread()
        self._measured_mark = self._measured()

    # --- threads

    def run_in_thread(self, account: Account, work: Callable[[], T]) -> T:
        """Run ``work`` on this thread for a session."""
        readings = self._readings
        self._at_work += 1
        used, memory, by_loop, before = readings.thread(), readings.private(), self._by_loop, readings.faults()
        alone = self._at_work == 1
        try:
            return work()
        finally:
            gained = readings.private() - memory - (self._by_loop - by_loop)
            if not (alone and self._at_work == 1):
                # Several threads touch memory; this one answers for its part.
                mine, everyone = (now - then for now, then in zip(readings.faults(), before, strict=True))
                gained = gained * mine // everyone if everyone else 0
            self._at_work -= 1
            account.memory += gained
            self._by_threads.append(gained)
            account.threads += readings.thread() - used

    def _gained_by_threads(self) -> int:
        gained = 0
        while self._by_threads:
            gained += self._by_threads.popleft()
        return gained

    # --- sums

    def tick(self) -> None:
        """Bring the marks up to date and choose what to look at closely; several times a second, on the loop."""
        self._mark()
        self._memory_mark += self._gained_by_threads()
        for account in (self.nobody, *self._accounts.values()):
            if not account.probe:
                account.probe = random.randint(1, _SPARSE)  # noqa: S311 - chooses samples, keeps no secret

    def beat(self) -> tuple[float, tuple[Spent, ...]]:
        """Return the CPU of the whole process and what each session costs."""
        accounts = [*self._accounts.values()]
        self._settle_memory([self.nobody, *accounts])
        now, process = self._readings.now(), self._readings.process()
        rest = process - self._gone - sum(account.cpu + account.threads for account in accounts)
        for account in accounts:
            account.shared += (rest - self._rest) / len(accounts)
        self._rest = rest
        spent = tuple(
            Spent(job_id=each.session, cpu=each.average.share(now, each.total), memory=max(0, each.memory))
            for each in accounts
        )
        return self._process.share(now, process), spent

    def resident(self) -> int:
        """Return the resident memory of the process, in bytes."""
        return self._readings.resident()

    def stop(self) -> None:
        """Leave callbacks alone."""
        if self._undo is not None:
            self._undo()
            self._undo = None

    def _settle_memory(self, accounts: list[Account]) -> None:
        # Callbacks are short and many, so memory is read around few of them. What was gained between goes to the
        # sessions in proportion to what was seen of theirs.
        for account in accounts:
            rate = max(0, account.gained) / account.probed if account.probed else 0.0
            account.weight = _FADING * account.weight + (1 - _FADING) * rate * (account.cpu - account.seen)
            account.gained = account.probed = 0
            account.seen = account.cpu
        total = sum(account.weight for account in accounts)
        if total > 0 and self._unassigned:
            for account in accounts:
                account.memory += int(self._unassigned * account.weight / total)
            self._unassigned = 0


class ScopedExecutor(ThreadPoolExecutor):
    """The loop's threads. What a session hands to them runs as that session's, and is counted as its own."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(max_workers=THREADS, thread_name_prefix="shard")
        self._meter = meter

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` on a thread, in a copy of the context that hands it over."""
        context = copy_context()
        account = self._meter.account(context.get(SCOPE))
        return super().submit(self._meter.run_in_thread, account, lambda: context.run(fn, *args, **kwargs))
