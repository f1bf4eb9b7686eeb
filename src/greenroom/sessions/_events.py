"""What the log says of a session: the shapes of its events. ``docs/sessions.md`` tells who appends which.

Events of a session are in the stream ``session:<job id>``; those of its room in ``room:<room sid>``. Times are
seconds since 1970 and durations seconds unless a name says otherwise; unknown is ``None`` or empty.
"""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.eventlog import BlobRef, event
from greenroom.sessions._items import ChatItem


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payload: what is not set is not written."""


class SeenParticipant(_Data, frozen=True):
    """Somebody a span tells of. ``kind`` is LiveKit's: ``standard``, ``agent``, ``sip``, ..."""

    sid: str
    identity: str = ""
    kind: str = ""
    phone: str = ""


class SeenError(_Data, frozen=True):
    """Something that went wrong. ``where`` is a span's name or a logger's."""

    at: float
    where: str
    message: str = ""
    type: str = ""


class SeenTool(_Data, frozen=True):
    """How long a tool call took."""

    call_id: str
    name: str
    started_at: float
    duration: float
    is_error: bool = False


class SeenJob(_Data, frozen=True):
    """The job as its outermost span tells, which ends with it. Latencies as LiveKit names them."""

    started_at: float
    ended_at: float
    dispatch_id: str = ""
    worker_id: str = ""
    latencies: dict[str, float] = {}


class _Batch(_Data, frozen=True):
    """A stored batch: gzipped OTLP, the official export request.

    :param count: of spans, log records or data points.
    :param first_at: of the earliest; ``None`` of an empty batch.
    """

    blob: BlobRef
    count: int
    first_at: float | None = None
    last_at: float | None = None
    room_id: str = ""
    agent_name: str = ""
    redacted: bool = False


@event("telemetry.spans")
class SpansStored(_Batch, frozen=True):
    """A batch of spans has been stored; what a session's record takes from them stands beside.

    :param heard: the conversation as spans tell it, with ids of their own. It is all there is while a call runs
        that is not observed, and of one whose agent did not live to report.
    """

    room_name: str = ""
    participants: tuple[SeenParticipant, ...] = ()
    errors: tuple[SeenError, ...] = ()
    tools: tuple[SeenTool, ...] = ()
    job: SeenJob | None = None
    heard: tuple[ChatItem, ...] = ()


@event("telemetry.logs")
class LogsStored(_Batch, frozen=True):
    """A batch of log records has been stored."""

    errors: tuple[SeenError, ...] = ()


class Usage(_Data, frozen=True):
    """What a model was used for: LiveKit's own counters by their names, such as ``input_tokens``.

    :param kind: ``llm``, ``tts``, ``stt``, ``interruption`` or ``eot``.
    """

    kind: str
    provider: str = ""
    model: str = ""
    amounts: dict[str, float] = {}


@event("telemetry.metrics")
class MetricsStored(_Batch, frozen=True):
    """A batch of metrics has been stored. ``usage`` is what was used since the batch before."""

    usage: tuple[Usage, ...] = ()


@event("recording.stored")
class RecordingStored(_Data, frozen=True):
    """The audio of a session has been stored.

    :param channels: who is heard in each channel.
    :param format: the media type.
    """

    blob: BlobRef
    format: str = "audio/ogg"
    channels: tuple[str, ...] = ("user", "agent")
    started_at: float | None = None
    duration: float | None = None


@event("chat.history")
class ChatHistory(_Data, frozen=True):
    """Items of the conversation, of which any may have been told before."""

    items: tuple[ChatItem, ...]


@event("session.report")
class SessionReport(_Data, frozen=True):
    """What the agent reports when a session ends.

    :param errors: counts by kind: ``llm``, ``stt``, ``tts``, ``realtime``, ``interruption``.
    :param close_reason: LiveKit's, in lower case: ``participant_disconnected``.
    """

    room_id: str = ""
    room_name: str = ""
    agent_name: str = ""
    sdk_version: str = ""
    started_at: float | None = None
    reported_at: float | None = None
    duration: float | None = None
    options: dict[str, Any] = {}
    usage: tuple[Usage, ...] | None = None
    tags: tuple[str, ...] = ()
    user_turns: int | None = None
    errors: dict[str, int] = {}
    close_reason: str = ""
    simulated: bool = False
    redacted: bool = False


@event("evaluation.recorded")
class EvaluationRecorded(_Data, frozen=True):
    """A judge's verdict on the session: ``pass``, ``fail`` or ``maybe``."""

    name: str
    verdict: str = ""
    reasoning: str = ""
    tag: str = ""


@event("tag.added")
class TagAdded(_Data, frozen=True):
    """A tag with what was said of it."""

    name: str
    metadata: dict[str, Any] = {}


@event("outcome.recorded")
class OutcomeRecorded(_Data, frozen=True):
    """How the session ended by its own account: ``success`` or ``fail``."""

    outcome: str
    reason: str = ""


@event("upload.refused")
class UploadRefused(_Data, frozen=True):
    """An authorised upload was refused. At most one such event a minute for each key, route and code.

    :param count: how many since the one before.
    """

    route: str
    code: str
    api_key: str
    message: str = ""
    count: int = 1
