"""The append-only event log: what Greenroom decides and what it has been told, durable, chained and erasable."""

from __future__ import annotations

from greenroom.eventlog._blobs import Blobs
from greenroom.eventlog._checkpoints import SigningKey
from greenroom.eventlog._errors import (
    BlobMissingError,
    BlobTooLargeError,
    ConflictError,
    EventLogError,
    EventTooLargeError,
    LogBusyError,
    LogClosedError,
    LogCorruptError,
    LogFullError,
    LogVersionError,
)
from greenroom.eventlog._events import BlobRef, EventType, Raw, event, registered, upcast
from greenroom.eventlog._log import EventLog
from greenroom.eventlog._model import Appended, Erased, NewEvent, Record, StreamErased, StreamHead
from greenroom.eventlog._proof import Anchor, Link, broken_link, is_anchored
from greenroom.eventlog._reading import LogReader
from greenroom.eventlog._telling import (
    record_as_json,
    record_as_line,
    verification_as_json,
    verification_as_lines,
)
from greenroom.eventlog._verify import Problem, Verification

__all__ = [
    "Anchor",
    "Appended",
    "BlobMissingError",
    "BlobRef",
    "BlobTooLargeError",
    "Blobs",
    "ConflictError",
    "Erased",
    "EventLog",
    "EventLogError",
    "EventTooLargeError",
    "EventType",
    "Link",
    "LogBusyError",
    "LogClosedError",
    "LogCorruptError",
    "LogFullError",
    "LogReader",
    "LogVersionError",
    "NewEvent",
    "Problem",
    "Raw",
    "Record",
    "SigningKey",
    "StreamErased",
    "StreamHead",
    "Verification",
    "broken_link",
    "event",
    "is_anchored",
    "record_as_json",
    "record_as_line",
    "registered",
    "upcast",
    "verification_as_json",
    "verification_as_lines",
]
