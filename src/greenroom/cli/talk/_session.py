"""Reads what ``livekit-agents`` broadcasts about a session on the byte-stream topic ``lk.agent.session``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from livekit.protocol.agent_pb import agent_session

from greenroom.cli.talk._events import AgentState, Event, Fault, Outcome, Tool

TOPIC: Final = "lk.agent.session"

_OUTCOMES: Final[dict[int, Outcome]] = {
    agent_session.TC_RUNNING: "running",
    agent_session.TC_DONE: "done",
    agent_session.TC_ERROR: "error",
    agent_session.TC_CANCELLED: "cancelled",
}


class SessionReader:
    """Turns messages into events. Agents tell the end of a tool call twice; it is an event once."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def read(self, content: bytes) -> list[Event]:
        """Return the events of one message; what is not shown, or cannot be read, is none."""
        message = agent_session.AgentSessionMessage()
        try:
            message.ParseFromString(content)
        except DecodeError:
            return []
        event = message.event
        match event.WhichOneof("event"):
            case "agent_state_changed":
                name = agent_session.AgentState.Name(event.agent_state_changed.new_state)
                return [AgentState(state=name.removeprefix("AS_").lower())]
            case "tool_execution_updated":
                return list(self._updated(event.tool_execution_updated))
            case "function_tools_started":
                return [tool for call in event.function_tools_started.function_calls for tool in self._started(call)]
            case "function_tools_executed":
                return list(self._executed(event.function_tools_executed))
            case "error":
                return [Fault(message=event.error.message)]
        return []

    def _updated(self, update: Any) -> Iterator[Event]:
        match update.WhichOneof("update"):
            case "started":
                yield from self._started(update.started.function_call)
            case "call_updated":
                yield from self._moved(update.call_updated.call_id, "running", update.call_updated.message)
            case "ended":
                outcome = _OUTCOMES.get(update.ended.status, "done")
                yield from self._moved(update.ended.call_id, outcome, update.ended.message)

    def _executed(self, event: Any) -> Iterator[Event]:
        outputs = {output.call_id: output for output in event.function_call_outputs}
        for call in event.function_calls:
            self._tools.setdefault(call.call_id, _running(call))
            output = outputs.get(call.call_id)
            failed = output is not None and output.is_error
            yield from self._moved(call.call_id, "error" if failed else "done", output.output if output else "")

    def _started(self, call: Any) -> Iterator[Event]:
        if call.call_id not in self._tools:
            self._tools[call.call_id] = _running(call)
            yield self._tools[call.call_id]

    def _moved(self, call_id: str, outcome: Outcome, output: str) -> Iterator[Event]:
        known = self._tools.get(call_id)
        if known is None or known.outcome != "running":
            return
        self._tools[call_id] = Tool(
            call=call_id, name=known.name, arguments=known.arguments, outcome=outcome, output=output
        )
        yield self._tools[call_id]


def _running(call: Any) -> Tool:
    return Tool(call=call.call_id, name=call.name, arguments=call.arguments, outcome="running")
