"""LiveKit's HTTP APIs: Twirp, and the services behind it."""

from __future__ import annotations

from greenroom.server.twirp._agent_dispatch import agent_dispatch_service
from greenroom.server.twirp._room_service import room_service
from greenroom.server.twirp._routes import twirp_routes
from greenroom.server.twirp._service import Call, Handler, Method, Service
from greenroom.server.twirp._unconfigured import unconfigured_services
from greenroom.server.twirp._wire import Code, TwirpError

__all__ = [
    "Call",
    "Code",
    "Handler",
    "Method",
    "Service",
    "TwirpError",
    "agent_dispatch_service",
    "room_service",
    "twirp_routes",
    "unconfigured_services",
]
