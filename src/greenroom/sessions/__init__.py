"""The record of a call: its timeline, latency, cost and audio, projected from the log."""

from __future__ import annotations

from greenroom.sessions._events import (
    ChatHistory,
    EvaluationRecorded,
    LogsStored,
    MetricsStored,
    OutcomeRecorded,
    RecordingStored,
    SeenError,
    SeenJob,
    SeenParticipant,
    SeenTool,
    SessionReport,
    SpansStored,
    TagAdded,
    UploadRefused,
    Usage,
)
from greenroom.sessions._items import ChatItem, TurnMetrics, item_of, number, without_content

__all__ = [
    "ChatHistory",
    "ChatItem",
    "EvaluationRecorded",
    "LogsStored",
    "MetricsStored",
    "OutcomeRecorded",
    "RecordingStored",
    "SeenError",
    "SeenJob",
    "SeenParticipant",
    "SeenTool",
    "SessionReport",
    "SpansStored",
    "TagAdded",
    "TurnMetrics",
    "UploadRefused",
    "Usage",
    "item_of",
    "number",
    "without_content",
]
