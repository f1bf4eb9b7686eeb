"""The pools of agents that report here: how each was when it was heard last, and what somebody asks of it.

Which reports mean an event, and who is lost, :class:`PoolBook` decides without a clock; :class:`Pools` writes it down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from greenroom.errors import GreenroomError
from greenroom.eventlog import EventLog, EventLogError, NewEvent
from greenroom.fleet._pool_events import (
    PoolAgentFailed,
    PoolBreaker,
    PoolControl,
    PoolDraining,
    PoolEvent,
    PoolLost,
    PoolReloaded,
    PoolRescued,
    PoolReturned,
    PoolShardLost,
    PoolStarted,
    PoolStopped,
)
from greenroom.reports import PoolCommands, PoolSnapshot

_log = logging.getLogger(__name__)

POOLS: Final = "system:pools"
#: Reports that may be missed.
MISSED: Final = 3
#: Seconds for which a pool that has stopped or is lost is still listed, and how many pools are at most.
KEPT: Final = 600.0
MOST: Final = 1_000
_SHORTEST: Final = 1.0
_LONGEST: Final = 300.0
_DRAINS: Final = frozenset({"draining", "stopped"})

Verb: TypeAlias = Literal["drain", "reload"]


class UnknownPoolError(GreenroomError):
    """No such pool has reported."""

    code = "pool_unknown"
    status = 404


class PoolGoneError(GreenroomError):
    """A pool that has stopped, or is not heard of, cannot be asked for anything."""

    code = "pool_gone"
    status = 409


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as it was when it was heard last.

    :param seen_at: when that was, seconds since 1970.
    :param lost: whether three reports are missing; then nothing of this need be true any more.
    :param asked: what was asked of it and is not known to have happened.
    """

    instance: str
    seen_at: float
    lost: bool = False
    asked: tuple[Verb, ...] = ()
    report: PoolSnapshot


class PoolBook:
    """What is known of pools. No I/O, no clock."""

    def __init__(self) -> None:
        self._pools: dict[str, PoolView] = {}

    def take(self, report: PoolSnapshot, now: float) -> tuple[PoolCommands, list[PoolEvent]]:
        """Note a report; return what the pool is asked to do, and what happened since the one before."""
        known = self._pools.get(report.instance)
        asked = known.asked if known is not None else ()
        drains = report.state in _DRAINS
        commands = PoolCommands(drain="drain" in asked and not drains, reload="reload" in asked)
        # A reload that fails is not asked for again and again. A drain is: nothing shows that it was heard but itself.
        left: tuple[Verb, ...] = ("drain",) if commands.drain else ()
        self._pools[report.instance] = PoolView(instance=report.instance, seen_at=now, asked=left, report=report)
        events = [_started(report)] if known is None else list(_happened(known, report))
        if known is None:
            events += _entered(None, report)
            self._forget_oldest()
        return commands, events

    def ask(self, instance: str, verb: Verb) -> PoolView:
        """Ask a pool for something; its next report is answered with it.

        :raises UnknownPoolError: it has never reported.
        :raises PoolGoneError: it does not report any more.
        """
        found = self.find(instance)
        if found.lost or found.report.state == "stopped":
            how = "is not heard of" if found.lost else "has stopped"
            raise PoolGoneError(f"The pool '{instance}' {how}", fix="See GET /api/pools for those that report")
        if verb not in found.asked:
            found = msgspec.structs.replace(found, asked=(*found.asked, verb))
            self._pools[instance] = found
        return found

    def find(self, instance: str) -> PoolView:
        """Return a pool. Raises :class:`UnknownPoolError`."""
        found = self._pools.get(instance)
        if found is None:
            raise UnknownPoolError(f"No pool '{instance}' has reported here", fix="See GET /api/pools")
        return found

    def expire(self, now: float) -> list[PoolEvent]:
        """Note who is not heard of any more, and forget who has not been for long."""
        events: list[PoolEvent] = []
        for instance, view in list(self._pools.items()):
            if now - view.seen_at > KEPT and (view.lost or view.report.state == "stopped"):
                del self._pools[instance]
            elif not view.lost and view.report.state != "stopped" and now >= _due(view):
                self._pools[instance] = msgspec.structs.replace(view, lost=True, asked=())
                sessions = len(view.report.sessions)
                events.append(_about(PoolLost, view.report, last_seen_at=view.seen_at, sessions=sessions))
        return events

    def next(self) -> float | None:
        """Return when :meth:`expire` has something to do; ``None`` while there are no pools."""
        moments = [
            view.seen_at + KEPT if view.lost or view.report.state == "stopped" else _due(view)
            for view in self._pools.values()
        ]
        return min(moments, default=None)

    def views(self) -> tuple[PoolView, ...]:
        """Return every pool, by machine, the latest of each first."""
        return tuple(
            sorted(self._pools.values(), key=lambda view: (view.report.machine, -view.report.started_at, view.instance))
        )

    def _forget_oldest(self) -> None:
        while len(self._pools) > MOST:
            del self._pools[min(self._pools, key=lambda name: (not self._pools[name].lost, self._pools[name].seen_at))]


