"""Which sessions the observer listens to. No I/O, no clock."""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Final

import msgspec

LINGER: Final = 10.0


class When(StrEnum):
    """When a session is listened to."""

    NEVER = "never"
    WATCHED = "watched"
    SAMPLED = "sampled"
    ALWAYS = "always"


class ObservePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When sessions are listened to.

    :param share: of all sessions that ``sampled`` listens to, beside those watched, between 0 and 1.
    :param linger: seconds a session is still listened to when nobody watches it any more.
    :param limit: sessions at once; those watched come first.
    :param content: whether what is said, and what tools are told and answer, goes into the log; if not, only
        that it was, when, and how long it took.
    """

    when: When = When.WATCHED
    share: float = 0.1
    linger: float = LINGER
    limit: int = 200
    content: bool = True


class Attendance:
    """Who watches what, and so which sessions are wanted."""

    def __init__(self, policy: ObservePolicy) -> None:
        self._policy = policy
        self._watchers: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def watch(self, job_id: str) -> None:
        """Somebody looks at a session from now on."""
        self._watchers[job_id] = self._watchers.get(job_id, 0) + 1
        self._until.pop(job_id, None)

    def unwatch(self, job_id: str, now: float) -> None:
        """Somebody looks away."""
        left = self._watchers.get(job_id, 0) - 1
        if left > 0:
            self._watchers[job_id] = left
        elif self._watchers.pop(job_id, None) is not None:
            self._until[job_id] = now + self._policy.linger

    def reason(self, job_id: str, now: float) -> str:
        """Return why a session is listened to: ``watched``, ``sampled``, ``always``; empty when it is not."""
        when = self._policy.when
        if when is When.NEVER:
            return ""
        if job_id in self._watchers or self._until.get(job_id, now) > now:
            return When.WATCHED
        if when is When.ALWAYS:
            return When.ALWAYS
        # The same sessions in every process and after every restart.
        sampled = when is When.SAMPLED and zlib.crc32(job_id.encode()) < self._policy.share * 2**32
        return When.SAMPLED if sampled else ""

    def choose(self, job_ids: list[str], now: float) -> dict[str, str]:
        """Return which of the sessions are wanted, and why; never more than the limit."""
        for job_id in [each for each, until in self._until.items() if until <= now]:
            del self._until[job_id]
        wanted = {job_id: reason for job_id in job_ids if (reason := self.reason(job_id, now))}
        first = sorted(wanted, key=lambda job_id: wanted[job_id] != When.WATCHED)
        return {job_id: wanted[job_id] for job_id in first[: self._policy.limit]}

    def next_change(self) -> float | None:
        """Return when a session is no longer wanted by the mere passing of time."""
        return min(self._until.values(), default=None)

    def forget(self, job_id: str) -> None:
        """The session is over."""
        self._watchers.pop(job_id, None)
        self._until.pop(job_id, None)
