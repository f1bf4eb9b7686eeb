"""LiveKit seen from outside: its API, its webhooks, its workers, and its agents' sessions."""

from __future__ import annotations

from greenroom.link._api import LiveKit
from greenroom.link._errors import LinkError, NotFoundError, NotServedError, WebhookError
from greenroom.link._webhooks import verify_webhook
from greenroom.link._workers import JobInfo, WorkerInfo, WorkerList

__all__ = [
    "JobInfo",
    "LinkError",
    "LiveKit",
    "NotFoundError",
    "NotServedError",
    "WebhookError",
    "WorkerInfo",
    "WorkerList",
    "verify_webhook",
]
