"""``greenroom session``: one call in the terminal, afterwards or while it runs."""

from __future__ import annotations

from greenroom.cli.session._command import found_session, session_command

__all__ = ["found_session", "session_command"]
