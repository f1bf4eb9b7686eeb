"""A webhook is believed only when it is signed, whole and of our time."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from livekit import api

from greenroom.config import ApiKey
from greenroom.grants import Claims, mint
from greenroom.link import WebhookError, verify_webhook

pytestmark = pytest.mark.unit

KEY = ApiKey(key="k", secret="a secret long enough for the official library")
KEYS = {"k": KEY}
BODY = json.dumps(
    {"event": "room_started", "id": "EV_1", "createdAt": "1700000000", "room": {"sid": "RM_1"}, "new": 1}
).encode()


def digest(body: bytes = BODY) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def test_what_livekit_signs_is_believed_and_unknown_fields_are_left_out():
    token = api.AccessToken("k", KEY.secret).with_sha256(digest()).to_jwt()
    for authorization in (token, f"Bearer {token}"):
        event = verify_webhook(BODY, authorization, KEYS)
        assert (event.event, event.id, event.created_at, event.room.sid) == ("room_started", "EV_1", 1700000000, "RM_1")


@pytest.mark.parametrize(
    ("authorization", "why"),
    [
        (None, "not to be trusted"),
        ("", "not to be trusted"),
        ("nonsense", "not to be trusted"),
        (mint(ApiKey(key="k", secret="another"), Claims(sha256=digest())), "signature"),
        (mint(ApiKey(key="other", secret=KEY.secret), Claims(sha256=digest())), "invalid API key"),
        (mint(KEY, Claims(sha256=digest()), ttl=300, now=1.7e9), "expired"),
        (mint(KEY), "not the one that was signed"),
        (mint(KEY, Claims(sha256="%%%")), "not the one that was signed"),
        (mint(KEY, Claims(sha256=digest(b"{}"))), "not the one that was signed"),
    ],
)
def test_anything_else_is_not(authorization, why):
    with pytest.raises(WebhookError, match=why):
        verify_webhook(BODY, authorization, KEYS)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"event": 1}', b'{"room": 7}', b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_an_error(body):
    with pytest.raises(WebhookError, match="not an event"):
        verify_webhook(body, mint(KEY, Claims(sha256=digest(body))), KEYS)
