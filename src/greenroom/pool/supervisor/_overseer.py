"""Follows what forked processes say and how they end: signs of life, stalls, memory, and whose turn it is to answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from greenroom.pool._settings import WatchdogSettings
from greenroom.pool._wire import (
    Answer,
    Beat,
    Checkpoint,
    DrainAsked,
    Ended,
    Fact,
    FromShard,
    Infer,
    Inferred,
    Ready,
    Role,
    Routed,
    Stalled,
    Started,
    TenantFound,
)
from greenroom.pool.admission import Kill, Resume, Say, StopPlacing, Watchdog
from greenroom.pool.supervisor._parts import Parts
from greenroom.pool.supervisor._runs import Runs
from greenroom.pool.supervisor._shards import Shard

_log = logging.getLogger("greenroom.pool")

_Effect: TypeAlias = Say | StopPlacing | Resume | Kill


class Overseer:
    """Passes on what processes say to who has to know it.

    :param memory: returns how many bytes of a shard are worth a warning, and how many are too many; 0 is never.
    :param on_drain: called when a program asks for it.
    """

    def __init__(
        self,
        settings: WatchdogSettings,
        parts: Parts,
        *,
        runs: Runs,
        memory: Callable[[], tuple[float, float]],
        on_change: Callable[[], None],
        on_drain: Callable[[], None],
    ) -> None:
        self._watchdog = Watchdog(settings)
        self._shards = parts.shards
        self._generations = parts.generations
        self._runs = runs
        self._clock = parts.clock
        self._memory = memory
        self._on_change = on_change
        self._on_drain = on_drain

    def apply(self, settings: WatchdogSettings) -> None:
        """Take other limits. From when on a stall is told, shards know since they were started."""
        self._watchdog.apply(settings)

    def ready(self, shard: Shard, message: Ready) -> None:
        """A process is ready."""
        if shard.role is Role.SHARD:
            self._watchdog.started(shard.number, self._clock())
        self._generations.ready(shard, message)
        self._on_change()

    def said(self, shard: Shard, message: FromShard) -> None:
        """A process says something else."""
        match message:
            case Beat():
                self._beat(shard, message)
            case Stalled():
                self._act(self._watchdog.stalled(shard.number, message, self._clock()))
            case Started() | Fact() | Checkpoint() | Ended():
                self._runs.said(shard, message)
            case Answer() | Routed() | TenantFound():
                generation = self._generations.get(shard.generation)
                if generation is not None and generation.advice.process is shard:
                    generation.advice.answered(message)
            case Infer():
                self._generations.infer(shard, message)
            case Inferred():
                self._generations.inferred(message)
            case DrainAsked():
                self._on_drain()

    def gone(self, shard: Shard, why: str, *, stopping: bool) -> None:
        """A process is gone: its calls go on elsewhere, and another takes its place."""
        culprit = self._watchdog.culprit(shard.number)
        self._watchdog.gone(shard.number)
        expected = stopping or (shard.retiring and not shard.jobs)
        extra = {"shard": shard.number, "role": str(shard.role), "why": why, "sessions": len(shard.jobs)}
        _log.log(logging.DEBUG if expected else logging.ERROR, "a process of the pool has ended", extra=extra)
        self._generations.gone(shard, why)
        if shard.role is Role.SHARD:
            self._runs.shard_gone(shard, why, culprit)
        self._on_change()

    def tick(self) -> None:
        """Look at all shards; call it at least twice a second."""
        self._act(self._watchdog.tick(self._clock()))

    def _beat(self, shard: Shard, beat: Beat) -> None:
        if shard.beat is None and shard.role is Role.ADVISOR:
            self._watchdog.started(shard.number, self._clock())
        shard.beat = beat
        self._act(self._watchdog.beat(shard.number, self._clock()))
        self._runs.spent(beat)
        if shard.role is Role.SHARD:
            self._weigh(shard, beat.pss or beat.rss)

    def _weigh(self, shard: Shard, held: int) -> None:
        warn, limit = self._memory()
        if warn and held >= warn and not shard.warned:
            shard.warned = True
            _log.warning("a shard holds much memory", extra={"shard": shard.number, "bytes": held})
        elif held < warn:
            shard.warned = False
        # One that never had a call is as small as they get: another in its place would be no smaller.
        if limit and held >= limit and shard.used and not shard.retiring:
            shard.limited = True
            extra = {"shard": shard.number, "bytes": held, "limit": limit, "sessions": len(shard.jobs)}
            _log.warning("a shard holds as much memory as it may, new calls go elsewhere", extra=extra)
            shard.retire()
            generation = self._generations.get(shard.generation)
            if generation is not None and generation.staffed:
                self._generations.staff(generation)

    def _act(self, effects: Sequence[_Effect]) -> None:
        for effect in effects:
            shard = self._shards.get(effect.number)
            if shard is None:
                continue
            match effect:
                case Say():
                    _say(shard, effect)
                case StopPlacing():
                    shard.unfed = True
                    extra = {"shard": shard.number, "pid": shard.process.pid, "sessions": len(shard.jobs)}
                    _log.warning("a shard gives no sign of life, it gets no new calls", extra=extra)
                    if not shard.where:
                        # Not even its watching thread gets to run: native code holds the interpreter.
                        shard.process.dump_stacks()
                case Resume():
                    shard.unfed = False
                case Kill(seconds=seconds):
                    shard.doomed = f"its loop did not turn for {seconds:.0f} s"
                    _log.error("a shard is killed", extra={"shard": shard.number, "why": shard.doomed})
                    shard.process.kill()
            self._on_change()


def _say(shard: Shard, said: Say) -> None:
    shard.where = "" if said.over else said.where
    extra: dict[str, object] = {"shard": shard.number, "seconds": round(said.seconds, 2)}
    extra |= {name: value for name, value in (("where", said.where), ("job_id", said.job_id)) if value}
    if said.over:
        _log.warning("a shard's event loop turns again", extra=extra)
    else:
        _log.warning("a shard's event loop is blocked", extra={**extra, "stack": said.stack})
