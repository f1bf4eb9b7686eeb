"""The embedded LiveKit-compatible server, and the HTTP port it is served on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.server._serve import check_udp_port, listen, serve, url_of

if TYPE_CHECKING:
    from greenroom.server._app import Server

__all__ = ["Server", "check_udp_port", "listen", "serve", "url_of"]


def __getattr__(name: str) -> object:
    # The server brings most of what this program imports. A port is opened, or found taken, before that.
    if name != "Server":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from greenroom.server._app import Server  # noqa: PLC0415

    return Server
