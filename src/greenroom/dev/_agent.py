"""The life of one supervised agent: what to do when it is saved, registers, crashes or stays silent.

Pure decisions: every method takes ``now`` in seconds and returns effects. A *run* is one process of the
agent, named by a number that grows. While a new run starts, the one before it keeps taking calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

PROGRESS: Final = (3.0, 6.0, 10.0, 20.0, 40.0)
_HINT_AFTER: Final = 20.0
_BACKOFF_FIRST: Final = 1.0
_BACKOFF_MOST: Final = 30.0
_STABLE_AFTER: Final = 60.0


class Status(StrEnum):
    """Where an agent is."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting for the next save"
    BACKOFF = "waiting to be restarted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process."""

    run: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """End a process: gracefully, then by force. ``successor`` is the run that takes over its jobs."""

    run: int
    successor: int | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the person one line."""

    level: int
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = Spawn | Terminate | Say


class Agent:
    """One agent's state.

    :param reload: whether a save can mend what is broken. Without it a broken agent has failed for good.
    """

    def __init__(self, name: str, *, reload: bool = True, agent_name: str | None = None) -> None:
        self.name = name
        self.reload = reload
        self.agent_name = agent_name
        self.status = Status.STOPPED
        self.detail = ""
        self.failed = False
        self._serving: int | None = None
        self._starting: int | None = None
        self._last_run = 0
        self._started_at = 0.0
        self._registered_at = 0.0
        self._reported = 0
        self._proven = False
        self._crashes = 0
        self._retry_at: float | None = None

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs that should be alive."""
        return tuple(run for run in (self._serving, self._starting) if run is not None)

    @property
    def next_wakeup(self) -> float | None:
        """When :meth:`tick` is due, in the time of ``now``."""
        if self._retry_at is not None:
            return self._retry_at
        if self._starting is not None and self._reported < len(PROGRESS):
            return self._started_at + PROGRESS[self._reported]
        return None

    def start(self, now: float, problem: str = "") -> Iterator[Effect]:
        """Begin, unless the file cannot be started."""
        if problem:
            yield from self._broken(problem)
        else:
            yield Say(logging.INFO, f"starting {self.name}…")
            yield from self._spawn(now)

    def saved(self, now: float, problem: str = "") -> Iterator[Effect]:
        """One of the agent's files was saved."""
        self._crashes = 0
        if problem:
            yield from self._broken(problem)
            return
        self._proven = False
        yield Say(logging.INFO, f"saved, restarting {self.name}…")
        if self._starting is not None:
            yield Terminate(self._starting)
        yield from self._spawn(now)

    def registered(self, run: int, agent_name: str | None, now: float) -> Iterator[Effect]:
        """A run's worker was registered by the server."""
        if run not in self.runs:
            return
        if agent_name is not None:
            self.agent_name = agent_name
        called = f"agent {self.agent_name}" if self.agent_name else "agent for every room"
        if run == self._serving:
            yield Say(logging.INFO, f"{called} registered again")
            return
        if self._serving is not None:
            yield Terminate(self._serving, successor=run)
        self._serving, self._starting = run, None
        self._registered_at = now
        self._proven = True
        self.status, self.detail, self.failed = Status.READY, "", False
        yield Say(logging.INFO, f"{called} registered in {now - self._started_at:.1f} s")

    def exited(self, run: int, reason: str, now: float) -> Iterator[Effect]:
        """A run's process ended. ``reason`` says how, for a person."""
        if run == self._starting:
            self._starting = None
            if self._serving is not None:
                self.status = Status.READY
                yield Say(logging.ERROR, f"{reason}; the version before it keeps running, save again to retry")
            elif self._proven:
                yield from self._back_off(reason, now)
            else:
                yield from self._broken(reason)
        elif run == self._serving:
            self._serving = None
            if now - self._registered_at >= _STABLE_AFTER:
                self._crashes = 0
            if self._starting is not None:
                yield Say(logging.ERROR, reason)
            else:
                yield from self._back_off(reason, now)

    def tick(self, now: float) -> Iterator[Effect]:
        """Do what is due at ``now``."""
        if self._retry_at is not None:
            if now >= self._retry_at:
                yield from self._spawn(now)
            return
        while self._starting is not None and self._reported < len(PROGRESS):
            due = PROGRESS[self._reported]
            if now < self._started_at + due:
                return
            self._reported += 1
            hint = "; its log says why it does not reach the server" if due >= _HINT_AFTER else ""
            yield Say(logging.INFO, f"starting {self.name}… {due:.0f} s{hint}")

    def stop(self) -> Iterator[Effect]:
        """End every run, for good."""
        runs, self._serving, self._starting, self._retry_at = self.runs, None, None, None
        self.status = Status.STOPPED
        for run in runs:
            yield Terminate(run)

    def _spawn(self, now: float) -> Iterator[Effect]:
        self._last_run += 1
        self._starting = self._last_run
        self._started_at, self._reported, self._retry_at = now, 0, None
        if self._serving is None:
            self.status, self.detail = Status.STARTING, f"starting {self.name}"
        yield Spawn(self._last_run)

    def _broken(self, problem: str) -> Iterator[Effect]:
        self._retry_at = None
        if self._serving is not None or self._starting is not None:
            yield Say(logging.ERROR, f"{problem}; the version before it keeps running, save again to retry")
            return
        self.status, self.detail, self.failed = Status.WAITING, problem, True
        yield Say(logging.ERROR, f"{problem}; save the file to try again" if self.reload else problem)

    def _back_off(self, reason: str, now: float) -> Iterator[Effect]:
        delay = min(_BACKOFF_FIRST * 2**self._crashes, _BACKOFF_MOST)
        self._crashes += 1
        self._retry_at = now + delay
        self.status, self.detail = Status.BACKOFF, reason
        yield Say(logging.ERROR, f"{reason}; restarting in {delay:.0f} s")
