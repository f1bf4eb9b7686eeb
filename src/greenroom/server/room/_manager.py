"""The edge of the room core: applies what rooms decide to sockets, the media engine and listeners."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from livekit.protocol import models, rtc
from livekit.protocol import room as room_pb

from greenroom._media import (
    AudioLevels,
    DataReceived,
    Event,
    MediaEngine,
    TrackEvent,
    TrackId,
    TransportClosed,
    TransportConnected,
    TransportEvent,
    TransportId,
)
from greenroom.config import ServerConfig
from greenroom.ids import Prefix, new_id
from greenroom.server.data import Outbound
from greenroom.server.room._effects import AgentsRequested, Drop, Effect, Happened, Published, Signal, Tell, TrackChange
from greenroom.server.room._errors import CapacityError, ParticipantNotFoundError, RemoteUnmuteError
from greenroom.server.room._limits import check_room_name
from greenroom.server.room._listener import RoomListener, name_of, notify
from greenroom.server.room._messages import Outgoing, SignalPort
from greenroom.server.room._participant import Joining, Participant
from greenroom.server.room._room import Reason, Room, ServerFacts
from greenroom.server.tracks import Publish, Unpublish, carry_out

_log = logging.getLogger("greenroom.server")

#: The LiveKit server whose protocol this one speaks; clients switch features on by it.
LIVEKIT_VERSION: Final = "1.13.5"
PROTOCOL: Final = 17
AGENT_PROTOCOL: Final = 1
TICK: Final = 1.0
CLOSE_TIMEOUT: Final = 3.0


class RoomManager:
    """All rooms of one server.

    Everything but :meth:`delete` and :meth:`aclose` is synchronous and belongs on the event loop.

    :param clock: seconds since the epoch.
    """

    def __init__(self, config: ServerConfig, engine: MediaEngine, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self.engine = engine
        self.clock = clock
        self.server_info = models.ServerInfo(
            edition=models.ServerInfo.Standard,
            version=LIVEKIT_VERSION,
            protocol=PROTOCOL,
            agent_protocol=AGENT_PROTOCOL,
            node_id=new_id(Prefix.NODE),
        )
        self._facts = ServerFacts(info=self.server_info, limits=config.limits, defaults=config.room)
        self._rooms: dict[str, Room] = {}
        self._by_transport: dict[TransportId, Participant] = {}
        self._by_track: dict[TrackId, Room] = {}
        self._transports = itertools.count(1)
        self._listeners: list[RoomListener] = []
        self._effects: deque[tuple[Room, Effect]] = deque()
        self._applying = False
        self._flushes: dict[Room, tuple[float, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    # Rooms

    def get(self, name: str) -> Room | None:
        """Return the room called ``name``."""
        room = self._rooms.get(name)
        return None if room is None or room.closed else room

    def list(self, names: Sequence[str] = ()) -> list[Room]:
        """Return all rooms, or those of ``names`` that exist."""
        if not names:
            names = [*self._rooms]
        return [room for name in dict.fromkeys(names) if (room := self.get(name)) is not None]

    @property
    def participants(self) -> Iterable[Participant]:
        """Everybody in every room."""
        return self._by_transport.values()

    def create(
        self,
        name: str,
        *,
        request: room_pb.CreateRoomRequest | None = None,
        config: room_pb.RoomConfiguration | None = None,
    ) -> Room:
        """Return the room called ``name``, created if need be.

        :param request: its non-zero fields also change a room that exists.
        :param config: what a token wants; it only counts when this creates the room.
        :raises RoomError: for an empty or too long name, metadata that is too long, too many rooms.
        """
        room = self.get(name)
        if room is not None:
            if request is not None:
                self.apply(room, room.reconfigure(request))
            return room
        check_room_name(name, self.config.limits)
        self._check_rooms()
        room = Room(name, self._facts, self.clock())
        for settings in (config, request):
            if settings is not None:
                room.configure(settings)
        self._rooms[name] = room
        _log.info("room started", extra={"room": room.sid})
        self.apply(room, [Tell(Happened.ROOM_STARTED)])
        return room

    async def delete(self, name: str) -> bool:
        """End a room, sending everybody away, and wait until they are gone. False when there is none."""
        room = self.get(name)
        if room is None:
            return False
        ports = [p.signal for p in room.participants.values() if p.signal is not None]
        self.apply(room, room.close(Reason.ROOM_DELETED, self.clock()))
        await _wait_closed(ports)
        return True

    def update_room_metadata(self, room: Room, metadata: str) -> None:
        """Replace a room's metadata and tell everybody in it. Raises :class:`LimitError`."""
        self.apply(room, room.update_metadata(metadata))

    # Participants

    def check_join(self, name: str, joining: Joining) -> None:
        """Raise :class:`CapacityError` when the room called ``name``, or the server, has no place for somebody."""
        room = self.get(name)
        if room is None:
            self._check_rooms()
        else:
            room.check_join(joining)
        limit = self.config.limits.participants
        comes_back = room is not None and joining.identity in room.participants
        if len(self._by_transport) - comes_back >= limit:
            raise CapacityError("The server holds as many participants as it may", context={"limit": limit})

    def _check_rooms(self) -> None:
        limit = self.config.limits.rooms
        if len(self._rooms) >= limit:
            raise CapacityError("The server holds as many rooms as it may", context={"limit": limit})

    def join(self, room: Room, joining: Joining, port: SignalPort, *, lite: bool = True) -> Participant:
        """Let somebody in. The join response is the first message that ``port`` gets.

        :raises CapacityError: when the room or the server has no place.
        :raises MediaEngineError: when the engine cannot take another transport.
        """
        self.check_join(room.name, joining)
        transport = next(self._transports)
        self.engine.create_transport(transport, lite=lite)
        participant, effects = room.join(transport, joining, self.clock())
        participant.signal = port
        self._by_transport[transport] = participant
        _log.info("participant joined", extra={"room": room.sid, "participant": participant.sid})
        self.apply(room, effects)
        return participant

    def remove_participant(self, room: Room, identity: str, reason: models.DisconnectReason) -> bool:
        """Send a participant away for good. False when there is none."""
        participant = room.participants.get(identity)
        if participant is None:
            return False
        self.apply(room, room.remove(participant, reason, self.clock()))
        return True

    def update_participant(
        self,
        room: Room,
        identity: str,
        *,
        metadata: str = "",
        name: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: models.ParticipantPermission | None = None,
    ) -> models.ParticipantInfo:
        """Change what is given and return the result; see :meth:`Room.update_participant`.

        :raises ParticipantNotFoundError: when there is no such participant.
        :raises LimitError: when something is too long; then nothing has changed.
        """
        participant = room.participants.get(identity)
        if participant is None:
            raise ParticipantNotFoundError(identity)
        effects = room.update_participant(
            participant, self.clock(), metadata=metadata, name=name, attributes=attributes, permission=permission
        )
        self.apply(room, effects)
        return participant.info()

    def mute_track(self, room: Room, identity: str, sid: str, *, muted: bool) -> models.TrackInfo | None:
        """Mute somebody's track, or unmute it, and tell its client; ``None`` when there is no such track.

        :raises ParticipantNotFoundError: when there is no such participant.
        :raises RoomError: when unmuting is not allowed.
        """
        participant = room.participants.get(identity)
        if participant is None:
            raise ParticipantNotFoundError(identity)
        if not muted and not self.config.room.enable_remote_unmute:
            raise RemoteUnmuteError
        track = room.tracks.find(participant, sid)
        if track is None:
            return None
        if track.info.muted != muted:
            mute = rtc.SignalResponse(mute=rtc.MuteTrackRequest(sid=sid, muted=muted))
            effects = room.tracks.mute(participant, sid, self.clock(), muted=muted)
            self.apply(room, [Signal([participant], mute), *effects])
        return track.info

    def update_subscriptions(self, room: Room, identity: str, update: rtc.UpdateSubscription) -> None:
        """Do as if a participant had asked for tracks. Raises :class:`ParticipantNotFoundError`."""
        participant = room.participants.get(identity)
        if participant is None:
            raise ParticipantNotFoundError(identity)
        self.apply(room, room.tracks.subscribe(participant, update, self.clock()))

    def send_data(self, room: Room, packet: models.DataPacket) -> None:
        """Send a packet from the server into a room, to its destinations or to everybody."""
        self.apply(room, room.server_data(packet))

    # Listening

    def add_listener(self, listener: RoomListener) -> None:
        """Tell ``listener`` of everything that happens from now on."""
        self._listeners.append(listener)

    # Time and events

    def start(self) -> None:
        """Begin to watch the time."""
        self._ticker = asyncio.get_running_loop().create_task(self._run_ticker())

    async def _run_ticker(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Do what time brings to every room; :meth:`start` calls it every second."""
        now = self.clock()
        for room in self.list():
            try:
                self.apply(room, room.tick(now))
            except Exception:
                # Time goes on for the other rooms.
                _log.exception("a room failed to keep time", extra={"room": room.sid})

    def on_events(self, events: Sequence[Event]) -> None:
        """Take a batch of events from the media engine. One that fails does not take the others along."""
        now = self.clock()
        for event in events:
            try:
                if isinstance(event, TrackEvent):
                    self._on_track_event(event, now)
                else:
                    self._on_transport_event(event, now)
            except Exception:
                _log.exception("a media event failed", extra={"event": type(event).__name__})

    def _on_transport_event(self, event: TransportEvent, now: float) -> None:
        participant = self._by_transport.get(event.transport)
        if participant is None:
            return
        room = participant.room
        if isinstance(event, DataReceived):
            self.apply(room, room.data(participant, event.label, event.payload, now))
        elif isinstance(event, TransportConnected):
            self.apply(room, room.media_connected(participant, now))
        elif isinstance(event, TransportClosed):
            # Clients end DTLS before they say goodbye: only another end is worth a line.
            _log.log(
                logging.DEBUG if event.reason == "dtls" else logging.INFO,
                "media transport lost",
                extra={"room": room.sid, "participant": participant.sid, "reason": event.reason},
            )
            self.apply(room, room.media_lost(participant, event.reason, now))

    def _on_track_event(self, event: TrackEvent, now: float) -> None:
        if not isinstance(event, AudioLevels):
            return
        by_room: dict[Room, list[tuple[TrackId, float, float]]] = {}
        for entry in event.levels:
            room = self._by_track.get(entry[0])
            if room is not None:
                by_room.setdefault(room, []).append(entry)
        for room, levels in by_room.items():
            self.apply(room, room.tracks.levels(levels, now))

    async def aclose(self) -> None:
        """Send everybody away, because the server stops. Idempotent."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        ports = [p.signal for p in self._by_transport.values() if p.signal is not None]
        for room in self.list():
            self.apply(room, room.close(Reason.SERVER_SHUTDOWN, self.clock()))
        await _wait_closed(ports)
        for _, handle in self._flushes.values():
            handle.cancel()
        self._flushes.clear()
        for task in [*self._closing]:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    # Effects

    def apply(self, room: Room, effects: Iterable[Effect]) -> None:
        """Do what a room decided. What a listener causes meanwhile is done afterwards, in order."""
        self._effects.extend((room, effect) for effect in effects)
        if room.flush_at is not None:
            self._schedule_flush(room, room.flush_at)
        if self._applying:
            return
        self._applying = True
        try:
            while self._effects:
                self._apply_one(*self._effects.popleft())
        finally:
            self._applying = False

    def _schedule_flush(self, room: Room, due: float) -> None:
        scheduled = self._flushes.get(room)
        if scheduled is not None:
            if scheduled[0] <= due:
                return
            scheduled[1].cancel()
        delay = max(0.0, due - self.clock())
        self._flushes[room] = due, asyncio.get_running_loop().call_later(delay, self._flush, room)

    def _flush(self, room: Room) -> None:
        due, _ = self._flushes.pop(room)
        # The loop's clock is not ours: what was scheduled is due, whatever ours says.
        self.apply(room, room.flush(max(due, self.clock())))

    def _apply_one(self, room: Room, effect: Effect) -> None:
        if isinstance(effect, Outbound):
            self.engine.send(effect.to, effect.label, effect.payload)
        elif isinstance(effect, Signal):
            message = Outgoing(effect.message)
            for participant in effect.to:
                if participant.signal is not None:
                    participant.signal.send(message)
        elif isinstance(effect, Drop):
            self._drop(effect.participant, effect.leave)
        elif isinstance(effect, Tell | Published | TrackChange | AgentsRequested):
            self._tell(room, effect)
        else:
            if isinstance(effect, Publish):
                self._by_track[effect.track] = room
            elif isinstance(effect, Unpublish):
                self._by_track.pop(effect.track, None)
            carry_out(self.engine, effect)

    def _drop(self, participant: Participant, message: rtc.SignalResponse | None) -> None:
        self._by_transport.pop(participant.transport, None)
        port, participant.signal = participant.signal, None
        _log.info(
            "participant left",
            extra={
                "room": participant.room.sid,
                "participant": participant.sid,
                "reason": Reason.Name(participant.disconnect_reason),
            },
        )
        if port is None or message is None:
            self.engine.close_transport(participant.transport)
            if port is not None:
                port.close()
            return
        port.send(Outgoing(message))
        port.close()
        # A client that loses its media before it has read why would start to reconnect.
        task = asyncio.get_running_loop().create_task(self._close_transport_after(port, participant.transport))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_transport_after(self, port: SignalPort, transport: TransportId) -> None:
        try:
            await port.wait_closed()
        finally:
            self.engine.close_transport(transport)

    def _tell(self, room: Room, tell: Tell | Published | TrackChange | AgentsRequested) -> None:
        if isinstance(tell, Tell) and tell.what is Happened.ROOM_FINISHED:
            if self._rooms.get(room.name) is room:
                del self._rooms[room.name]
            _log.info("room finished", extra={"room": room.sid})
        for listener in self._listeners:
            try:
                notify(listener, room, tell)
            except Exception:
                _log.exception("a room listener failed", extra={"room": room.sid, "event": name_of(tell)})


async def _wait_closed(ports: Iterable[SignalPort]) -> None:
    closing = [asyncio.ensure_future(port.wait_closed()) for port in ports]
    if closing:
        _, late = await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        for waiter in late:
            waiter.cancel()
