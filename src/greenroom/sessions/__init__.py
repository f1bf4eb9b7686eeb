"""The record of a call: its timeline, latency, cost and audio, projected from the log."""

from __future__ import annotations

from greenroom.sessions._archive_proof import ArchiveError, ArchiveProof, check_archive
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
from greenroom.sessions._export import archive, transcript
from greenroom.sessions._items import ChatItem, TurnMetrics, item_of, number, seconds, without_content
from greenroom.sessions._peaks import PeaksError, Waveform
from greenroom.sessions._prices import Cost, CostLine, Price, PriceTable, cost_of, load_prices
from greenroom.sessions._projection import Sessions
from greenroom.sessions._query import QueryError, SessionQuery
from greenroom.sessions._reader import SessionNotFoundError, SessionPage
from greenroom.sessions._room import step_room
from greenroom.sessions._routes import SpanList, TurnList, query_of, routes
from greenroom.sessions._spans import Span, spans_of
from greenroom.sessions._state import RoomState, SessionState
from greenroom.sessions._step import step
from greenroom.sessions._turns import Latency, ToolCall, Turn
from greenroom.sessions._values import attributes, plain
from greenroom.sessions._view import Participant, Session, SessionSummary, view

__all__ = [
    "ArchiveError",
    "ArchiveProof",
    "ChatHistory",
    "ChatItem",
    "Cost",
    "CostLine",
    "EvaluationRecorded",
    "Latency",
    "LogsStored",
    "MetricsStored",
    "OutcomeRecorded",
    "Participant",
    "PeaksError",
    "Price",
    "PriceTable",
    "QueryError",
    "RecordingStored",
    "RoomState",
    "SeenError",
    "SeenJob",
    "SeenParticipant",
    "SeenTool",
    "Session",
    "SessionNotFoundError",
    "SessionPage",
    "SessionQuery",
    "SessionReport",
    "SessionState",
    "SessionSummary",
    "Sessions",
    "Span",
    "SpanList",
    "SpansStored",
    "TagAdded",
    "ToolCall",
    "Turn",
    "TurnList",
    "TurnMetrics",
    "UploadRefused",
    "Usage",
    "Waveform",
    "archive",
    "attributes",
    "check_archive",
    "cost_of",
    "item_of",
    "load_prices",
    "number",
    "plain",
    "query_of",
    "routes",
    "seconds",
    "spans_of",
    "step",
    "step_room",
    "transcript",
    "view",
    "without_content",
]
