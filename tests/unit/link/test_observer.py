"""What the observer decides, with a process that only writes down what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from livekit.protocol.agent_pb import agent_session as pb

from greenroom.config import ApiKey
from greenroom.errors import MissingExtraError
from greenroom.eventlog import EventTooLargeError, LogFullError, NewEvent
from greenroom.grants import verify
from greenroom.link import Call, LinkError, LiveKit, NotFoundError, ObservePolicy, Observer, When
from greenroom.link import _observer as module
from greenroom.link._pipe import Arrived, Attach, Attached, Command, Detach, Heard, Left, Say

pytestmark = pytest.mark.unit

KEY = ApiKey(key="k", secret="a secret that is long enough to be one")
CALL = Call(job_id="AJ_1", room="lobby", agent_identity="agent-AJ_1")


class FakeProcess:
    """Is there when it is wanted, unless :attr:`broken`."""

    def __init__(self, on_report, on_up, on_down):
        self.report, self.on_up, self.on_down = on_report, on_up, on_down
        self.sent: list[Command] = []
        self.up = self.broken = self.wanted = False
        self.pid = None

    def want(self, needed):
        self.wanted = needed
        if needed and not self.up and not self.broken:
            self.up = True
            self.on_up()

    def send(self, command):
        if self.up:
            self.sent.append(command)
        return self.up

    def die(self):
        self.up, self.broken = False, True
        self.on_down()

    def revive(self):
        self.broken, self.up = False, True
        self.on_up()

    async def aclose(self):
        self.up = False

    def of(self, kind):
        return [command for command in self.sent if isinstance(command, kind)]


class Stage:
    def __init__(self, **policy):
        self.now = 1000.0
        self.stored: list[tuple[str, NewEvent]] = []
        self.failures: list[Exception] = []
        self.livekit = LiveKit("ws://livekit.example/", KEY)
        self.observer = Observer(
            self.livekit, self.append, ObservePolicy(**{"when": When.ALWAYS, **policy}), clock=lambda: self.now
        )
        self.process: FakeProcess = self.observer._process

    async def append(self, stream: str, events: Sequence[NewEvent]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if any(getattr(event.data, "text", "") == "too large" for event in events):
            raise EventTooLargeError("An event is too large")
        self.stored += [(stream, event) for event in events]

    async def attached(self, call: Call = CALL) -> int:
        """Have the observer listen to a call; returns the number of the room."""
        self.observer.began(call)
        number = self.process.of(Attach)[-1].number
        await self.process.report(Attached(number, present=True))
        return number

    async def answer(self, number: int, kind: str, **body: object) -> None:
        """Answer the latest question of a kind, as the agent."""
        for command in reversed(self.process.of(Say)):
            request = pb.AgentSessionMessage.FromString(command.payload).request
            if request.WhichOneof("request") == kind:
                response = pb.SessionResponse(request_id=request.request_id, **body)
                if "error" not in body:
                    getattr(response, kind if kind != "ping" else "pong").SetInParent()
                payload = pb.AgentSessionMessage(response=response).SerializeToString()
                await self.process.report(Heard(number, payload))
                return
        raise AssertionError(f"nobody asked for {kind}")

    async def error(self, number: int, text: str) -> None:
        """Have the session tell of an error."""
        event = pb.AgentSessionEvent(error=pb.AgentSessionEvent.Error(message=text))
        await self.process.report(Heard(number, pb.AgentSessionMessage(event=event).SerializeToString()))

    async def told(self) -> list[str]:
        await self.observer.flush()
        return [type(event.data).__name__ for _, event in self.stored]


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(module, "ObserverProcess", FakeProcess)
    return Stage


@pytest.fixture
async def stage(make):
    made = make()
    yield made
    await made.observer.aclose()


async def test_it_joins_hidden_as_an_agent_that_only_sends_data(stage):
    await stage.attached()
    (attach,) = stage.process.of(Attach)
    assert (attach.url, attach.agent) == ("ws://livekit.example", "agent-AJ_1")
    claims = verify(attach.token, [KEY]).claims
    video = claims.video
    assert claims.kind == "agent"
    assert claims.identity.startswith("greenroom-observer-")
    assert (video.room, video.hidden, video.may_manage_agent_session) == ("lobby", True, True)
    assert (video.may_publish, video.may_publish_data, video.may_subscribe) == (False, True, True)
    assert not any((video.room_admin, video.may_update_own_metadata))


async def test_it_asks_when_the_agent_is_there_and_again_when_it_comes_back(stage):
    stage.observer.began(CALL)
    number = stage.process.of(Attach)[0].number
    await stage.process.report(Attached(number, present=False))
    assert stage.process.of(Say) == []
    assert stage.observer.observed == frozenset()
    await stage.process.report(Arrived(number))
    assert len(stage.process.of(Say)) == 4
    assert stage.observer.observed == {"AJ_1"}


async def test_a_call_that_is_told_of_twice_is_joined_once(stage):
    stage.observer.began(CALL)
    stage.observer.began(CALL)
    assert len(stage.process.of(Attach)) == 1


async def test_an_agent_with_another_identity_is_listened_to_anew(stage):
    number = await stage.attached()
    stage.observer.began(Call(job_id="AJ_1", room="lobby", agent_identity="agent-2"))
    assert [command.number for command in stage.process.of(Detach)] == [number]
    assert [command.agent for command in stage.process.of(Attach)] == ["agent-AJ_1", "agent-2"]


async def test_what_is_heard_goes_into_the_stream_of_its_session(stage):
    number = await stage.attached()
    await stage.error(number, "boom")
    assert await stage.told() == ["SessionError"]
    assert stage.stored[0][0] == "session:AJ_1"


async def test_a_room_that_has_been_left_is_not_heard_any_more(stage):
    number = await stage.attached()
    stage.observer.ended("AJ_1")
    await stage.error(number, "boom")
    assert await stage.told() == []
    assert not stage.process.wanted


async def test_a_lost_room_is_joined_again_later_and_later(stage):
    await stage.attached()
    for delay in (1, 2, 4):
        number = stage.process.of(Attach)[-1].number
        joins = len(stage.process.of(Attach))
        await stage.process.report(Left(number, "refused", "no such room"))
        stage.now += delay - 0.01
        stage.observer._review()
        assert len(stage.process.of(Attach)) == joins
        stage.now += 0.02
        stage.observer._review()
        assert len(stage.process.of(Attach)) == joins + 1


async def test_a_room_that_has_ended_is_not_joined_again(stage):
    number = await stage.attached()
    await stage.process.report(Left(number, "ended"))
    stage.now += 3600
    stage.observer._review()
    assert len(stage.process.of(Attach)) == 1
    assert not stage.process.wanted


async def test_a_process_that_dies_takes_nothing_along(stage):
    await stage.attached()
    stage.process.die()
    assert stage.observer.observed == frozenset()
    stage.process.revive()
    assert len(stage.process.of(Attach)) == 2
    number = stage.process.of(Attach)[-1].number
    await stage.process.report(Attached(number, present=True))
    assert stage.observer.observed == {"AJ_1"}


async def test_who_looks_away_is_given_ten_seconds(make):
    stage = make(when=When.WATCHED)
    stage.observer.began(CALL)
    assert stage.process.of(Attach) == []
    with stage.observer.watching("AJ_1"):
        assert len(stage.process.of(Attach)) == 1
    stage.now += 9.9
    stage.observer._review()
    assert stage.process.of(Detach) == []
    stage.now += 0.2
    stage.observer._review()
    assert len(stage.process.of(Detach)) == 1
    await stage.observer.aclose()


class TestAsking:
    async def test_the_answer_comes_to_who_asked(self, stage):
        number = await stage.attached()
        asking = asyncio.create_task(stage.observer.ask("AJ_1", pb.SessionRequest(ping=pb.SessionRequest.Ping())))
        await asyncio.sleep(0)
        await stage.answer(number, "ping")
        assert (await asking).HasField("pong")

    async def test_an_error_of_the_agent_is_one_here(self, stage):
        number = await stage.attached()
        asking = asyncio.create_task(stage.observer.ask("AJ_1", pb.SessionRequest(ping=pb.SessionRequest.Ping())))
        await asyncio.sleep(0)
        await stage.answer(number, "ping", error="internal error")
        with pytest.raises(LinkError, match="refused: internal error"):
            await asking

    async def test_a_question_waits_for_the_agent(self, stage):
        stage.observer.began(CALL)
        asking = asyncio.create_task(stage.observer.ask("AJ_1", pb.SessionRequest(ping=pb.SessionRequest.Ping())))
        await asyncio.sleep(0)
        assert stage.process.of(Say) == []
        number = stage.process.of(Attach)[0].number
        await stage.process.report(Attached(number, present=True))
        await asyncio.sleep(0)
        await stage.answer(number, "ping")
        assert await asking

    async def test_silence_is_an_error(self, stage):
        await stage.attached()
        with pytest.raises(LinkError, match=r"did not answer within 0\.01 s"):
            await stage.observer.ask("AJ_1", pb.SessionRequest(ping=pb.SessionRequest.Ping()), timeout=0.01)

    async def test_a_question_that_may_have_been_heard_is_not_asked_again(self, stage):
        await stage.attached()
        text = pb.SessionRequest(run_input=pb.SessionRequest.RunInput(text="hello"))
        asking = asyncio.create_task(stage.observer.ask("AJ_1", text))
        await asyncio.sleep(0)
        stage.process.die()
        with pytest.raises(LinkError, match="lost before its agent answered"):
            await asking
        said = len(stage.process.of(Say))
        stage.process.revive()
        assert len(stage.process.of(Say)) == said

    async def test_nobody_is_asked_who_is_not_there(self, stage):
        with pytest.raises(NotFoundError, match="No job 'AJ_9' runs"):
            await stage.observer.ask("AJ_9", pb.SessionRequest(ping=pb.SessionRequest.Ping()))

    async def test_without_the_sdk_the_install_line_is_said(self, stage, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        stage.observer.began(CALL)
        with pytest.raises(MissingExtraError, match=r"pip install 'greenroom\[observe\]'"):
            await stage.observer.ask("AJ_1", pb.SessionRequest(ping=pb.SessionRequest.Ping()))


async def test_without_the_sdk_nothing_is_started_and_that_is_said_once(stage, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    stage.observer.began(CALL)
    stage.observer.began(Call(job_id="AJ_2", room="lobby", agent_identity="agent-AJ_2"))
    assert not stage.process.wanted
    assert caplog.text.count("sessions cannot be listened to") == 1


class TestLog:
    async def test_an_event_that_is_too_large_does_not_take_the_others_along(self, stage):
        number = await stage.attached()
        for text in ("one", "too large", "two"):
            await stage.error(number, text)
        await stage.told()
        assert [event.data.text for _, event in stage.stored] == ["one", "two"]

    async def test_a_log_that_fails_once_loses_what_it_was_given_and_nothing_after(self, stage, caplog):
        number = await stage.attached()
        stage.failures = [LogFullError("The disk is full")]
        await stage.error(number, "lost")
        await stage.told()
        await stage.error(number, "kept")
        await stage.told()
        assert [event.data.text for _, event in stage.stored] == ["kept"]
        assert "could not be stored" in caplog.text

    async def test_the_end_is_in_the_log_before_it_is_closed(self, make):
        stage = make()
        number = await stage.attached()
        await stage.answer(number, "get_framework_info")
        await stage.answer(number, "get_session_state")
        await stage.observer.aclose()
        assert (await stage.told())[-1] == "SessionDetached"
