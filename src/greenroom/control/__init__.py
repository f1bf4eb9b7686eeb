"""The HTTP application for people: the page and ``/api``.

It knows LiveKit as any other program does: by a URL and an API key.
"""

from __future__ import annotations

from greenroom.control._agents import AgentListing, AgentState
from greenroom.control._app import control_app
from greenroom.control._feed import Feed
from greenroom.control._guard import Access
from greenroom.control._plane import Plane, PlaneSettings, open_plane
from greenroom.control._tokens import TokenRequest, TokenResponse

__all__ = [
    "Access",
    "AgentListing",
    "AgentState",
    "Feed",
    "Plane",
    "PlaneSettings",
    "TokenRequest",
    "TokenResponse",
    "control_app",
    "open_plane",
]
