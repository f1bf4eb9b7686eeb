"""Knowing a webhook by its signature, from any LiveKit server (``docs/protocol.md``, "Webhooks")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from google.protobuf import json_format
from livekit.protocol import webhook

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import verify
from greenroom.link._errors import WebhookError

_FIX = "Let the LiveKit server sign its webhooks with an API key that Greenroom was started with"


def verify_webhook(
    body: bytes, authorization: str | None, keys: Mapping[str, ApiKey], *, now: float | None = None
) -> webhook.WebhookEvent:
    """Return the event that a webhook tells of; fields this program does not know are left out.

    :param body: the exact bytes of the request.
    :param authorization: the header; LiveKit writes the bare token.
    :raises WebhookError: when it is not signed with one of ``keys``, has expired, or is of another body.
    """
    token = (authorization or "").removeprefix("Bearer ").strip()
    try:
        claims = verify(token, keys, now=now).claims
    except TokenError as error:
        raise WebhookError(f"The webhook is not to be trusted: {error.message}", fix=_FIX) from None
    try:
        signed = base64.b64decode(claims.sha256, validate=True)
    except (binascii.Error, ValueError):
        signed = b""
    if not hmac.compare_digest(signed, hashlib.sha256(body).digest()):
        raise WebhookError("The webhook's body is not the one that was signed", fix=_FIX)
    try:
        members = msgspec.json.decode(body, type=dict[str, object])
        return json_format.ParseDict(members, webhook.WebhookEvent(), ignore_unknown_fields=True)
    except (msgspec.MsgspecError, json_format.ParseError, RecursionError, ValueError, TypeError, AttributeError):
        raise WebhookError("The webhook's body is not an event of LiveKit's") from None
