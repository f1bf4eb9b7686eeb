"""What runs the pools of this process, as far as their own methods need to know."""

from __future__ import annotations

from typing import Protocol


class Host(Protocol):
    """A process that runs sessions for a supervisor."""

    @property
    def draining(self) -> bool:
        """Whether no more calls come."""

    def drain(self) -> None:
        """Ask for no more calls, and for the end once the last has hung up."""


class _Hosting:
    host: Host | None = None


def set_host(host: Host | None) -> None:
    """Tell the pools of this process who runs them."""
    _Hosting.host = host


def host() -> Host | None:
    """Return who runs the pools of this process; ``None`` when nobody does, or stock livekit-agents."""
    return _Hosting.host
