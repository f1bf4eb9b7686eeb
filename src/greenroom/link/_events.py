"""What the log says of a LiveKit server: the shapes of its events. ``docs/live-events.md`` tells who appends which.

Events of a room are in the stream ``room:<room sid>``, those of a session in ``session:<job id>``, those of
workers in ``system:workers``. A ``message`` is LiveKit's own, as protojson. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.eventlog import event
from greenroom.link._workers import JobInfo, WorkerInfo


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payload: what is not set is not written."""


class RoomEvent(_Data, frozen=True):
    """Something that happened in a room: the official ``WebhookEvent``, as it is sent.

    :param inferred: nobody told of it; that it must have happened follows from what was told, or from
        asking the API, and the message holds no more than what is known.
    """

    message: dict[str, Any]
    inferred: bool = False


@event("room.started")
class RoomStarted(RoomEvent, frozen=True):
    """A room exists."""


@event("room.finished")
class RoomFinished(RoomEvent, frozen=True):
    """A room has ended; nobody is in it any more."""


@event("participant.joined")
class ParticipantJoined(RoomEvent, frozen=True):
    """A participant's media is up."""


@event("participant.left")
class ParticipantLeft(RoomEvent, frozen=True):
    """A participant is gone."""


@event("participant.connection_aborted")
class ParticipantConnectionAborted(RoomEvent, frozen=True):
    """A participant was gone before its media was up."""


@event("track.published")
class TrackPublished(RoomEvent, frozen=True):
    """A track exists."""


@event("track.unpublished")
class TrackUnpublished(RoomEvent, frozen=True):
    """A track has ended."""


@event("egress.started")
class EgressStarted(RoomEvent, frozen=True):
    """A recording or stream has begun."""


@event("egress.updated")
class EgressUpdated(RoomEvent, frozen=True):
    """A recording or stream has changed."""


@event("egress.ended")
class EgressEnded(RoomEvent, frozen=True):
    """A recording or stream has ended."""


@event("ingress.started")
class IngressStarted(RoomEvent, frozen=True):
    """An ingress has begun."""


@event("ingress.ended")
class IngressEnded(RoomEvent, frozen=True):
    """An ingress has ended."""


class WorkerEvent(_Data, frozen=True):
    """Something about a worker, as it is then."""

    worker: WorkerInfo


@event("worker.seen")
class WorkerSeen(WorkerEvent, frozen=True):
    """A worker has registered."""


@event("worker.changed")
class WorkerChanged(WorkerEvent, frozen=True):
    """A worker's status, jobs or load have changed; a load by a tenth at least."""


@event("worker.gone")
class WorkerGone(WorkerEvent, frozen=True):
    """A worker's connection is gone; as it was last."""


class JobEvent(_Data, frozen=True):
    """Something about a job, as it is then."""

    job: JobInfo


@event("job.assigned")
class JobAssigned(JobEvent, frozen=True):
    """A worker has a job; again, when another has it from now on."""


@event("job.ended")
class JobEnded(JobEvent, frozen=True):
    """A job that a worker had is over. ``status`` is empty when nobody knows how."""


@event("dispatch.pending")
class DispatchPending(JobEvent, frozen=True):
    """A job waits for a worker, and why."""


@event("dispatch.ended")
class DispatchEnded(JobEvent, frozen=True):
    """A job that waited got no worker: nobody wanted it any more, or its time was over."""


@event("session.observed")
class SessionObserved(_Data, frozen=True):
    """The observer listens to a session.

    :param reason: the policy that let it: ``watched``, ``sampled`` or ``always``.
    :param framework: the agent's SDK, ``python`` or ``node``, and its version.
    :param resumed: it had listened before and lost the connection.
    """

    reason: str
    agent_identity: str = ""
    agent_id: str = ""
    framework: str = ""
    framework_version: str = ""
    options: dict[str, str] = {}
    resumed: bool = False


@event("session.detached")
class SessionDetached(_Data, frozen=True):
    """The observer listens no longer: ``unwatched``, ``left`` (the agent), ``ended`` (the room) or ``lost``."""

    reason: str


@event("agent.state")
class AgentStateChanged(_Data, frozen=True):
    """The agent is ``initializing``, ``idle``, ``listening``, ``thinking`` or ``speaking``.

    :param polled: the state was found by asking now and then; others may have come between.
    """

    state: str
    polled: bool = False


@event("user.state")
class UserStateChanged(_Data, frozen=True):
    """The user is ``speaking``, ``listening`` or ``away``."""

    state: str


@event("user.transcribed")
class UserTranscribed(_Data, frozen=True):
    """What the user said, when nothing of it will change any more."""

    text: str


class SessionMessage(_Data, frozen=True):
    """Something in a session: the official message, its fields named as in the protocol."""

    message: dict[str, Any]


@event("item.added")
class ItemAdded(SessionMessage, frozen=True):
    """An item of the conversation: ``ChatContext.ChatItem``. It is told once, under its own id."""


@event("tools.executed")
class ToolsExecuted(SessionMessage, frozen=True):
    """Tools have been called and have answered."""


@event("tool.updated")
class ToolUpdated(SessionMessage, frozen=True):
    """A tool call has begun, told of its progress, or ended."""


@event("usage.updated")
class UsageUpdated(SessionMessage, frozen=True):
    """What the session has used so far: ``AgentSessionUsage``. Only now and then, and at the end."""


@event("session.error")
class SessionError(_Data, frozen=True):
    """The session tells of an error in its own words."""

    text: str


@event("overlap")
class Overlap(SessionMessage, frozen=True):
    """The user spoke while the agent did."""


@event("amd")
class AmdPredicted(SessionMessage, frozen=True):
    """Who answered: a person or a machine."""


@event("eot")
class EotPredicted(SessionMessage, frozen=True):
    """How likely it was that the user had finished."""


@event("false_interruption")
class FalseInterruption(_Data, frozen=True):
    """The user had not interrupted after all; whether the agent went on."""

    resumed: bool


class ControlEvent(_Data, frozen=True):
    """Somebody is about to do something to a call.

    :param by: who, as the control plane knows them.
    """

    by: str


@event("control.listen")
class ControlListen(ControlEvent, frozen=True):
    """Somebody was given a token to listen with, hidden, as ``identity``, until ``expires_at``."""

    identity: str
    expires_at: float


@event("control.type")
class ControlType(ControlEvent, frozen=True):
    """Somebody types to the agent as if the user had."""

    text: str


@event("control.mute")
class ControlMute(ControlEvent, frozen=True):
    """Somebody takes the agent's voice, or gives it back."""

    muted: bool


@event("control.end")
class ControlEnd(ControlEvent, frozen=True):
    """Somebody ends the call: its ``room``, or its ``agent`` alone."""

    scope: str


@event("control.failed")
class ControlFailed(ControlEvent, frozen=True):
    """What somebody was about to do came to nothing."""

    verb: str
    error: str
