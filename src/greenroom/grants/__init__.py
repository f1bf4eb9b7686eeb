"""Authority: LiveKit tokens, and API keys with their policy."""

from __future__ import annotations

from greenroom.grants._claims import (
    AgentEndpointGrant,
    AgentGrant,
    AgentThreadGrant,
    Claims,
    InferenceGrant,
    ObservabilityGrant,
    SipGrant,
    VideoGrant,
)
from greenroom.grants._operators import (
    LOGIN_TTL,
    SESSION_TTL,
    Operator,
    Purpose,
    mint_operator,
    roles,
    verify_operator,
)
from greenroom.grants._tokens import DEFAULT_TTL, LEEWAY, Grant, mint, read_http_token, renew, verify

__all__ = [
    "DEFAULT_TTL",
    "LEEWAY",
    "LOGIN_TTL",
    "SESSION_TTL",
    "AgentEndpointGrant",
    "AgentGrant",
    "AgentThreadGrant",
    "Claims",
    "Grant",
    "InferenceGrant",
    "ObservabilityGrant",
    "Operator",
    "Purpose",
    "SipGrant",
    "VideoGrant",
    "mint",
    "mint_operator",
    "read_http_token",
    "renew",
    "roles",
    "verify",
    "verify_operator",
]
