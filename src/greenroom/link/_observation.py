"""What one agent's session tells, message by message, as events for the log. No I/O, no clock.

Source: ``livekit_agent_session.proto``; ``livekit-agents``' ``voice/remote_session.py``. Requests are answered
to everybody, and what comes before the answers must not be lost, so everything is told on as it comes and
what the answers repeat is left out: an item of the conversation by its id, here and, for good, by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from livekit.protocol.agent_pb import agent_session as session_pb

from greenroom.eventlog import NewEvent
from greenroom.link._events import (
    AgentStateChanged,
    AmdPredicted,
    EotPredicted,
    FalseInterruption,
    ItemAdded,
    Overlap,
    SessionDetached,
    SessionError,
    SessionMessage,
    SessionObserved,
    ToolsExecuted,
    ToolUpdated,
    UsageUpdated,
    UserStateChanged,
    UserTranscribed,
)

USAGE_EVERY: Final = 30.0
_OWN: Final = "gr_"
_QUESTIONS: Final = ("get_framework_info", "get_session_state", "get_chat_history", "get_session_usage")
# "message" is the text of a tool's progress here and a whole item there, hence the look at what it holds.
_CONTENT: Final = frozenset(
    {"content", "arguments", "output", "instructions", "transcript", "reason", "message", "extra"}
)
_PLAIN: Final[dict[str, type[SessionMessage]]] = {
    "function_tools_executed": ToolsExecuted,
    "overlapping_speech": Overlap,
    "amd_prediction": AmdPredicted,
    "eot_prediction": EotPredicted,
    "tool_execution_updated": ToolUpdated,
}


class Observation:
    """One session being listened to.

    :param mint_id: makes the ids of requests; answers to anybody else's are not looked at.
    :param content: whether events hold what was said; if not, only that it was.
    """

    def __init__(
        self, job_id: str, agent_identity: str, reason: str, *, mint_id: Callable[[], str], content: bool = True
    ) -> None:
        self.job_id = job_id
        self.agent_identity = agent_identity
        self._reason = reason
        self._mint_id = mint_id
        self._content = content
        self._asked: dict[str, str] = {}
        self._items: set[str] = set()
        self._agent_state = ""
        self._user_state = ""
        self._usage: dict[str, Any] | None = None
        self._usage_told: dict[str, Any] | None = None
        self._usage_at = 0.0
        self._framework: session_pb.SessionResponse.GetFrameworkInfoResponse | None = None
        self._state: session_pb.SessionResponse.GetSessionStateResponse | None = None
        self._observed = False
        self._resumed = False
        #: The user's words so far, which may change; empty when nothing is being said.
        self.partial = ""
        #: What the session answered to requests of others in this process, by request id, until it is taken.
        self.answers: dict[str, session_pb.SessionResponse] = {}

    @property
    def agent_state(self) -> str:
        """What the agent does, as far as it is known."""
        return self._agent_state

    def questions(self) -> list[bytes]:
        """Return what to ask when the agent is there: everything that was before."""
        self._resumed = self._observed
        self._observed = False
        self._framework = self._state = None
        self._asked.clear()
        messages = []
        for kind in _QUESTIONS:
            request = session_pb.SessionRequest(request_id=_OWN + self._mint_id())
            getattr(request, kind).SetInParent()
            self._asked[request.request_id] = kind
            messages.append(session_pb.AgentSessionMessage(request=request).SerializeToString())
        return messages

    def hear(self, payload: bytes, now: float) -> list[NewEvent]:
        """Return what a message adds to the log."""
        try:
            message = session_pb.AgentSessionMessage.FromString(payload)
        except DecodeError:
            return []
        kind = message.WhichOneof("message")
        if kind == "event":
            return self._event(message.event, now)
        if kind == "response":
            return self._response(message.response, now)
        return []

    def end(self, reason: str, now: float) -> list[NewEvent]:
        """Return what the end of listening adds."""
        self.partial = ""
        usage = self._tell_usage(now, anyway=True)
        return [*usage, NewEvent(SessionDetached(reason=reason), now)] if self._observed or self._resumed else usage

    # Events

    def _event(self, event: session_pb.AgentSessionEvent, now: float) -> list[NewEvent]:
        at = event.created_at.ToNanoseconds() / 1e9 if event.HasField("created_at") else now
        kind = event.WhichOneof("event") or ""
        body: Any = getattr(event, kind) if kind else None
        if kind in _PLAIN:
            return [NewEvent(_PLAIN[kind](message=self._shown(body)), at)]
        match kind:
            case "agent_state_changed":
                return self._agent(body.new_state, at)
            case "user_state_changed":
                return self._user(body.new_state, at)
            case "conversation_item_added":
                return self._add([body.item], at)
            case "user_input_transcribed":
                self.partial = "" if body.is_final else body.transcript
                text = body.transcript if self._content else ""
                return [NewEvent(UserTranscribed(text=text), at)] if body.is_final else []
            case "error":
                return [NewEvent(SessionError(text=body.message if self._content else ""), at)]
            case "session_usage_updated":
                self._usage = _plain(body.usage)
                return self._tell_usage(now)
            case "agent_false_interruption":
                return [NewEvent(FalseInterruption(resumed=body.resumed), at)]
        return []

    def _agent(self, value: int, at: float) -> list[NewEvent]:
        state = session_pb.AgentState.Name(value).removeprefix("AS_").lower()
        if state == self._agent_state:
            return []
        self._agent_state = state
        return [NewEvent(AgentStateChanged(state=state), at)]

    def _user(self, value: int, at: float) -> list[NewEvent]:
        state = session_pb.UserState.Name(value).removeprefix("US_").lower()
        if state == self._user_state:
            return []
        self._user_state = state
        return [NewEvent(UserStateChanged(state=state), at)]

    def _add(self, items: Iterable[session_pb.ChatContext.ChatItem], now: float) -> list[NewEvent]:
        events = []
        for item in items:
            kind = item.WhichOneof("item")
            body: Any = getattr(item, kind) if kind else None
            if body is None or not body.id or body.id in self._items:
                continue
            self._items.add(body.id)
            at = body.created_at.ToNanoseconds() / 1e9 if body.HasField("created_at") else now
            events.append(NewEvent(ItemAdded(message=self._shown(item)), at, f"item:{self.job_id}:{body.id}"))
        return events

    def _shown(self, message: Message) -> dict[str, Any]:
        return _plain(message) if self._content else _without_content(_plain(message))

    def _tell_usage(self, now: float, *, anyway: bool = False) -> list[NewEvent]:
        due = anyway or now - self._usage_at >= USAGE_EVERY
        if self._usage is None or self._usage == self._usage_told or not due:
            return []
        self._usage_told, self._usage_at = self._usage, now
        return [NewEvent(UsageUpdated(message=self._usage), now)]

    # Answers

    def _response(self, response: session_pb.SessionResponse, now: float) -> list[NewEvent]:
        asked = self._asked.pop(response.request_id, None)
        if asked is None:
            if response.request_id.startswith(_OWN):
                self.answers[response.request_id] = response
            return []
        events: list[NewEvent] = []
        if response.HasField("get_framework_info"):
            self._framework = response.get_framework_info
        elif response.HasField("get_chat_history"):
            events = self._add(response.get_chat_history.items, now)
        elif response.HasField("get_session_usage"):
            self._usage = _plain(response.get_session_usage.usage)
            events = self._tell_usage(now)
        elif response.HasField("get_session_state"):
            self._state = state = response.get_session_state
            events = [*self._agent(state.agent_state, now), *self._user(state.user_state, now)]
        return [*self._attached(now), *events]

    def _attached(self, now: float) -> list[NewEvent]:
        # Answers come in any order, and an old SDK has none to what it runs.
        state, framework = self._state, self._framework
        if self._observed or state is None or (framework is None and self._asked):
            return []
        self._observed = True
        observed = SessionObserved(
            reason=self._reason,
            agent_identity=self.agent_identity,
            agent_id=state.agent_id,
            framework=framework.sdk if framework is not None else "",
            framework_version=framework.sdk_version if framework is not None else "",
            options=dict(state.options),
            resumed=self._resumed,
        )
        return [NewEvent(observed, now)]


def request_id(mint_id: Callable[[], str]) -> str:
    """Return the id of a request whose answer this process waits for."""
    return _OWN + mint_id()


def _without_content(value: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what was said in it. Kinds, ids, times and measures stay."""
    shown: dict[str, Any] = {}
    for name, part in value.items():
        if name in _CONTENT and not isinstance(part, dict):
            continue
        if isinstance(part, dict):
            shown[name] = _without_content(part)
        elif isinstance(part, list):
            shown[name] = [_without_content(each) if isinstance(each, dict) else each for each in part]
        else:
            shown[name] = part
    return shown


def _plain(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found
