"""What a client asks over signalling, except for what needs the media engine (``docs/protocol.md``, "Requests").

Pure: takes the time, returns effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from livekit.protocol import models, rtc

from greenroom.server.room import Effect, LimitError, Participant, Signal

_Handler: TypeAlias = Callable[[Participant, rtc.SignalRequest, float], Sequence[Effect]]
_Reason = rtc.RequestResponse

_NO_DATA_TRACKS: Final = "data tracks are not served yet"
_NO_BLOBS: Final = "data blobs are not served"
_NO_TRACK: Final = "there is no such track"


def handle_request(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    """Decide what a request means. Kinds that are not known, or mean nothing yet, are ignored.

    :param now: seconds since the epoch.
    """
    handler = _HANDLERS.get(request.WhichOneof("message") or "")
    return handler(participant, request, now) if handler else []


def add_track(participant: Participant, track: rtc.AddTrackRequest, now: float) -> Sequence[Effect]:
    """Answer a request to publish, whether it came with the join or later."""
    return participant.room.tracks.add(participant, track, now)


def _respond(
    participant: Participant, reason: rtc.RequestResponse.Reason, message: str = "", **request: object
) -> list[Effect]:
    response = rtc.RequestResponse(reason=reason, message=message, **request)  # type: ignore[arg-type]
    return [Signal([participant], rtc.SignalResponse(request_response=response))]


def _ping(participant: Participant, _request: rtc.SignalRequest, now: float) -> list[Effect]:
    return [Signal([participant], rtc.SignalResponse(pong=int(now * 1000)))]


def _ping_req(participant: Participant, request: rtc.SignalRequest, now: float) -> list[Effect]:
    pong = rtc.Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=int(now * 1000))
    return [Signal([participant], rtc.SignalResponse(pong_resp=pong))]


def _leave(participant: Participant, request: rtc.SignalRequest, now: float) -> list[Effect]:
    return participant.room.client_left(participant, request.leave.reason, now)


def _update_metadata(participant: Participant, request: rtc.SignalRequest, now: float) -> list[Effect]:
    update = request.update_metadata

    def answer(reason: rtc.RequestResponse.Reason, message: str = "") -> list[Effect]:
        response = rtc.RequestResponse(request_id=update.request_id, reason=reason, message=message)
        return participant.room.answer(participant, response, now)

    if not participant.permission.can_update_metadata:
        return answer(_Reason.NOT_ALLOWED, "does not have permission to update own metadata")
    try:
        effects = participant.room.update_participant(
            participant, now, metadata=update.metadata, name=update.name, attributes=update.attributes
        )
    except LimitError as error:
        return answer(_Reason.LIMIT_EXCEEDED, error.message)
    return effects + answer(_Reason.OK)


def _simulate(participant: Participant, request: rtc.SignalRequest, now: float) -> list[Effect]:
    scenario = request.simulate
    kind = scenario.WhichOneof("scenario")
    reason = models.DisconnectReason.SERVER_SHUTDOWN
    if kind == "server_leave" and scenario.server_leave:
        return participant.room.remove(participant, reason, now)
    if kind in {"node_failure", "migration"} and getattr(scenario, kind):
        # As if this server had died: the client hears nothing, tries to resume and has to start anew.
        return participant.room.remove(participant, reason, now, action=None)
    if kind == "leave_request_full_reconnect" and scenario.leave_request_full_reconnect:
        mismatch = models.DisconnectReason.STATE_MISMATCH
        return participant.room.remove(participant, mismatch, now, action=rtc.LeaveRequest.RECONNECT)
    return []


def _add_track(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    return add_track(participant, request.add_track, now)


def _mute(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    tracks, mute = participant.room.tracks, request.mute
    if tracks.find(participant, mute.sid) is None:
        return _respond(participant, _Reason.NOT_FOUND, _NO_TRACK, mute=mute)
    return tracks.mute(participant, mute.sid, now, muted=mute.muted)


def _update_track(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    kind = request.WhichOneof("message") or ""
    tracks, update = participant.room.tracks, getattr(request, kind)
    if tracks.find(participant, update.track_sid) is None:
        return _respond(participant, _Reason.NOT_FOUND, _NO_TRACK, **{kind: update})
    return tracks.update(participant, update, now)


def _subscription(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    return participant.room.tracks.subscribe(participant, request.subscription, now)


def _track_setting(participant: Participant, request: rtc.SignalRequest, _now: float) -> Sequence[Effect]:
    return participant.room.tracks.set_track_setting(participant, request.track_setting)


def _subscription_permission(participant: Participant, request: rtc.SignalRequest, now: float) -> Sequence[Effect]:
    return participant.room.tracks.permit(participant, request.subscription_permission, now)


def _publish_data_track(participant: Participant, request: rtc.SignalRequest, _now: float) -> list[Effect]:
    wanted = request.publish_data_track_request
    return _respond(participant, _Reason.NOT_ALLOWED, _NO_DATA_TRACKS, publish_data_track=wanted)


def _unpublish_data_track(participant: Participant, request: rtc.SignalRequest, _now: float) -> list[Effect]:
    wanted = request.unpublish_data_track_request
    return _respond(participant, _Reason.NOT_FOUND, _NO_DATA_TRACKS, unpublish_data_track=wanted)


def _data_blob(participant: Participant, request: rtc.SignalRequest, _now: float) -> list[Effect]:
    kind = request.WhichOneof("message") or ""
    request_id = getattr(request, kind).request_id
    return _respond(participant, _Reason.NOT_ALLOWED, _NO_BLOBS, request_id=request_id)


_HANDLERS: Final[dict[str, _Handler]] = {
    "ping": _ping,
    "ping_req": _ping_req,
    "leave": _leave,
    "update_metadata": _update_metadata,
    "simulate": _simulate,
    "add_track": _add_track,
    "mute": _mute,
    "update_audio_track": _update_track,
    "subscription": _subscription,
    "track_setting": _track_setting,
    "subscription_permission": _subscription_permission,
    "update_video_track": _update_track,
    "publish_data_track_request": _publish_data_track,
    "unpublish_data_track_request": _unpublish_data_track,
    "store_data_blob_request": _data_blob,
    "get_data_blob_request": _data_blob,
}
