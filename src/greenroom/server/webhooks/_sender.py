"""Turns what happens in rooms into webhook events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from livekit.protocol import agent_dispatch, models, webhook

from greenroom.config import ServerConfig, is_loopback
from greenroom.httpclient import HttpClient, Reach
from greenroom.ids import Prefix, new_id
from greenroom.server.webhooks._courier import Courier

if TYPE_CHECKING:
    from greenroom.server.room import Participant, Room, RoomManager

FLUSH: Final = 3.0
_Reason = models.DisconnectReason
_ENDS: Final = {
    _Reason.ROOM_DELETED: models.ROOM_END_API_DELETE,
    _Reason.ROOM_CLOSED: models.ROOM_END_IDLE_TIMEOUT,
    _Reason.SERVER_SHUTDOWN: models.ROOM_END_SERVER_SHUTDOWN,
}


class WebhookSender:
    """Listens to rooms and tells every configured URL, each at its own pace.

    :param clock: seconds since the epoch.
    """

    def __init__(self, config: ServerConfig, rooms: RoomManager, clock: Callable[[], float] = time.time) -> None:
        settings = config.webhook
        self._clock = clock
        self._clients = {reach: HttpClient(reach=reach, max_response=64 * 1024) for reach in Reach}
        self._couriers = [Courier(url, config.webhook_key, self._clients[_reach(config, url)]) for url in settings.urls]
        self._wanted = settings.wants
        # Whoever leaves without having been here says so with an event of its own.
        self._active: set[str] = set()
        rooms.add_listener(self)

    async def aclose(self) -> None:
        """Deliver what waits, within :data:`FLUSH` seconds. Idempotent."""
        await asyncio.gather(*(courier.aclose(FLUSH) for courier in self._couriers))
        await asyncio.gather(*(client.aclose() for client in self._clients.values()))

    # What happens in rooms

    def room_started(self, room: Room) -> None:
        """Tell of a room."""
        self._tell(room, webhook.WebhookEvent(event="room_started", room=room.info()))

    def participant_joined(self, room: Room, participant: Participant) -> None:
        """Do nothing: LiveKit tells of participants when their media is up."""

    def participant_active(self, room: Room, participant: Participant) -> None:
        """Tell of a participant."""
        self._active.add(participant.sid)
        event = webhook.WebhookEvent(event="participant_joined", room=room.info(), participant=participant.info())
        self._tell(room, event)

    def participant_published(self, room: Room, participant: Participant) -> None:
        """Do nothing: tracks are told one by one."""

    def track_published(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """Tell of a track."""
        self._tell_track("track_published", room, participant, track)

    def track_unpublished(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """Tell that a track has ended."""
        self._tell_track("track_unpublished", room, participant, track)

    def agents_requested(self, room: Room, agents: Sequence[agent_dispatch.RoomAgentDispatch]) -> None:
        """Do nothing: LiveKit has no event for it."""

    def participant_left(
        self,
        room: Room,
        participant: Participant,
        reason: models.DisconnectReason,  # noqa: ARG002 - it stands in the participant
    ) -> None:
        """Tell that a participant has gone, or never came."""
        name = "participant_left" if participant.sid in self._active else "participant_connection_aborted"
        self._active.discard(participant.sid)
        self._tell(room, webhook.WebhookEvent(event=name, room=room.info(), participant=participant.info()))

    def room_finished(self, room: Room) -> None:
        """Tell that a room has ended, and why."""
        why = _ENDS.get(room.end_reason, models.ROOM_END_UNKNOWN)
        self._tell(room, webhook.WebhookEvent(event="room_finished", room=room.info(), room_end_reason=why))

    def _tell_track(self, name: str, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        event = webhook.WebhookEvent(
            event=name,
            room=models.Room(sid=room.sid, name=room.name),
            participant=models.ParticipantInfo(sid=participant.sid, identity=participant.identity),
            track=track,
        )
        self._tell(room, event)

    def _tell(self, room: Room, event: webhook.WebhookEvent) -> None:
        if not self._wanted(event.event):
            return
        event.id = new_id(Prefix.EVENT)
        event.created_at = int(self._clock())
        for courier in self._couriers:
            own = webhook.WebhookEvent()
            own.CopyFrom(event)
            courier.put(room.sid, own)


def _reach(config: ServerConfig, url: str) -> Reach:
    if config.webhook.allow_private:
        return Reach.ANYWHERE
    # Who writes this machine's own address means it; a name that leads there may be somebody's trick. And a server
    # that only this machine reaches may talk to its neighbours on it by any name.
    near = is_loopback(config.bind) or is_loopback(urlsplit(url).hostname or "")
    return Reach.PUBLIC_AND_LOOPBACK if near else Reach.PUBLIC
