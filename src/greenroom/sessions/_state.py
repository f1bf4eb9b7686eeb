"""What is known of a session and of its room: the accumulators of the projection.

Facts about one call come from several sources in any order and more than once. So everything here is kept by an
identity of its own, and two accounts of one thing are joined by a rule that knows no order (``_join``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.sessions._events import (
    EvaluationRecorded,
    OutcomeRecorded,
    RecordingStored,
    SeenError,
    SeenJob,
    SeenParticipant,
    SeenTool,
    Usage,
)
from greenroom.sessions._items import ChatItem


class _State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Immutable: a step returns another one."""


class Batch(_State, frozen=True):
    """A stored batch of spans, logs or metrics (``signal``)."""

    signal: str
    size: int
    count: int
    first_at: float | None = None
    last_at: float | None = None


class Control(_State, frozen=True):
    """Something an operator did to the session."""

    at: float
    verb: str
    by: str = ""


class SessionState(_State, frozen=True):
    """One session. ``items`` and the like are by their ids, ``batches`` and ``recordings`` by the hash of the blob.

    ``born`` is the position of its first event that has not been erased.
    """

    id: str
    born: int = 0
    room_id: str = ""
    room_name: str = ""
    agent_name: str = ""
    agent_identity: str = ""
    worker_id: str = ""
    sdk_version: str = ""
    started_at: float | None = None
    reported_at: float | None = None
    ended_at: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    duration: float | None = None
    options: dict[str, Any] = {}
    close_reason: str = ""
    simulated: bool = False
    redacted: bool = False
    user_turns: int | None = None
    error_counts: dict[str, int] = {}
    job: SeenJob | None = None
    outcome: OutcomeRecorded | None = None
    items: dict[str, ChatItem] = {}
    heard: dict[str, ChatItem] = {}
    tools: dict[str, SeenTool] = {}
    participants: dict[str, SeenParticipant] = {}
    errors: dict[str, SeenError] = {}
    evaluations: dict[str, EvaluationRecorded] = {}
    tags: dict[str, dict[str, Any]] = {}
    recordings: dict[str, RecordingStored] = {}
    batches: dict[str, Batch] = {}
    usage_reported: tuple[Usage, ...] | None = None
    usage_observed: tuple[Usage, ...] | None = None
    usage_observed_at: float | None = None
    usage_metered: dict[str, tuple[Usage, ...]] = {}
    agent_state: str = ""
    agent_state_at: float | None = None
    observed: bool = False
    false_interruptions: tuple[float, ...] = ()
    controls: dict[str, Control] = {}


class RoomParticipant(_State, frozen=True):
    """Somebody in a room, as webhooks tell."""

    sid: str
    identity: str = ""
    name: str = ""
    kind: str = ""
    hidden: bool = False
    joined_at: float | None = None
    left_at: float | None = None


class RoomState(_State, frozen=True):
    """One room."""

    sid: str
    name: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    participants: dict[str, RoomParticipant] = {}
