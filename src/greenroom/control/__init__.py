"""The HTTP application for people: the page and ``/api``.

It knows LiveKit as any other program does: by a URL and an API key.
"""

from __future__ import annotations

from greenroom.control._agents import AgentListing, AgentState
from greenroom.control._app import control_app
from greenroom.control._tokens import TokenRequest, TokenResponse

__all__ = ["AgentListing", "AgentState", "TokenRequest", "TokenResponse", "control_app"]
