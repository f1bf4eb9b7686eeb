"""Explanations of rooms: from the events of the log to a sentence that names the cause."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.eventlog import Record
from greenroom.link import (
    AgentStateChanged,
    ControlEnd,
    ControlFailed,
    ControlMute,
    DispatchEnded,
    DispatchPending,
    JobAssigned,
    JobEnded,
    JobInfo,
    ParticipantJoined,
    ParticipantLeft,
    RoomFinished,
    RoomStarted,
    SessionError,
    SessionObserved,
    TrackPublished,
    WorkerGone,
    WorkerInfo,
)
from greenroom.sessions import SessionReport
from greenroom.sessions.why import Why, explain

pytestmark = pytest.mark.unit

START = 1_800_000_000.0
JOB = JobInfo(
    id="AJ_1", room="lobby", room_sid="RM_1", agent_name="desk", worker_id="AW_1", agent_identity="agent-AJ_1"
)
AGENT = {"identity": "agent-AJ_1", "kind": "AGENT"}
SESSION, ROOM, WORKERS = "session:AJ_1", "room:RM_1", "system:workers"
_TYPES = {
    AgentStateChanged: "agent.state",
    ControlEnd: "control.end",
    ControlFailed: "control.failed",
    ControlMute: "control.mute",
    DispatchEnded: "dispatch.ended",
    DispatchPending: "dispatch.pending",
    JobAssigned: "job.assigned",
    JobEnded: "job.ended",
    ParticipantJoined: "participant.joined",
    ParticipantLeft: "participant.left",
    RoomFinished: "room.finished",
    RoomStarted: "room.started",
    SessionError: "session.error",
    SessionObserved: "session.observed",
    SessionReport: "session.report",
    TrackPublished: "track.published",
    WorkerGone: "worker.gone",
}


class Story:
    """Events of a room, a second apart."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def tell(self, stream: str, data: msgspec.Struct) -> Story:
        number = len(self.records) + 1
        self.records.append(
            Record(
                position=number,
                tenant="",
                stream=stream,
                seq=number,
                type=_TYPES[type(data)],
                version=1,
                at=START + number,
                recorded_at=START + number,
                key="",
                data=data,
                hash=b"",
            )
        )
        return self

    def room(self, kind: Any, identity: str = "", **more: Any) -> Story:
        message: dict[str, Any] = {"room": {"sid": "RM_1", "name": "lobby"}}
        if identity:
            agent = {"kind": "AGENT"} if identity.startswith("agent-") else {}
            reason = {"disconnectReason": more.pop("reason")} if "reason" in more else {}
            message["participant"] = {"sid": f"PA_{identity}", "identity": identity, **agent, **reason}
        return self.tell(ROOM, kind(message=message | more))

    def begun(self) -> Story:
        return self.room(RoomStarted).room(ParticipantJoined, "ada")

    def talking(self) -> Story:
        """A call in progress, both sides with sound."""
        self.begun().tell(WORKERS, JobAssigned(job=JOB)).room(ParticipantJoined, "agent-AJ_1")
        for identity in ("ada", "agent-AJ_1"):
            self.room(TrackPublished, identity, track={"sid": f"TR_{identity}", "source": "MICROPHONE"})
        return self.tell(SESSION, AgentStateChanged(state="listening"))

    def over(self, **job: Any) -> Story:
        return self.tell(WORKERS, JobEnded(job=msgspec.structs.replace(JOB, **{"status": "success", **job})))

    def why(self, after: float = 1.0, *, tells_workers: bool = True) -> Why:
        return explain("lobby", self.records, now=START + len(self.records) + after, tells_workers=tells_workers)


def test_a_room_that_asked_for_no_agent_says_how_to_ask() -> None:
    found = Story().begun().why()
    assert (found.verdict, found.status) == ("not_asked", "live")
    assert found.answer == ("No agent was asked to come to 'lobby': the log holds no dispatch for it.",)
    assert "greenroom token --room lobby --agent NAME" in found.fix


def test_a_server_that_tells_of_no_dispatches_is_not_taken_at_its_silence() -> None:
    assert "one may wait there unseen" in Story().begun().why(tells_workers=False).answer[1]


