"""Which calls of a dead shard go on elsewhere, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Fate(StrEnum):
    """What becomes of a call whose shard died."""

    RELAUNCH = "relaunch"
    """It goes on in any shard that it may be placed on."""
    ALONE = "alone"
    """It goes on in a shard of its own: it may be what the other died of."""
    GIVE_UP = "give_up"


class Rescue(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of one call. ``count`` is how many rescues it has had lately, with this one."""

    job_id: str
    fate: Fate
    count: int
    why: str = ""


class _Record(msgspec.Struct):
    count: int
    alone: bool
    at: float


class RescueBudget:
    """Decides how often a call survives its shard.

    The first time it goes on anywhere. A call that loses a second shard, or whose code was seen to hold up the one
    that was killed, goes on alone, so that it takes nobody with it. One that then ends its own shard is given up.

    :param most: rescues of one call.
    :param forgiven: seconds without a rescue after which a call is as good as new.
    """

    def __init__(self, *, most: int = 2, forgiven: float = 600.0) -> None:
        self._most = most
        self._forgiven = forgiven
        self._records: dict[str, _Record] = {}

    def plan(self, jobs: Iterable[str], now: float, *, culprit: str = "") -> tuple[Rescue, ...]:
        """Return what becomes of the calls of a shard that died.

        :param culprit: the call whose code held it up, where known.
        """
        return tuple(self._fate(job_id, now, blamed=job_id == culprit) for job_id in jobs)

    def forget(self, job_id: str) -> None:
        """Forget a call, which ended."""
        self._records.pop(job_id, None)

    def _fate(self, job_id: str, now: float, *, blamed: bool) -> Rescue:
        record = self._records.pop(job_id, None)
        if record is None or now - record.at >= self._forgiven:
            record = _Record(0, alone=False, at=now)
        count = record.count
        if record.alone:
            return _give_up(job_id, count, "it was alone in its shard, and that died too")
        if count >= self._most:
            return _give_up(job_id, count, f"it was rescued {count} times before")
        alone = blamed or count > 0
        self._records[job_id] = _Record(count + 1, alone=alone, at=now)
        if not alone:
            return Rescue(job_id=job_id, fate=Fate.RELAUNCH, count=1)
        why = "its code held up the shard" if blamed else "it lost a shard before"
        return Rescue(job_id=job_id, fate=Fate.ALONE, count=count + 1, why=why)


def _give_up(job_id: str, count: int, why: str) -> Rescue:
    return Rescue(job_id=job_id, fate=Fate.GIVE_UP, count=count, why=why)
