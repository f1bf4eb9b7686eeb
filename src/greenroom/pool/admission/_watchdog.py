"""What is done about a shard whose event loop does not turn: told, not fed, killed."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from greenroom.pool._settings import WatchdogSettings
from greenroom.pool._wire import Stalled

#: More than so many seconds between two looks is time in which this process itself did not run.
_STEP: Final = 1.0


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """Tell of a stall: for how long, where, whose code. ``over`` says that it has passed."""

    number: int
    seconds: float
    where: str = ""
    stack: str = ""
    job_id: str = ""
    over: bool = False


class StopPlacing(msgspec.Struct, frozen=True, kw_only=True):
    """Give the shard no new calls."""

    number: int


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """The shard turns again: give it calls."""

    number: int


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """Kill the shard; its calls go on elsewhere. ``job_id`` is the call whose code held it up, where known."""

    number: int
    seconds: float
    where: str = ""
    job_id: str = ""


Effect: TypeAlias = Say | StopPlacing | Resume | Kill


class _Watched(msgspec.Struct):
    alive_at: float
    stalled_at: float | None = None
    long: bool = False
    where: str = ""
    stack: str = ""
    job_id: str = ""
    told: bool = False
    unfed: bool = False
    killed: bool = False


class Watchdog:
    """Watches the shards of a pool.

    Time counts only while this process runs: of a longer pause between two looks (the machine was suspended, or had
    no CPU for us) one second counts, so nobody is killed for what the whole machine did. Call :meth:`tick` at least
    each half second.

    :param beat: seconds between two signs of life of a healthy shard.
    """

    def __init__(self, settings: WatchdogSettings, *, beat: float = 0.5) -> None:
        self._settings = settings
        self._beat = beat
        self._shards: dict[int, _Watched] = {}
        self._now: float | None = None
        self._watched = 0.0

    def apply(self, settings: WatchdogSettings) -> None:
        """Take other limits."""
        self._settings = settings

    def started(self, number: int, now: float) -> None:
        """Watch a shard from now on: it is ready."""
        self._shards[number] = _Watched(alive_at=self._advance(now))

    def gone(self, number: int) -> None:
        """Watch a shard no more."""
        self._shards.pop(number, None)

    def beat(self, number: int, now: float) -> tuple[Effect, ...]:
        """Take a sign of life."""
        at = self._advance(now)
        shard = self._shards.get(number)
        return () if shard is None or shard.killed else self._alive(number, shard, at)

    def stalled(self, number: int, message: Stalled, now: float) -> tuple[Effect, ...]:
        """Take what a shard's other thread tells of its loop."""
        at = self._advance(now)
        shard = self._shards.get(number)
        if shard is None or shard.killed:
            return ()
        if message.over:
            return self._alive(number, shard, at)
        if shard.stalled_at is None:
            # Not before the last sign of life: its clock may have run while ours did not.
            shard.stalled_at = max(shard.alive_at, at - message.seconds)
        shard.long = message.seconds >= self._settings.stall
        shard.where, shard.stack, shard.job_id = message.line, message.stack, message.job_id
        return self._judge(number, shard, at)

    def tick(self, now: float) -> tuple[Effect, ...]:
        """Look at all shards."""
        at = self._advance(now)
        found = [self._judge(number, shard, at) for number, shard in self._shards.items() if not shard.killed]
        return tuple(effect for effects in found for effect in effects)

    def culprit(self, number: int) -> str:
        """Return the call whose code held a shard up when it was last heard of; empty when unknown."""
        shard = self._shards.get(number)
        return shard.job_id if shard is not None and shard.stalled_at is not None else ""

    def _advance(self, now: float) -> float:
        if self._now is not None:
            self._watched += min(max(0.0, now - self._now), _STEP)
        self._now = now
        return self._watched

    def _since(self, shard: _Watched) -> float:
        # A loop that beat just before it was blocked has not missed a beat yet.
        return shard.stalled_at if shard.stalled_at is not None else shard.alive_at + self._beat

    def _alive(self, number: int, shard: _Watched, at: float) -> tuple[Effect, ...]:
        effects: list[Effect] = []
        if shard.told:
            seconds = max(0.0, at - self._since(shard))
            effects.append(Say(number=number, seconds=seconds, where=shard.where, job_id=shard.job_id, over=True))
        if shard.unfed:
            effects.append(Resume(number=number))
        self._shards[number] = _Watched(alive_at=at)
        return tuple(effects)

    def _judge(self, number: int, shard: _Watched, at: float) -> tuple[Effect, ...]:
        effects: list[Effect] = []
        seconds = at - self._since(shard)
        limits = self._settings
        if not shard.told and (shard.long or seconds >= limits.unfed):
            shard.told = True
            effects.append(
                Say(number=number, seconds=seconds, where=shard.where, stack=shard.stack, job_id=shard.job_id)
            )
        if not shard.unfed and seconds >= limits.unfed:
            shard.unfed = True
            effects.append(StopPlacing(number=number))
        if seconds >= limits.kill:
            shard.killed = True
            effects.append(Kill(number=number, seconds=seconds, where=shard.where, job_id=shard.job_id))
        return tuple(effects)
