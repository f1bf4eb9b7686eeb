"""What an API call may carry, beyond what rooms and dispatches check themselves."""

from __future__ import annotations

from typing import Final

from livekit.protocol import agent_dispatch as dispatch_pb

from greenroom.config import Limits
from greenroom.server.agents import check_agent_name, check_deployment
from greenroom.server.room import check_attributes, check_metadata
from greenroom.server.twirp._wire import TwirpError

_NONCE: Final = 16


def check_agent(agent: dispatch_pb.RoomAgentDispatch, limits: Limits) -> None:
    """Refuse an agent in a room's list that :class:`AgentManager` could not dispatch."""
    check_agent_name(agent.agent_name, limits)
    check_metadata(agent.metadata, limits)
    check_attributes(agent.attributes, limits)
    check_deployment(agent.deployment)


def check_data(data: bytes, nonce: bytes, limits: Limits) -> None:
    """Refuse data that no participant could receive, and a nonce that is no UUID."""
    if len(nonce) not in {0, _NONCE}:
        raise TwirpError("invalid_argument", f"nonce should be 16-bytes or not present, got: {len(nonce)} bytes")
    if len(data) > limits.data_packet:
        raise TwirpError("invalid_argument", f"data exceeds the limit of {limits.data_packet} bytes")
