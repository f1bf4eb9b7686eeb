"""What an agent's session tells becomes events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.agent_pb import agent_session as pb

from greenroom.cli.talk._events import AgentState, Event, Fault, Tool
from greenroom.cli.talk._session import SessionReader

pytestmark = pytest.mark.unit

CALL = pb.FunctionCall(call_id="c1", name="look", arguments="{}")
RUNNING = Tool(call="c1", name="look", arguments="{}", outcome="running")
Update = pb.AgentSessionEvent.ToolExecutionUpdated


def content(**event: Any) -> bytes:
    return pb.AgentSessionMessage(event=pb.AgentSessionEvent(**event)).SerializeToString()


def read(*contents: bytes) -> list[Event]:
    reader = SessionReader()
    return [event for one in contents for event in reader.read(one)]


def started() -> bytes:
    return content(tool_execution_updated=Update(started=Update.Started(function_call=CALL)))


def ended(status: int, message: str | None = None) -> bytes:
    return content(tool_execution_updated=Update(ended=Update.Ended(call_id="c1", status=status, message=message)))  # type: ignore[arg-type]


def executed(**output: Any) -> bytes:
    outputs = [pb.FunctionCallOutput(call_id="c1", **output)] if output else []
    executed = pb.AgentSessionEvent.FunctionToolsExecuted(function_calls=[CALL], function_call_outputs=outputs)
    return content(function_tools_executed=executed)


def outcome(event: Event) -> tuple[str, str]:
    assert isinstance(event, Tool)
    return event.outcome, event.output


def test_a_state_has_the_name_that_the_attribute_has() -> None:
    changed = pb.AgentSessionEvent.AgentStateChanged(new_state=pb.AS_THINKING)
    assert read(content(agent_state_changed=changed)) == [AgentState(state="thinking")]


def test_an_error_is_told() -> None:
    assert read(content(error=pb.AgentSessionEvent.Error(message="no model"))) == [Fault(message="no model")]


def test_a_tool_call_begins_and_ends_once() -> None:
    first, *rest = read(started(), ended(pb.TC_DONE, "sunny"), executed(output="sunny"))
    assert first == RUNNING
    assert [outcome(event) for event in rest] == [("done", "sunny")]


def test_a_tool_call_that_only_ended_is_told_too() -> None:
    assert [outcome(event) for event in read(executed(output="boom", is_error=True))] == [("error", "boom")]
    assert [outcome(event) for event in read(executed())] == [("done", "")]


@pytest.mark.parametrize(
    ("status", "expected"), [(pb.TC_ERROR, "error"), (pb.TC_CANCELLED, "cancelled"), (pb.TC_DONE, "done")]
)
def test_how_a_tool_call_ended(status: int, expected: str) -> None:
    assert [outcome(event)[0] for event in read(started(), ended(status))] == ["running", expected]


def test_progress_is_told_while_the_call_runs() -> None:
    update = content(tool_execution_updated=Update(call_updated=Update.CallUpdated(call_id="c1", message="half way")))
    assert [outcome(event) for event in read(update, started(), update, ended(pb.TC_DONE), update)] == [
        ("running", ""),
        ("running", "half way"),
        ("done", ""),
    ]


def test_what_is_not_shown_is_nothing() -> None:
    assert read(content(user_state_changed=pb.AgentSessionEvent.UserStateChanged())) == []
    assert read(pb.AgentSessionMessage(response=pb.SessionResponse(request_id="1")).SerializeToString()) == []


@given(st.binary(max_size=64))
def test_garbage_is_no_event_or_some_event(garbage: bytes) -> None:
    SessionReader().read(garbage)
