"""Who gets a data packet, and what it says about its sender."""

from __future__ import annotations

from greenroom.server.data._router import DataRouter, Outbound, Peer

__all__ = ["DataRouter", "Outbound", "Peer"]
