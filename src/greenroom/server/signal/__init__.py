"""LiveKit signalling over WebSocket: who may join, and what clients and server tell each other."""

from __future__ import annotations

from greenroom.server.signal._routes import deny, signal_routes

__all__ = ["deny", "signal_routes"]
