"""The embedded LiveKit-compatible server."""

from __future__ import annotations

from greenroom.server._app import Server
from greenroom.server._serve import check_udp_port, listen, serve, url_of

__all__ = ["Server", "check_udp_port", "listen", "serve", "url_of"]
