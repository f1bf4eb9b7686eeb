"""What the dispatcher wants done. The edge does it, in order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from greenroom.server.agents._model import Answer, Job, Room, Worker


@dataclass(frozen=True, slots=True)
class Welcome:
    """Tell the worker that it is registered; the first message it may get."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Offer:
    """Ask the worker whether it takes the job."""

    worker: Worker
    job: Job


@dataclass(frozen=True, slots=True)
class Assign:
    """Give the worker the job, with a token for its agent."""

    worker: Worker
    job: Job
    answer: Answer


@dataclass(frozen=True, slots=True)
class Terminate:
    """Tell the worker to end the job."""

    worker_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the worker's connection with a WebSocket code and reason."""

    worker_id: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Remove an agent that came although its job had been ended."""

    room: Room
    identity: str


@dataclass(frozen=True, slots=True)
class Log:
    """Write a log line: a constant message and its fields."""

    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    level: int = logging.INFO


Effect: TypeAlias = Welcome | Offer | Assign | Terminate | Disconnect | Evict | Log
