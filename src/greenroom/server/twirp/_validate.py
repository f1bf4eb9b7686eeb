"""What an API call may carry, beyond what rooms check themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from greenroom.config import Limits
from greenroom.server.room import check_attributes, check_metadata
from greenroom.server.twirp._wire import TwirpError

_DEPLOYMENT: Final = 64
_NONCE: Final = 16


def check_dispatch(
    agent_name: str, metadata: str, attributes: Mapping[str, str], deployment: str, limits: Limits
) -> None:
    """Refuse a dispatch whose parts are too long or, for the deployment, oddly written."""
    if len(agent_name) > limits.name:
        raise TwirpError("invalid_argument", f"agent name exceeds the limit of {limits.name} characters")
    check_metadata(metadata, limits)
    check_attributes(attributes, limits)
    _check_deployment(deployment)


def check_data(data: bytes, nonce: bytes, limits: Limits) -> None:
    """Refuse data that no participant could receive, and a nonce that is no UUID."""
    if len(nonce) not in {0, _NONCE}:
        raise TwirpError("invalid_argument", f"nonce should be 16-bytes or not present, got: {len(nonce)} bytes")
    if len(data) > limits.data_packet:
        raise TwirpError("invalid_argument", f"data exceeds the limit of {limits.data_packet} bytes")


def _check_deployment(deployment: str) -> None:
    # The rules of LiveKit's agent.ValidateDeployment: the name is part of a topic there.
    if len(deployment.encode()) > _DEPLOYMENT:
        raise TwirpError("invalid_argument", f"deployment exceeds {_DEPLOYMENT} bytes")
    if "_" in deployment:
        raise TwirpError("invalid_argument", "deployment contains reserved character '_'")
    for position, character in enumerate(deployment):
        if character <= " " or character == "\x7f":
            raise TwirpError(
                "invalid_argument", f"deployment contains whitespace or control byte at position {position}"
            )
