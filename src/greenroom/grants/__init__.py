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
from greenroom.grants._tokens import DEFAULT_TTL, LEEWAY, Grant, mint, read_http_token, verify

__all__ = [
    "DEFAULT_TTL",
    "LEEWAY",
    "AgentEndpointGrant",
    "AgentGrant",
    "AgentThreadGrant",
    "Claims",
    "Grant",
    "InferenceGrant",
    "ObservabilityGrant",
    "SipGrant",
    "VideoGrant",
    "mint",
    "read_http_token",
    "verify",
]
