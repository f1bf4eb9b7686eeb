"""Why a room has no agent, why it is silent, why it is gone: an answer from the log, with its evidence."""

from __future__ import annotations

from greenroom.sessions.why._explain import explain
from greenroom.sessions.why._gather import RoomUnknownError, why
from greenroom.sessions.why._words import Evidence, Verdict, Why

__all__ = ["Evidence", "RoomUnknownError", "Verdict", "Why", "explain", "why"]
