"""How the fleet is, and why it is not better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from greenroom.fleet._calls import UNNAMED
from greenroom.fleet._pools import PoolView
from greenroom.fleet._shapes import Level, Reason
from greenroom.fleet._state import WorkersPart

#: Seconds after which a silent source is a stall, and after which it is worse.
STALLED: Final = 5.0
STALLED_LONG: Final = 60.0
#: Seconds that an approval may wait, and how many may.
APPROVAL_WAITS: Final = 30.0
APPROVALS: Final = 10
#: Seconds that a call may wait for an agent.
CALL_WAITS: Final = 10.0
#: Seconds for which a worker that vanished is missed.
MISSED: Final = 600.0
#: Events that may be on their way to the projection.
BEHIND: Final = 5_000


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What the projection cannot know from the log: how the log is fed.

    :param failing_since: since when the LiveKit server cannot be asked, seconds since 1970; ``None``: it can.
    :param behind: how many events of the log are not in the projection yet.
    :param broken: what follows the log and has stopped.
    :param approvals: since when each undecided approval has waited.
    :param workers_known: whether the server tells of its workers.
    :param pools: the pools of agents that report.
    """

    failing_since: float | None = None
    behind: int = 0
    broken: tuple[str, ...] = ()
    approvals: tuple[float, ...] = ()
    workers_known: bool = True
    pools: tuple[PoolView, ...] = ()


def reasons(workers: WorkersPart, outside: Outside, now: float) -> tuple[Level, tuple[Reason, ...]]:
    """Return how the fleet is, with every reason why it is not healthy."""
    stalled = list(_stalled(outside, now))
    missing = dict(_missing(workers, now)) if outside.workers_known else {}
    found = [*stalled, *missing.values(), *_lost(outside.pools, now)]
    level: Level = "healthy"
    waits = sorted(
        (job for job in workers.waiting.values() if now - (job.created_at or now) > CALL_WAITS),
        key=lambda job: (job.created_at or now, job.id),
    )
    if waits:
        more = f"; so do {len(waits) - 1} more" if len(waits) > 1 else ""
        message = f"A call waits for '{waits[0].agent_name or UNNAMED}': {waits[0].why or 'no worker has it'}{more}"
        found.append(Reason(code="calls_wait", message=message, since=waits[0].created_at))
    oldest = min(outside.approvals, default=now)
    if now - oldest > APPROVAL_WAITS or len(outside.approvals) > APPROVALS:
        message = f"{len(outside.approvals)} approvals wait for a person"
        found.append(Reason(code="approvals_queue", message=message, since=oldest))
    if found:
        level = "degraded"
    long_stalled = any(each.since is not None and now - each.since > STALLED_LONG for each in stalled)
    if outside.broken or long_stalled or any(job.agent_name in missing for job in waits):
        level = "critical"
    return level, tuple(found)


def _stalled(outside: Outside, now: float) -> Iterable[Reason]:
    since = outside.failing_since
    if since is not None and now - since > STALLED:
        message = "The LiveKit server cannot be asked what runs; this may be stale"
        yield Reason(code="ingestion_stalled", message=message, since=since)
    for name in outside.broken:
        yield Reason(
            code="ingestion_stalled", message=f"Nothing new is taken in: {name} has stopped. Restart Greenroom"
        )
    if outside.behind > BEHIND:
        yield Reason(code="ingestion_stalled", message=f"{outside.behind} events are not taken in yet")


def _lost(pools: Iterable[PoolView], now: float) -> Iterable[Reason]:
    for pool in pools:
        if pool.lost and now - pool.seen_at <= MISSED:
            calls = len(pool.report.sessions)
            message = f"The pool on {pool.report.machine} is not heard of; it had {calls} calls"
            yield Reason(code="pool_lost", message=message, since=pool.seen_at)


def _missing(workers: WorkersPart, now: float) -> Iterable[tuple[str, Reason]]:
    """Yield the agents that had a worker until lately and have none."""
    here = {worker.agent_name for worker in workers.workers.values() if worker.status != "draining"}
    last: Mapping[str, float] = {}
    for gone in workers.gone:
        last = {**last, gone.worker.agent_name: max(gone.at, last.get(gone.worker.agent_name, gone.at))}
    for name in sorted(last.keys() - here):
        if now - last[name] <= MISSED:
            message = f"The last worker of '{name or UNNAMED}' is gone"
            yield name, Reason(code="workers_gone", message=message, since=last[name])
