"""Whose turn it is: when a line that waits may be said. Pure; times are seconds of any one clock."""

from __future__ import annotations

from typing import Final

#: How long it stays quiet after an answer: words and states travel on different ways.
SETTLE: Final = 0.3
#: The same when the agent does not tell its state, or has not said anything yet and may be about to greet.
SETTLE_UNSURE: Final = 1.0
#: How long a session that tells its state may take to start. What is said before that is lost.
STARTING: Final = 5.0

_BUSY: Final = frozenset({"initializing", "thinking", "speaking"})


class Turns:
    """Follows one agent and tells when it has finished."""

    def __init__(self) -> None:
        self.state = ""
        #: When the agent, or whoever talks to it, last gave a sign.
        self.heard_at = 0.0
        self._here = False
        self._told_in_order = False
        self._awaiting = False
        self._spoke = False
        self._open: set[str] = set()

    def agent_came(self, now: float) -> None:
        """An agent is there, perhaps in place of another: nothing is known of it yet."""
        self.state = ""
        self.heard_at = now
        self._here = True
        self._told_in_order = self._awaiting = self._spoke = False
        self._open.clear()

    def agent_left(self, now: float) -> None:
        """Nobody is there who could listen."""
        self._here = False
        self.heard_at = now

    def agent_state(self, state: str, now: float, *, in_order: bool) -> bool:
        """The agent tells its state; returns whether that is news.

        :param in_order: whether the states cannot overtake each other, as those in the participant's
            attributes do. Once there are such, the others do not count.
        """
        if self._told_in_order and not in_order:
            return False
        self._told_in_order = self._told_in_order or in_order
        if state == self.state:
            return False
        self.state = state
        self.heard_at = now
        if state in {"thinking", "speaking"}:
            self._awaiting = False
        return True

    def message_opened(self, message: str, now: float) -> None:
        """The agent begins to say something."""
        self._open.add(message)
        self._awaiting = False
        self._spoke = True
        self.heard_at = now

    def message_closed(self, message: str, now: float) -> None:
        """The agent has said it."""
        self._open.discard(message)
        self.heard_at = now

    def sign(self, now: float) -> None:
        """The agent is alive: a tool moves on, words come."""
        self.heard_at = now

    def line_sent(self, now: float) -> None:
        """The caller said something that wants an answer."""
        self._awaiting = True
        self.heard_at = now

    def free_at(self) -> float | None:
        """Return when the caller may speak if nothing happens until then; ``None`` while the agent has the turn."""
        if not self._here or self._awaiting or self._open or self.state in _BUSY:
            return None
        if not self.state:
            return self.heard_at + (SETTLE_UNSURE if self._spoke else STARTING)
        return self.heard_at + (SETTLE if self._spoke else SETTLE_UNSURE)
