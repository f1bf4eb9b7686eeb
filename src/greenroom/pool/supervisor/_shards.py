"""The processes that a pool's nurseries fork, by number: forked, ready, retired, dead."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from greenroom.pool._model import Placement
from greenroom.pool._wire import Beat, Forked, FromShard, Ready, Reaped, Retire, Role, encode, from_shard
from greenroom.pool.admission import ShardKind, ShardState, ShardView
from greenroom.pool.supervisor._nursery import Forks, Nursery, how_it_ended
from greenroom.pool.supervisor._output import Output, read_line
from greenroom.pool.supervisor._process import Ends, Process

if TYPE_CHECKING:
    import msgspec

_log = logging.getLogger("greenroom.pool")

#: How long a tenant's own shard waits for the tenant's next call.
IDLE_TENANT: Final = 60.0


@dataclass(eq=False, kw_only=True)
class Shard:
    """A forked process.

    :param jobs: the calls it has, and those that are on their way to it.
    :param used: whether it ever had one.
    :param limited: whether it holds as much memory as it may.
    :param doomed: why it is being killed, once that has been decided.
    """

    number: int
    generation: int
    role: Role
    kind: ShardKind
    process: Process[FromShard] = field(init=False)
    jobs: set[str] = field(default_factory=set)
    ready: bool = False
    retiring: bool = False
    unfed: bool = False
    used: bool = False
    limited: bool = False
    warned: bool = False
    where: str = ""
    doomed: str = ""
    beat: Beat | None = None
    idle_since: float = 0.0

    @property
    def state(self) -> ShardState:
        """What it can do."""
        if self.retiring or self.doomed:
            return ShardState.RETIRING
        if not self.ready:
            return ShardState.STARTING
        return ShardState.STALLED if self.unfed else ShardState.READY

    def view(self) -> ShardView:
        """Return it as placement sees it."""
        return ShardView(
            number=self.number,
            kind=self.kind,
            generation=self.generation,
            state=self.state,
            sessions=len(self.jobs),
            used=self.used,
            lag=self.beat.lag if self.beat else 0.0,
            limited=self.limited,
        )

    def send(self, message: msgspec.Struct) -> None:
        """Tell it something."""
        self.process.send(encode(message))  # type: ignore[arg-type]

    def retire(self) -> None:
        """Let it end once its last call has. Idempotent."""
        if not self.retiring:
            self.retiring = True
            self.send(Retire())


class Listener(Protocol):
    """Who is told what forked processes say and how they end."""

    def shard_said(self, shard: Shard, message: FromShard) -> None:
        """A process said something other than that it is ready."""

    def shard_ready(self, shard: Shard, message: Ready) -> None:
        """A process is ready."""

    def shard_gone(self, shard: Shard, why: str) -> None:
        """A process is gone."""

    def nursery_ended(self, nursery: Nursery) -> None:
        """A nursery died."""


class Shards(Forks):
    """Every forked process that lives."""

    def __init__(self, listener: Listener, on_output: Callable[[Output], None], clock: Callable[[], float]) -> None:
        self._listener = listener
        self._on_output = on_output
        self._clock = clock
        self._by_number: dict[int, Shard] = {}
        #: Shards that died or were killed, rather than retired.
        self.lost = 0
        self._last = 0

    def all(self) -> list[Shard]:
        """Return every process that lives."""
        return list(self._by_number.values())

    def get(self, number: int) -> Shard | None:
        """Return a process that lives."""
        return self._by_number.get(number)

    def sessions(self, generation: int | None = None) -> list[Shard]:
        """Return the shards, of one generation or all: what runs calls."""
        return [
            shard
            for shard in self._by_number.values()
            if shard.role is Role.SHARD and generation in {None, shard.generation}
        ]

    def views(self, generation: int, *, besides: int | None = None) -> list[ShardView]:
        """Return a generation's shards as placement sees them, without the one numbered ``besides``."""
        return [shard.view() for shard in self.sessions(generation) if shard.number != besides]

    def fork(self, nursery: Nursery, role: Role, kind: ShardKind | None = None) -> Shard:
        """Fork a process. It can be told things at once; it reads them when it is there."""
        self._last += 1
        shard = Shard(
            number=self._last,
            generation=nursery.generation,
            role=role,
            kind=kind or ShardKind(),
            idle_since=self._clock(),
        )
        ends = Ends()
        shard.process = Process(
            ends,
            from_shard,
            on_message=lambda message: self._received(shard, message),
            on_line=lambda line: self._on_output(read_line(line, shard=shard.number, generation=shard.generation)),
            on_end=lambda: self._ended(shard),
        )
        self._by_number[shard.number] = shard
        nursery.fork(role, shard.number, ends)
        return shard

    def forked(self, message: Forked) -> None:
        """See :class:`Forks`."""
        shard = self._by_number.get(message.number)
        if shard is None:
            return
        if message.problem:
            shard.doomed = message.problem
            shard.process.ended()
        else:
            shard.process.started(message.pid)

    def reaped(self, message: Reaped) -> None:
        """See :class:`Forks`."""
        shard = self._by_number.get(message.number)
        if shard is None:
            # Its calls have gone on elsewhere by now: nobody waits for how it ended, but it is worth a line.
            if message.status:
                extra = {"shard": message.number, "pid": message.pid, "how": how_it_ended(message.status).strip(" ()")}
                _log.info("how a process of the pool ended", extra=extra)
            return
        shard.process.status = message.status
        shard.process.ended()

    def nursery_ended(self, nursery: Nursery) -> None:
        """See :class:`Forks`."""
        self._listener.nursery_ended(nursery)

    def release(self, shard_number: int, job_id: str) -> None:
        """A call has left its shard; one that was for that call, or is for nobody any more, retires."""
        shard = self._by_number.get(shard_number)
        if shard is None:
            return
        shard.jobs.discard(job_id)
        if shard.jobs:
            return
        shard.idle_since = self._clock()
        if shard.kind.placement is Placement.DEDICATED and shard.used:
            shard.retire()

    def retire_idle_tenants(self) -> None:
        """Let tenants' own shards go that have had nothing to do for a while."""
        now = self._clock()
        for shard in self.sessions():
            idle = not shard.jobs and now - shard.idle_since >= IDLE_TENANT
            if idle and shard.kind.placement is Placement.TENANT:
                shard.retire()

    def _received(self, shard: Shard, message: FromShard) -> None:
        if isinstance(message, Ready):
            if message.problem:
                shard.doomed = message.problem
                shard.process.kill()
            else:
                shard.ready = True
                self._listener.shard_ready(shard, message)
        else:
            self._listener.shard_said(shard, message)

    def _ended(self, shard: Shard) -> None:
        # Everything it has said has been heard by now; how it ended may come later, from the nursery.
        self._by_number.pop(shard.number, None)
        # Its parent is the nursery. If that is gone, and this process is a container's first, it is ours to take.
        if shard.process.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(shard.process.pid, os.WNOHANG)
        if shard.role is Role.SHARD and (shard.doomed or shard.jobs or not shard.retiring):
            self.lost += 1
        self._listener.shard_gone(shard, shard.doomed or f"its process ended{how_it_ended(shard.process.status)}")
