"""The embedded LiveKit-compatible server."""

from __future__ import annotations

from greenroom.server._app import Server

__all__ = ["Server"]
