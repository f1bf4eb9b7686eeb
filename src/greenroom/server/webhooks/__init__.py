"""Telling other programs what happens in rooms, over HTTP, as LiveKit does (``docs/protocol.md``, "Webhooks")."""

from __future__ import annotations

from greenroom.server.webhooks._courier import Courier
from greenroom.server.webhooks._sender import WebhookSender

__all__ = ["Courier", "WebhookSender"]
