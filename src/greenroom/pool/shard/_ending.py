"""Why a session ended: the first cause counts, what follows from it does not."""

from __future__ import annotations

from typing import Final

import msgspec

from greenroom.pool._model import EndKind

_LONGEST: Final = 500
_DELETED: Final = "the program deleted the room"
#: Kinds of which LiveKit is told that the job failed.
_FAILURES: Final = frozenset({EndKind.SETUP, EndKind.PROVIDER, EndKind.CODE, EndKind.KILLED})
_PROVIDER_ERRORS: Final = frozenset(
    {"stt_error", "llm_error", "tts_error", "realtime_model_error", "interruption_detection_error"}
)
#: LiveKit's reasons for leaving a room, by what they mean for a session. Any other is a lost connection.
_GONE: Final[dict[str, tuple[EndKind, str]]] = {
    "ROOM_DELETED": (EndKind.USER, "the room was deleted"),
    "ROOM_CLOSED": (EndKind.USER, "the room closed"),
    "USER_UNAVAILABLE": (EndKind.USER, "the caller was not available"),
    "USER_REJECTED": (EndKind.USER, "the caller declined"),
    "PARTICIPANT_REMOVED": (EndKind.TERMINATED, "the agent was removed from the room"),
    "CLIENT_INITIATED": (EndKind.AGENT, "the program left the room"),
}


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended, as :class:`greenroom.pool._wire.Ended` tells it."""

    kind: EndKind
    ok: bool = True
    reason: str = ""
    error: str = ""
    provider: str = ""


class Ending:
    """Gathers what is heard of the end of one session, in the order in which it is heard."""

    def __init__(self) -> None:
        self._cause: Cause | None = None
        self._closed_by_program = False
        self._begun = False
        self._connected = False
        self._taken_away = False
        self._deleting: str | None = None
        self._hangs_up = ""
        self._broken: tuple[str, str, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether a cause is known."""
        return self._cause is not None

    def began(self) -> None:
        """The agent is there for the caller. A session that was closed and is started again has not ended."""
        self._begun = True
        if self._closed_by_program:
            self._cause, self._closed_by_program = None, False

    @property
    def in_doubt(self) -> bool:
        """Whether the reason of leaving the room, should it come, tells the cause."""
        return self._taken_away

    def connected(self) -> None:
        """The room is joined. For a program without an agent session, that is all there is of a beginning."""
        self._connected = True

    def asked(self, kind: EndKind, reason: str) -> None:
        """The supervisor ends it."""
        if kind is EndKind.TERMINATED and self._deleting is not None:
            self._by_program(_DELETED, self._deleting)
        elif self._cause is None:
            self._note(kind, reason)
            # A room's end takes its jobs away, and the worker may hear of that first.
            self._taken_away = kind is EndKind.TERMINATED

    def provider_failed(self, error_type: str, provider: str, error: str) -> None:
        """A provider failed and will not be tried again; whether the session goes on is not known yet."""
        self._broken = (error_type, provider, error)

    def entry_failed(self, problem: BaseException, *, closing: bool = False) -> None:
        """The entrypoint, or what stands before it, raised; perhaps while the agent session was closing already."""
        if closing and self._broken is not None:
            error_type, provider, error = self._broken
            self.closed("error", error_type=error_type, provider=provider, error=error)
        kind = EndKind.CODE if self._begun else EndKind.SETUP
        reason = "the program failed" if self._begun else "the session never began"
        self._note(kind, reason, error=f"{type(problem).__name__}: {problem}")

    def deleting(self, tool: str) -> None:
        """The program deletes the room; ``tool`` is the tool that does, if one does."""
        self._deleting = tool

    def hangs_up(self, tool: str) -> None:
        """A tool ran that closes the session after it has returned."""
        self._hangs_up = tool

    def closed(self, reason: str, *, error_type: str = "", provider: str = "", error: str = "", tool: str = "") -> None:
        """The agent session closed: LiveKit's close reason, and the error when there was one."""
        if reason == "error":
            kind = EndKind.PROVIDER if error_type in _PROVIDER_ERRORS else EndKind.CODE
            self._note(kind, error_type.replace("_", " ") or "error", error=error, provider=provider)
        elif reason == "participant_disconnected":
            self._note(EndKind.USER, "the caller left")
        elif reason in {"user_initiated", "task_completed"} and self._cause is None:
            self._by_program("the program closed the session", tool or self._hangs_up)
            self._closed_by_program = True

    def asked_by_program(self, reason: str, tool: str) -> None:
        """The program shuts the job down."""
        if reason == "simulation completed":
            self._note(EndKind.USER, reason)
        else:
            self._by_program(reason or "the program shut down", tool)

    def disconnected(self, reason: str) -> None:
        """The room is left, for LiveKit's reason by its name."""
        if self._taken_away and reason in {"ROOM_DELETED", "ROOM_CLOSED"}:
            self._cause = None
        self._taken_away = False
        if self._deleting is not None:
            self._by_program(_DELETED, self._deleting)
            return
        kind, words = _GONE.get(reason, (EndKind.USER, "the connection was lost"))
        self._note(kind, words, error="" if reason in _GONE else reason.lower(), ok=reason in _GONE)

    def shutting_down(self, reason: str, user_initiated: bool) -> None:
        """The job began to shut down. Says little that was not heard before, so it counts when nothing was."""
        if user_initiated:
            self.asked_by_program(reason, "")
        elif reason == "job crashed":
            self._note(EndKind.CODE if self._begun else EndKind.SETUP, reason)
        elif reason == "room disconnected":
            self.disconnected("ROOM_CLOSED")
        else:
            self._note(EndKind.DRAINED, reason)

    def result(self) -> Cause:
        """Return how the session ended."""
        if self._cause is not None:
            return self._cause
        if self._begun or self._connected:
            return Cause(kind=EndKind.USER, reason="the session ended")
        return Cause(kind=EndKind.SETUP, ok=False, reason="the session never began")

    def _by_program(self, reason: str, tool: str) -> None:
        self._note(EndKind.TOOL if tool else EndKind.AGENT, f"{tool}: {reason}" if tool else reason)

    def _note(self, kind: EndKind, reason: str, *, error: str = "", provider: str = "", ok: bool = True) -> None:
        if self._cause is not None:
            return
        self._cause = Cause(
            kind=kind,
            ok=ok and kind not in _FAILURES,
            reason=reason[:_LONGEST],
            error=error[:_LONGEST],
            provider=provider,
        )
