"""The fleet, live: the projection follows the log and tells when something has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Self

import msgspec

from greenroom.eventlog import EventLog, Record
from greenroom.fleet._calls import Pricing
from greenroom.fleet._health import Outside
from greenroom.fleet._index import Entry, Index
from greenroom.fleet._shapes import FleetHealth, FleetView
from greenroom.fleet._state import FleetState
from greenroom.fleet._step import TYPES, WORKERS, take
from greenroom.fleet._view import Look, look, prune, unpriced

_log = logging.getLogger(__name__)

PRUNE_EVERY: Final = 300.0
#: Changes within so many seconds are told together; the first of them at once.
TOGETHER: Final = 0.1
#: Time changes the view, too: offline agents go, calls have waited long enough to be told of.
TICK: Final = 5.0
_PAGE: Final = 500
_NAMED: Final = 500


class FleetChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What is another now; ask for the fleet to know how.

    :param calls: the ids of sessions whose agent or task has changed, appeared or gone; the first 500.
    :param workers: whether workers, or what waits for one, have changed.
    :param more: whether more calls have changed than are named.
    :param position: of the log.
    """

    calls: tuple[str, ...] = ()
    workers: bool = False
    more: bool = False
    position: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is another now, for who has to know exactly.

    :param look: as it is, until the event loop goes on.
    :param before: the calls that have changed, as they were; ``None``: they were not.
    """

    look: Look
    before: dict[str, Entry | None]
    workers: bool
    position: int

    def announcement(self) -> FleetChanged:
        """Return it as clients are told."""
        calls = sorted(self.before)
        return FleetChanged(
            calls=tuple(calls[:_NAMED]), workers=self.workers, more=len(calls) > _NAMED, position=self.position
        )


class Fleet:
    """The fleet of one log. Belongs to the event loop; start with :meth:`start`, close with :meth:`aclose`.

    :param pricing: what usage costs in US dollars.
    :param outside: what the log does not tell of itself.
    :param clock: seconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        pricing: Pricing | None = None,
        outside: Callable[[], Outside] = Outside,
        clock: Callable[[], float] = time.time,
        together: float = TOGETHER,
    ) -> None:
        self.clock = clock
        self._events = log
        self._pricing = pricing or unpriced
        self._outside = outside
        self._together = together
        self._state = FleetState(calls={}, rooms={})
        self._index = Index(self._pricing)
        self._position = 0
        self._changed_calls: set[str] = set()
        self._changed_rooms: set[str] = set()
        # What was known, of calls that have changed since it was told.
        self._before: dict[str, Entry | None] = {}
        self._workers_changed = False
        self._health: FleetHealth | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[Changes], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._caught_up = asyncio.Event()
        self._moved = asyncio.Event()
        self._head = 0

    async def start(self) -> None:
        """Begin to read the log; :meth:`ready` returns when all of it has been read."""
        self._head = await self._events.head()
        self._tasks = [
            asyncio.create_task(self._follow(), name="fleet"),
            asyncio.create_task(self._keep(), name="fleet upkeep"),
        ]

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._caught_up.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def position(self) -> int:
        """The position of the log up to which the fleet is told."""
        return self._position

    @property
    def healthy(self) -> bool:
        """Whether the log is still followed."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def state(self) -> FleetState:
        """A copy of the projection."""
        state = self._state
        return msgspec.structs.replace(state, calls=dict(state.calls), rooms=dict(state.rooms))

    def entry(self, session: str) -> Entry | None:
        """Return a call."""
        return self._index.entry(session)

    def is_redacted(self, session: str) -> bool:
        """Tell whether nothing of a session may be named."""
        call = self._state.calls.get(session)
        return call is not None and call.redacted

    async def ready(self) -> None:
        """Return when everything is told that was in the log at the start."""
        await self._caught_up.wait()

    async def reached(self, position: int) -> None:
        """Wait until the fleet is told up to a position of the log at which something concerned it."""
        while self._position < position:
            await self._moved.wait()

    def listen(self, listener: Callable[[Changes], None]) -> Callable[[], None]:
        """Call ``listener`` when something has changed; what changes at once is told together.

        Returns the way to stop.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def look(self) -> Look:
        """Return what there is to see now; to be used before anything else happens in the loop."""
        self._settle()
        return look(self._state, self._index, self.clock(), self._outside_now())

    def view(self) -> FleetView:
        """Return the fleet now."""
        return self.look().view(self._position)

    def json(self) -> bytes:
        """Return the fleet now, as JSON."""
        return self.look().json(self._position)

    def _outside_now(self) -> Outside:
        outside = self._outside()
        broken = outside.broken if self.healthy else (*outside.broken, "the fleet")
        return msgspec.structs.replace(outside, broken=broken)

    def _settle(self) -> None:
        if self._changed_calls or self._changed_rooms:
            renewed = self._index.update(self._state, self._changed_calls, self._changed_rooms)
            self._before = {**renewed, **self._before}
            self._changed_calls.clear()
            self._changed_rooms.clear()

    # Following

    async def _follow(self) -> None:
        try:
            await self._catch_up()
            async for record in self._events.follow(self._position, types=TYPES):
                self._take(record)
                self._tell_soon()
        except Exception:
            # Whoever looks is told that this stands still; without this nobody would know why.
            _log.exception("the fleet could not be projected", extra={"position": self._position})
            raise

    async def _catch_up(self) -> None:
        while self._position < self._head:
            records = await self._events.read(self._position, limit=_PAGE, types=TYPES)
            for record in records:
                self._take(record)
            if len(records) < _PAGE:
                break
            if self._position % (20 * _PAGE) < _PAGE:
                self._prune()
        self._prune()
        self._settle()
        self._before.clear()
        self._workers_changed = False
        self._caught_up.set()

    def _take(self, record: Record) -> None:
        self._state = take(self._state, record)
        kind, _, name = record.stream.partition(":")
        if kind == "session":
            self._changed_calls.add(name)
        elif kind == "room":
            self._changed_rooms.add(name)
        elif record.stream == WORKERS:
            self._workers_changed = True
        self._position = record.position
        self._moved, moved = asyncio.Event(), self._moved
        moved.set()

    async def _keep(self) -> None:
        await self._caught_up.wait()
        pruned = self.clock()
        while True:
            await asyncio.sleep(TICK)
            if abs(self.clock() - pruned) >= PRUNE_EVERY:
                self._prune()
                pruned = self.clock()
            if self.look().health != self._health:
                self._say()

    def _prune(self) -> None:
        before = self._state.calls
        self._state = prune(self._state, self.clock())
        self._changed_calls |= before.keys() - self._state.calls.keys()

    # Telling

    def machines_moved(self) -> None:
        """What is outside the log says something else of machines."""
        if self._caught_up.is_set():
            self._workers_changed = True
            self._tell_soon()

    def flush(self) -> None:
        """Tell now what has changed, if anything has."""
        self._settle()
        if self._before or self._workers_changed:
            self._say()

    def _say(self) -> None:
        found = self.look()
        changes = Changes(look=found, before=self._before, workers=self._workers_changed, position=self._position)
        self._before, self._workers_changed, self._health = {}, False, found.health
        for listener in list(self._listeners):
            listener(changes)

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._tell()

    def _tell(self) -> None:
        self._timer = None
        self._settle()
        if self._before or self._workers_changed:
            self._say()
            self._timer = asyncio.get_running_loop().call_later(self._together, self._tell)
