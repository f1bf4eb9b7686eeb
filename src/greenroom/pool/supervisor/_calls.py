"""The calls that run: each knows with what it was launched, so that it can be launched again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from greenroom.pool._model import EndKind, Memo
from greenroom.pool._settings import TenantSettings
from greenroom.pool._wire import Launch
from greenroom.pool.admission import PolicyWatch
from greenroom.reports import SessionReport

STARTING: Final = "starting"
#: Stands for every tenant beyond those that are counted one by one; no tenant can be called so.
OTHERS: Final = "(others)"
_MOST_COUNTED: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A call without a shard: since when, how it would go on, and what is done once it does."""

    since: float
    launch: Launch
    alone: bool
    then: Callable[[], None]


@dataclass(eq=False, kw_only=True)
class Call:
    """One session, over all the shards that it has been in.

    :param launch: as it was first; a later one differs by its token and memo.
    :param link: the registration that it came over.
    :param began_at: on the clock of decisions.
    :param ending: what it was told to end of, and why.
    :param relaunched_at: when it last went over to another shard.
    :param doubted_at: when LiveKit ended its job although it may go on.
    :param waits: for a shard to go on in, when there is none.
    :param moving: whether it was told to go over to newer code.
    :param handed_over: whether another worker goes on with it.
    """

    launch: Launch
    room: str
    link: int
    shard: int
    generation: int
    fingerprint: str
    tenant: TenantSettings
    watch: PolicyWatch
    began_at: float
    started_at: float
    state: str = STARTING
    memo: Memo | None = None
    rescues: int = 0
    launches: int = 1
    ending: tuple[EndKind, str] | None = None
    waits: Waiting | None = None
    moving: bool = False
    handed_over: bool = False
    cpu: float | None = None
    memory: int | None = None
    relaunched_at: float | None = None
    doubted_at: float | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.launch.job_id

    def report(self) -> SessionReport:
        """Return what the pool tells of it."""
        return SessionReport(
            job_id=self.id,
            room=self.room,
            agent=self.launch.agent,
            tenant=self.launch.tenant,
            shard=self.shard,
            started_at=self.started_at,
            state=self.state,
            cpu=self.cpu,
            memory=self.memory,
            rescues=self.rescues,
        )


@dataclass(eq=False)
class Calls:
    """Every call that runs, and how those ended that do not any more."""

    running: dict[str, Call] = field(default_factory=dict)
    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    by_agent: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rescued: int = 0
    seconds: float = 0.0

    def add(self, call: Call) -> None:
        """A call begins."""
        self.running[call.id] = call
        self.started += 1

    def end(self, call: Call, kind: EndKind, now: float) -> None:
        """A call is over."""
        del self.running[call.id]
        self.count(call, kind)
        self.seconds += now - call.began_at

    def count(self, call: Call, kind: EndKind) -> None:
        """Count an end, of a call or of its stay in one shard."""
        self.ended[kind] += 1
        key = (call.launch.agent, call.launch.tenant, str(kind))
        # Who dispatches names tenants: there may be no end of them.
        known = key in self.by_agent or len(self.by_agent) < _MOST_COUNTED
        self.by_agent[key if known else (call.launch.agent, OTHERS, str(kind))] += 1

    def of_link(self, link: int) -> list[Call]:
        """Return the calls that came over a registration."""
        return [call for call in self.running.values() if call.link == link]

    def of_generation(self, generation: int) -> list[Call]:
        """Return the calls that run on a generation's code."""
        return [call for call in self.running.values() if call.generation == generation]


def again(call: Call, *, token: str) -> Launch:
    """Return with what a call goes on: everything as it was, and what is remembered of it."""
    return msgspec.structs.replace(call.launch, token=token, memo=call.memo)
