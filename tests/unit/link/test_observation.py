"""What an agent's session tells, as events, in virtual time."""

from __future__ import annotations

import itertools

import pytest
from livekit.protocol.agent_pb import agent_session as pb

from greenroom.link._observation import USAGE_EVERY, Observation, request_id

pytestmark = pytest.mark.unit

Event = pb.AgentSessionEvent


def event(at: float = 5.0, **body):
    message = Event(**body)
    message.created_at.FromNanoseconds(int(at * 1e9))
    return pb.AgentSessionMessage(event=message).SerializeToString()


def item(item_id: str, text: str = "hello"):
    message = pb.ChatMessage(id=item_id, role=pb.USER, content=[pb.ChatMessage.ChatContent(text=text)])
    message.created_at.FromNanoseconds(4_000_000_000)
    return pb.ChatContext.ChatItem(message=message)


def usage(tokens: int):
    return pb.AgentSessionUsage(model_usage=[pb.ModelUsage(llm=pb.LLMModelUsage(model="m", input_tokens=tokens))])


class Session:
    """An agent's side: answers what the observation asks."""

    def __init__(self, *, content=True):
        numbers = itertools.count(1)
        self.observation = Observation(
            "AJ_1", "agent-AJ_1", "watched", mint_id=lambda: f"{next(numbers)}", content=content
        )
        self.asked = {}
        self.attach()

    def attach(self):
        self.asked = {}
        for payload in self.observation.questions():
            request = pb.AgentSessionMessage.FromString(payload).request
            self.asked[request.WhichOneof("request")] = request.request_id

    def answer(self, kind, now=10.0, error=None, **body):
        response = pb.SessionResponse(request_id=self.asked[kind])
        if error:
            response.error = error
        else:
            getattr(response, kind).SetInParent()
            getattr(response, kind).MergeFrom(type(getattr(response, kind))(**body))
        return self.hear(pb.AgentSessionMessage(response=response).SerializeToString(), now)

    def hear(self, payload, now=10.0):
        return [(type(each.data).__name__, each.at, each.data) for each in self.observation.hear(payload, now)]


@pytest.fixture
def session():
    return Session()


def names(events):
    return [name for name, _, _ in events]


def test_it_asks_for_everything_that_was_before(session):
    assert set(session.asked) == {
        "get_framework_info",
        "get_session_state",
        "get_chat_history",
        "get_session_usage",
    }


def test_the_state_at_the_beginning_is_told_with_who_answers(session):
    session.answer("get_framework_info", sdk="python", sdk_version="1.8.9")
    events = session.answer(
        "get_session_state", agent_state=pb.AS_THINKING, user_state=pb.US_AWAY, agent_id="a", options={"x": "1"}
    )
    assert names(events) == ["SessionObserved", "AgentStateChanged", "UserStateChanged"]
    observed = events[0][2]
    assert (observed.reason, observed.framework, observed.framework_version) == ("watched", "python", "1.8.9")
    assert (observed.agent_id, observed.options, observed.resumed) == ("a", {"x": "1"}, False)
    assert (events[1][2].state, events[2][2].state) == ("thinking", "away")


def test_an_old_agent_that_says_nothing_of_itself_is_observed_all_the_same(session):
    assert names(session.answer("get_session_state", agent_state=pb.AS_IDLE)) == [
        "AgentStateChanged",
        "UserStateChanged",
    ]
    session.answer("get_framework_info", error="unknown")
    session.answer("get_session_usage")
    assert "SessionObserved" in names(session.answer("get_chat_history"))


def test_an_item_is_told_once_whoever_tells_it_first(session):
    added = Event.ConversationItemAdded(item=item("item_1"))
    (told,) = session.hear(event(conversation_item_added=added))
    assert told[:2] == ("ItemAdded", 4.0)
    assert told[2].message["message"]["content"] == [{"text": "hello"}]
    assert session.hear(event(conversation_item_added=added)) == []
    assert names(session.answer("get_chat_history", items=[item("item_1"), item("item_2")])) == ["ItemAdded"]
    keys = [each.key for each in session.observation.hear(event(conversation_item_added=added), 1)]
    assert keys == []


def test_a_state_is_told_when_it_changes(session):
    def state(value):
        return session.hear(event(agent_state_changed=Event.AgentStateChanged(new_state=value)))

    assert [each[2].state for value in (pb.AS_LISTENING, pb.AS_LISTENING, pb.AS_SPEAKING) for each in state(value)] == [
        "listening",
        "speaking",
    ]
    assert session.observation.agent_state == "speaking"


def test_only_what_will_not_change_of_the_users_words_is_told(session):
    partial = Event.UserInputTranscribed(transcript="book a", is_final=False)
    assert session.hear(event(user_input_transcribed=partial)) == []
    assert session.observation.partial == "book a"
    final = Event.UserInputTranscribed(transcript="book a table", is_final=True)
    (told,) = session.hear(event(user_input_transcribed=final))
    assert told[2].text == "book a table"
    assert session.observation.partial == ""