def test_a_job_that_waits_says_for_what_and_what_to_do() -> None:
    job = msgspec.structs.replace(JOB, why="no worker for the agent 'desk' is connected", fix="Start that agent")
    found = Story().begun().tell(WORKERS, DispatchPending(job=job)).why(after=4)
    assert found.verdict == "waiting"
    assert found.answer == ("'desk' is not there: its job waits, no worker for the agent 'desk' is connected (4 s).",)
    assert found.fix == "Start that agent"
    assert [each.position for each in found.evidence] == [1, 2, 3]


def test_a_job_that_nobody_took_says_so() -> None:
    waits = msgspec.structs.replace(JOB, why="all are full", fix="Start another worker")
    failed = msgspec.structs.replace(JOB, status="failed", error="no worker took the job within 60 s")
    found = Story().begun().tell(WORKERS, DispatchPending(job=waits)).tell(WORKERS, DispatchEnded(job=failed)).why()
    assert found.verdict == "no_worker"
    assert found.answer == ("No worker took the job of 'desk': no worker took the job within 60 s.",)
    assert found.fix == "Start another worker"


@pytest.mark.parametrize(("waited", "advised"), [(3.0, False), (30.0, True)])
def test_an_agent_that_does_not_join_is_the_workers_affair(waited: float, advised: bool) -> None:
    found = Story().begun().tell(WORKERS, JobAssigned(job=JOB)).why(after=waited)
    assert (found.verdict, bool(found.fix)) == ("starting", advised)


def test_a_call_in_order_is_said_to_be_in_order() -> None:
    found = Story().talking().why()
    assert (found.verdict, found.answer, found.fix) == ("running", ("'desk' is in the room and is listening.",), "")


def test_a_muted_agent_is_silent_and_who_muted_it_is_named() -> None:
    found = Story().talking().tell(SESSION, ControlMute(by="eve", muted=True)).why()
    assert found.verdict == "silent"
    assert found.answer[1] == "It cannot be heard: eve muted it 1 s ago."


@pytest.mark.parametrize(
    "undone",
    [ControlMute(by="eve", muted=False), ControlFailed(by="eve", verb="mute", error="no answer")],
)
def test_an_agent_that_is_not_muted_any_more_is_not_silent(undone: msgspec.Struct) -> None:
    assert (
        Story().talking().tell(SESSION, ControlMute(by="eve", muted=True)).tell(SESSION, undone).why().verdict
        == "running"
    )


def test_an_agent_that_thinks_for_long_waits_for_something() -> None:
    story = Story().talking().tell(SESSION, AgentStateChanged(state="thinking"))
    assert story.why(after=2).verdict == "running"
    found = story.why(after=42)
    assert found.verdict == "silent"
    assert found.answer[1] == "It waits for its model or a tool, for 42 s now."


def test_an_agent_that_errs_and_says_no_more_is_silent_because_of_it() -> None:
    found = Story().talking().tell(SESSION, SessionError(text="tts: 401 Unauthorized")).why()
    assert found.answer[1] == "Since its last error it has said nothing: tts: 401 Unauthorized."


def test_a_user_without_a_microphone_is_only_called_mute_where_somebody_listened() -> None:
    def story() -> Story:
        return Story().begun().tell(WORKERS, JobAssigned(job=JOB)).room(ParticipantJoined, "agent-AJ_1")

    assert story().why().verdict == "running"
    found = story().tell(SESSION, SessionObserved(reason="watched")).why()
    assert found.verdict == "silent"
    assert "ada sent neither sound nor text" in found.answer[1]


def test_an_agent_alone_waits_for_people() -> None:
    found = Story().talking().room(ParticipantLeft, "ada").why()
    assert (found.verdict, found.answer[1]) == ("alone", "Nobody is there to talk to it.")


def test_a_call_that_its_user_ended_names_the_user() -> None:
    story = Story().talking().room(ParticipantLeft, "ada", reason="CLIENT_INITIATED")
    story.room(ParticipantLeft, "agent-AJ_1", reason="ROOM_CLOSED").room(RoomFinished)
    story.tell(SESSION, SessionReport(close_reason="participant_disconnected")).tell(SESSION, SessionReport())
    found = story.over().why()
    assert (found.verdict, found.status, found.sessions) == ("ended", "ended", ("AJ_1",))
    assert found.answer == ("'desk' is gone: its user had left.", "ada hung up.", "The room has ended.")


