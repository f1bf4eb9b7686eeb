"""What the fleet's projection keeps: a part for each stream of the log. Parts are immutable.

A part knows its own stream and nothing else, so in whichever order streams are told, the parts are the same.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from greenroom.link import JobInfo, WorkerInfo

Outcome: TypeAlias = Literal["success", "failure"]
ActionKind: TypeAlias = Literal["tool", "message", "handoff", "control", "error"]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Used(_Part, frozen=True, kw_only=True):
    """What a model was used for: LiveKit's counters by their names; ``kind`` is ``llm``, ``tts``, ``stt``, ..."""

    kind: str
    provider: str = ""
    model: str = ""
    amounts: dict[str, float] = {}


class Done(_Part, frozen=True, kw_only=True):
    """Something that an agent did. It is told without a word of the conversation.

    :param key: what names it in its stream.
    :param name: of the tool, of the agent handed over to, of what an operator did.
    """

    key: str
    at: float
    kind: ActionKind
    name: str = ""
    by: str = ""
    outcome: Outcome = "success"


class Stated(_Part, frozen=True, kw_only=True):
    """What an agent says of its task; ``None``: nothing."""

    title: str | None = None
    description: str | None = None
    progress: float | None = None
    priority: str | None = None
    domain: str | None = None
    integrations: tuple[str, ...] | None = None


class CallPart(_Part, frozen=True, kw_only=True):
    """A job, from its session's stream.

    :param job: as it was assigned last; ``None`` when only other sources told of it.
    :param calling: tools that run, by call id.
    :param done: the latest, oldest first.
    :param redacted: the session's uploads are to be kept without names and words, and so is this.
    """

    id: str
    job: JobInfo | None = None
    observed_identity: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    ended_status: str = ""
    state: str | None = None
    state_at: float | None = None
    user_state: str | None = None
    stated: Stated = Stated()
    calling: dict[str, str] = {}
    done: tuple[Done, ...] = ()
    used: tuple[Used, ...] | None = None
    used_by_report: bool = False
    redacted: bool = False

    @property
    def identity(self) -> str:
        """The agent's identity in the room; empty when nobody told."""
        return (self.job.agent_identity if self.job is not None else "") or self.observed_identity


class Guest(_Part, frozen=True, kw_only=True):
    """Somebody in a room who is no agent."""

    sid: str
    identity: str = ""
    name: str = ""
    kind: str = ""
    joined_at: float | None = None


class RoomPart(_Part, frozen=True, kw_only=True):
    """A room, from its stream. ``guests`` are all who ever came, the first few."""

    sid: str
    name: str = ""
    finished_at: float | None = None
    guests: tuple[Guest, ...] = ()


class GoneWorker(_Part, frozen=True, kw_only=True):
    """A worker as it was last."""

    worker: WorkerInfo
    at: float


class WorkersPart(_Part, frozen=True, kw_only=True):
    """The workers and what waits for one, from the workers' stream. ``gone`` are the latest."""

    workers: dict[str, WorkerInfo] = {}
    gone: tuple[GoneWorker, ...] = ()
    waiting: dict[str, JobInfo] = {}


class FleetState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole projection: calls by job id, rooms by sid, and the workers."""

    calls: dict[str, CallPart] = {}
    rooms: dict[str, RoomPart] = {}
    workers: WorkersPart = WorkersPart()