class Pools:
    """The pools that report to one control plane. Belongs to the event loop.

    :param clock: seconds since 1970.
    """

    def __init__(self, log: EventLog, *, clock: Callable[[], float] = time.time) -> None:
        self._events = log
        self._clock = clock
        self._book = PoolBook()
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Begin to miss those that are silent."""
        self._task = asyncio.create_task(self._watch(), name="pools")

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each report, and when a pool is lost."""
        self._listeners.append(listener)

    @property
    def views(self) -> tuple[PoolView, ...]:
        """Every pool."""
        return self._book.views()

    def find(self, instance: str) -> PoolView:
        """Return a pool. Raises :class:`UnknownPoolError`."""
        return self._book.find(instance)

    async def take(self, report: PoolSnapshot) -> PoolCommands:
        """Note a report, and return what the pool is asked to do."""
        commands, events = self._book.take(report, self._clock())
        await self._tell(events)
        return commands

    async def ask(self, instance: str, verb: Verb, *, by: str) -> PoolView:
        """Ask a pool for something. It is in the log, with who did it, before the pool hears of it.

        :raises UnknownPoolError: it has never reported.
        :raises PoolGoneError: it does not report any more.
        :raises EventLogError: the log cannot be written; nothing is asked then.
        """
        found = self._book.find(instance)
        if not (found.lost or found.report.state == "stopped"):
            event = PoolControl(instance=instance, machine=found.report.machine, by=by, verb=verb)
            await self._events.append(POOLS, [NewEvent(event, self._clock())])
        asked = self._book.ask(instance, verb)
        self._announce()
        return asked

    async def _watch(self) -> None:
        while True:
            due = self._book.next()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock()) + 0.05):
                    await self._moved.wait()
            except TimeoutError:
                await self._tell(self._book.expire(self._clock()))
            self._moved.clear()

    async def _tell(self, events: list[PoolEvent]) -> None:
        now = self._clock()
        self._moved.set()
        if events:
            # What a pool says of itself once is there once, even when this program starts again meanwhile.
            new = [NewEvent(each, now, _key(each)) for each in events]
            try:
                await self._events.append(POOLS, new)
            except EventLogError:
                _log.error("what a pool reported could not be put into the log", extra={"events": len(new)})
        self._announce()

    def _announce(self) -> None:
        for listener in list(self._listeners):
            listener()


def _key(event: PoolEvent) -> str:
    return f"pool:{event.instance}:{type(event).__name__}" if isinstance(event, PoolStarted | PoolStopped) else ""


def _due(view: PoolView) -> float:
    return view.seen_at + MISSED * min(max(view.report.heartbeat, _SHORTEST), _LONGEST)


def _about(kind: type[PoolEvent], report: PoolSnapshot, **more: object) -> PoolEvent:
    return kind(instance=report.instance, machine=report.machine, **more)


def _started(report: PoolSnapshot) -> PoolEvent:
    return _about(
        PoolStarted,
        report,
        pid=report.pid,
        started_at=report.started_at,
        deployment=report.deployment,
        generation=report.generation,
        max_sessions=report.max_sessions,
        shards=len(report.shards),
        agents=tuple(agent.name for agent in report.agents),
        versions=report.versions,
    )


def _happened(known: PoolView, report: PoolSnapshot) -> Iterator[PoolEvent]:
    before = known.report
    if known.lost:
        yield _about(PoolReturned, report)
    if report.generation > before.generation:
        yield _about(PoolReloaded, report, generation=report.generation)
    yield from _entered(before, report)


def _entered(before: PoolSnapshot | None, report: PoolSnapshot) -> Iterator[PoolEvent]:
    """Yield what is in this report and was not in the one before."""
    lost = report.shards_lost - (before.shards_lost if before is not None else 0)
    # One that stops ends its shards, too.
    if lost > 0 and report.state != "stopped":
        pids = {shard.pid for shard in report.shards}
        gone = [shard.number for shard in before.shards if shard.pid not in pids] if before is not None else []
        yield _about(PoolShardLost, report, count=lost, shards=tuple(gone[:lost]))
    rescued = report.rescued - (before.rescued if before is not None else 0)
    if rescued > 0:
        rescues = {each.job_id: each.rescues for each in before.sessions} if before is not None else {}
        moved = [each.job_id for each in report.sessions if each.rescues > rescues.get(each.job_id, 0)]
        yield _about(PoolRescued, report, count=rescued, sessions=tuple(moved[:100]))
    failed = {(each.name, each.detail) for each in before.agents if each.state == "failed"} if before else set()
    for agent in report.agents:
        if agent.state == "failed" and (agent.name, agent.detail) not in failed:
            yield _about(PoolAgentFailed, report, agent=agent.name, source=agent.source, detail=agent.detail)
    breakers = before.breakers if before is not None else {}
    for name in sorted(breakers.keys() | report.breakers.keys()):
        state = report.breakers.get(name, "closed")
        if state != breakers.get(name, "closed"):
            yield _about(PoolBreaker, report, name=name, state=state)
    if report.state != (before.state if before is not None else ""):
        if report.state == "draining":
            yield _about(PoolDraining, report, sessions=len(report.sessions))
        elif report.state == "stopped":
            yield _about(PoolStopped, report, started=report.started, ended=report.ended, rescued=report.rescued)