def test_a_call_that_an_operator_ended_names_the_operator() -> None:
    story = Story().talking().tell(SESSION, ControlEnd(by="eve", scope="room"))
    found = story.room(ParticipantLeft, "agent-AJ_1", reason="ROOM_DELETED").room(RoomFinished).over().why()
    assert found.answer == ("'desk' is gone: eve ended the call.", "The room has ended.")


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ((SESSION, SessionReport(close_reason="user_initiated")), "its own program closed the session"),
        ((WORKERS, WorkerGone(worker=WorkerInfo(id="AW_1"))), "its worker is gone"),
    ],
)
def test_an_agent_that_leaves_people_behind_says_why(told: tuple[str, msgspec.Struct], cause: str) -> None:
    found = Story().talking().tell(*told).room(ParticipantLeft, "agent-AJ_1").over().why()
    assert found.verdict == "agent_left"
    assert found.answer == (f"'desk' is gone: {cause}.", "ada is still there.")


@pytest.mark.parametrize("reported", ["before it is back", "after it is back"])
def test_an_agent_that_goes_on_in_another_process_is_there(reported: str) -> None:
    closed = SessionReport(close_reason="user_initiated")
    story = Story().talking().room(ParticipantLeft, "agent-AJ_1", reason="CLIENT_INITIATED")
    if reported == "before it is back":
        story.tell(SESSION, closed)
    story.room(ParticipantJoined, "agent-AJ_1", participant={**AGENT, "sid": "PA_again"})
    if reported == "after it is back":
        story.tell(SESSION, closed)
    found = story.tell(SESSION, AgentStateChanged(state="listening")).why()
    assert found.answer[0] == "'desk' is in the room and is listening."


def test_what_nobody_tells_is_not_made_up() -> None:
    found = Story().talking().room(ParticipantLeft, "agent-AJ_1", reason="CLIENT_INITIATED").over(status="").why()
    assert found.answer[0] == "'desk' is gone; nothing in the log says why."
    assert found.fix


def test_a_job_that_failed_says_how() -> None:
    found = Story().talking().over(status="failed", error="the process died").why()
    assert (found.verdict, found.answer[0]) == ("failed", "'desk' is gone: its job failed, the process died.")


def test_a_worker_that_goes_after_the_call_is_no_evidence() -> None:
    story = Story().talking().over().tell(WORKERS, WorkerGone(worker=WorkerInfo(id="AW_1")))
    assert "worker.gone" not in {each.type for each in story.why().evidence}


def test_a_room_that_no_webhook_told_of_is_explained_by_its_jobs() -> None:
    found = Story().tell(WORKERS, JobAssigned(job=JOB)).tell(SESSION, AgentStateChanged(state="speaking")).why()
    assert (found.room, found.room_sid, found.status) == ("lobby", "RM_1", "live")
    assert found.answer == ("'desk' is in the room and is speaking.",)


def test_the_worst_of_several_agents_decides() -> None:
    waits = msgspec.structs.replace(JOB, id="AJ_2", agent_name="boss", why="all are full", fix="Start another")
    found = Story().talking().tell(WORKERS, DispatchPending(job=waits)).why()
    assert (found.verdict, found.fix, len(found.answer)) == ("waiting", "Start another", 2)


def test_who_listens_unseen_is_nobody() -> None:
    story = Story().begun()
    hidden = {"room": {"sid": "RM_1"}, "participant": {"sid": "PA_x", "identity": "x", "permission": {"hidden": True}}}
    found = story.tell(ROOM, ParticipantJoined(message=hidden)).why()
    assert [each.what for each in found.evidence] == ["the room began", "ada joined"]


def test_erased_events_say_nothing() -> None:
    story = Story().talking()
    erased = [msgspec.structs.replace(record, data=None) for record in story.records]
    found = explain("lobby", erased, now=START)
    assert (found.verdict, found.evidence) == ("not_asked", ())
