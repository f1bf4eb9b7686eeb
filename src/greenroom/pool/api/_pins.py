"""Calls that stay on the code they have, for as long as something in them must not change."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from greenroom.pool.context import current_session_id

if TYPE_CHECKING:
    from livekit.agents import AgentSession

_pins: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
#: The same by the ids of jobs, for pins that were set inside of a session of a pool.
_jobs: Counter[str] = Counter()


@contextlib.contextmanager
def pin_reload(session: AgentSession[Any]) -> Iterator[None]:
    """Keep a session on the code it runs while the block lasts. Blocks nest: the outermost one lets go."""
    _pins[session] = _pins.get(session, 0) + 1
    job_id = current_session_id() or ""
    _jobs[job_id] += 1
    try:
        yield
    finally:
        _jobs[job_id] -= 1
        if not _jobs[job_id]:
            del _jobs[job_id]
        left = _pins.get(session, 0) - 1
        if left > 0:
            _pins[session] = left
        else:
            _pins.pop(session, None)


def is_pinned(session: AgentSession[Any]) -> bool:
    """Return whether a session stays on its code just now."""
    return session in _pins


def is_job_pinned(job_id: str) -> bool:
    """Return whether the session of a job stays on its code just now."""
    return job_id in _jobs
