"""Agents for tests of ``AgentPool``, and what they need of a job."""

from __future__ import annotations

from livekit.agents import Agent

from greenroom.pool import SessionInfo, SessionOutcome


class Sales(Agent):
    """A plain agent."""

    def __init__(self) -> None:
        super().__init__(instructions="You sell.")


class Support(Agent):
    """Another."""

    def __init__(self) -> None:
        super().__init__(instructions="You help.")


class Witness:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[SessionInfo] = []
        self.ended: list[tuple[SessionInfo, SessionOutcome]] = []

    async def on_session_start(self, info: SessionInfo, session: object) -> None:
        self.started.append(info)

    async def on_session_end(self, info: SessionInfo, outcome: SessionOutcome) -> None:
        self.ended.append((info, outcome))
