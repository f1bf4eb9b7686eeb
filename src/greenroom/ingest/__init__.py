"""Wire to events: what agents upload of their sessions, and what LiveKit tells of rooms."""

from __future__ import annotations

from greenroom.ingest._errors import (
    RecordingDisabledError,
    UploadBusyError,
    UploadError,
    UploadForbiddenError,
    UploadInvalidError,
    UploadRateError,
    UploadTooLargeError,
    UploadUnauthorizedError,
)
from greenroom.ingest._ids import session_stream
from greenroom.ingest._limits import IngestLimits
from greenroom.ingest._live import LiveWatch, WatchSettings
from greenroom.ingest._routes import SYSTEM_STREAM, Ingest, IngestStats
from greenroom.ingest._webhooks import WebhookIngest

__all__ = [
    "SYSTEM_STREAM",
    "Ingest",
    "IngestLimits",
    "IngestStats",
    "LiveWatch",
    "RecordingDisabledError",
    "UploadBusyError",
    "UploadError",
    "UploadForbiddenError",
    "UploadInvalidError",
    "UploadRateError",
    "UploadTooLargeError",
    "UploadUnauthorizedError",
    "WatchSettings",
    "WebhookIngest",
    "session_stream",
]