def test_usage_is_told_now_and_then_and_at_the_end(session):
    def used(tokens, now):
        return names(session.hear(event(session_usage_updated=Event.SessionUsageUpdated(usage=usage(tokens))), now))

    assert used(1, 100.0) == ["UsageUpdated"]
    assert used(2, 101.0) == []
    assert used(3, 100.0 + USAGE_EVERY) == ["UsageUpdated"]
    assert used(3, 140.0 + USAGE_EVERY) == []
    assert used(4, 141.0) == []
    (last,) = session.observation.end("left", 142.0)
    assert last.data.message["model_usage"][0]["llm"]["input_tokens"] == 4


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"function_tools_executed": Event.FunctionToolsExecuted()}, "ToolsExecuted"),
        ({"tool_execution_updated": Event.ToolExecutionUpdated()}, "ToolUpdated"),
        ({"overlapping_speech": Event.OverlappingSpeech(is_interruption=True)}, "Overlap"),
        ({"amd_prediction": Event.AmdPrediction()}, "AmdPredicted"),
        ({"eot_prediction": Event.EotPrediction(probability=0.5)}, "EotPredicted"),
        ({"agent_false_interruption": Event.AgentFalseInterruption(resumed=True)}, "FalseInterruption"),
        ({"error": Event.Error(message="boom")}, "SessionError"),
    ],
)
def test_every_other_event_has_its_own(session, body, name):
    (told,) = session.hear(event(at=7.5, **body))
    assert told[:2] == (name, 7.5)


def test_what_is_said_to_others_and_what_is_nothing_is_left_aside(session):
    foreign = pb.SessionResponse(request_id="req_1", get_chat_history=pb.SessionResponse.GetChatHistoryResponse())
    assert session.hear(pb.AgentSessionMessage(response=foreign).SerializeToString()) == []
    assert session.hear(b"\xff\xff") == []
    assert session.hear(b"") == []
    assert session.hear(event()) == []
    assert session.hear(event(debug_message=pb.DebugMessage())) == []
    assert session.observation.answers == {}


def test_the_answer_to_a_request_is_kept_for_who_asked(session):
    asked = request_id(lambda: "mine")
    response = pb.SessionResponse(request_id=asked, pong=pb.SessionResponse.Pong())
    session.hear(pb.AgentSessionMessage(response=response).SerializeToString())
    assert session.observation.answers[asked].HasField("pong")


def test_listening_again_after_a_loss_says_so_and_repeats_nothing(session):
    session.answer("get_framework_info")
    session.answer("get_session_state", agent_state=pb.AS_IDLE)
    session.answer("get_chat_history", items=[item("item_1")])
    before = dict(session.asked)
    session.attach()
    assert not set(before.values()) & set(session.asked.values())
    session.answer("get_framework_info")
    events = session.answer("get_session_state", agent_state=pb.AS_IDLE)
    assert names(events) == ["SessionObserved"]
    assert events[0][2].resumed
    assert session.answer("get_chat_history", items=[item("item_1")]) == []


def test_the_end_is_told_only_of_what_had_begun(session):
    assert session.observation.end("left", 1) == []
    session.answer("get_framework_info")
    session.answer("get_session_state")
    (ended,) = session.observation.end("unwatched", 2)
    assert ended.data.reason == "unwatched"


def test_a_session_that_is_not_recorded_tells_that_something_was_said_not_what():
    session = Session(content=False)
    call = pb.FunctionCall(id="c", call_id="1", name="book", arguments='{"name": "hush"}')
    output = pb.FunctionCallOutput(id="o", call_id="1", name="book", output="hush")
    update = Event.ToolExecutionUpdated(ended=Event.ToolExecutionUpdated.Ended(id="e", call_id="1", message="hush"))
    told = [
        *session.hear(event(conversation_item_added=Event.ConversationItemAdded(item=item("item_1", "hush")))),
        *session.hear(event(user_input_transcribed=Event.UserInputTranscribed(transcript="hush", is_final=True))),
        *session.hear(
            event(
                function_tools_executed=Event.FunctionToolsExecuted(
                    function_calls=[call], function_call_outputs=[output]
                )
            )
        ),
        *session.hear(event(tool_execution_updated=update)),
        *session.hear(event(error=Event.Error(message="hush"))),
        *session.hear(event(amd_prediction=Event.AmdPrediction(transcript="hush", reason="hush"))),
    ]
    assert names(told) == [
        "ItemAdded",
        "UserTranscribed",
        "ToolsExecuted",
        "ToolUpdated",
        "SessionError",
        "AmdPredicted",
    ]
    assert "hush" not in repr(told)
    message = told[0][2].message["message"]
    assert (message["id"], message["role"]) == ("item_1", "USER")
    assert told[2][2].message["function_calls"][0]["name"] == "book"
    assert told[3][2].message["ended"]["call_id"] == "1"
