"""What a pool tells of itself, put together."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Final

from greenroom.pool._wire import Role
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._links import Links
from greenroom.pool.supervisor._messages import Post
from greenroom.pool.supervisor._shards import Shard
from greenroom.reports import AgentReport, ShardReport

_SHOWN: Final = 300


class Self:
    """What stays the same while the pool runs."""

    def __init__(self, started_at: float) -> None:
        self.instance = secrets.token_hex(8)
        self.machine = socket.gethostname()
        self.pid = os.getpid()
        self.started_at = started_at
        self.cpus = len(os.sched_getaffinity(0))
        self.memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def agent_reports(cast: Cast, links: Links, sessions: dict[str, int]) -> tuple[AgentReport, ...]:
    """Return the agents in service, and then the files that are not."""
    found = []
    broken = {failure.source: failure for failure in cast.failures}
    for member in cast.members:
        spec = member.spec
        link = links.for_post(Post(dispatch=spec.dispatch, job_type=spec.job_type))
        ready = link is not None and link.is_registered
        older = broken.pop(spec.source, None)
        found.append(
            AgentReport(
                name=spec.name,
                dispatch=spec.dispatch,
                source=spec.source,
                state="ready" if ready else "starting",
                detail=f"goes on as it was: {_words(older.source, older.line, older.message)}" if older else "",
                sessions=sessions.get(spec.name, 0),
                worker_id=link.worker_id if link is not None else "",
                kind=str(spec.kind),
                job_type=spec.job_type,
                capabilities=spec.capabilities,
            )
        )
    found += [
        AgentReport(
            name=Path(failure.source).stem,
            dispatch="",
            source=failure.source,
            state="failed",
            detail=_words(failure.source, failure.line, failure.message),
        )
        for failure in broken.values()
    ]
    return tuple(found)


def shard_report(shard: Shard) -> ShardReport:
    """Return a shard as the pool tells of it."""
    beat = shard.beat
    return ShardReport(
        number=shard.number,
        pid=shard.process.pid,
        generation=shard.generation,
        state=shard.state if shard.role is Role.SHARD else str(shard.role),
        sessions=len(shard.jobs),
        lag=beat.lag if beat else None,
        cpu=beat.cpu if beat else None,
        rss=(beat.rss or None) if beat else None,
        pss=beat.pss if beat else None,
        uss=beat.uss if beat else None,
        where=shard.where,
    )


def _words(source: str, line: int, message: str) -> str:
    place = f"{source}:{line}" if line else source
    return f"{place}: {message}"[:_SHOWN]
