"""One signalling connection, from the upgrade to the end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Final

from livekit.protocol import models, rtc
from starlette.types import Receive, Send

from greenroom._media import Answer
from greenroom.errors import MediaEngineError
from greenroom.server.room import Effect, Outgoing, Participant, RoomManager, leave
from greenroom.server.signal._access import Admission
from greenroom.server.signal._frames import FrameError, decode_request
from greenroom.server.signal._outbox import Outbox, Pace
from greenroom.server.signal._requests import add_track, handle_request
from greenroom.server.tracks import Negotiation

_log = logging.getLogger("greenroom.server")

Reason = models.DisconnectReason

MAX_MALFORMED: Final = 10
_MAX_EARLY_CANDIDATES: Final = 100


class SignalSession:
    """Carries one participant's signalling. Frames are handled one after the other, in order."""

    def __init__(self, rooms: RoomManager, receive: Receive, send: Send, pace: Pace) -> None:
        self._rooms = rooms
        self._receive = receive
        self._send = send
        self._outbox = Outbox(send, self._overflowed, pace)
        self._participant: Participant | None = None
        self._negotiated = False
        self._early_candidates: list[str] = []
        self._malformed = 0

    async def refuse_resume(self) -> None:
        """Tell a client that wants to resume to start anew, then close."""
        await self._send({"type": "websocket.accept"})
        message = Outgoing(leave(Reason.STATE_MISMATCH, rtc.LeaveRequest.RECONNECT))
        await self._send({"type": "websocket.send", "bytes": message.binary})
        await self._send({"type": "websocket.close", "code": 1000})

    async def run(self, admission: Admission) -> None:
        """Join the room, accept the WebSocket and serve it until it ends.

        :raises GreenroomError: before anything has been accepted, when the join fails.
        """
        room = self._rooms.create(admission.room, config=admission.room_config)
        participant = self._rooms.join(room, admission.joining, self._outbox, lite=admission.lite)
        self._participant = participant
        try:
            await self._send({"type": "websocket.accept"})
            self._outbox.start()
            for track in admission.request.add_track_requests:
                self._apply(add_track(participant, track, self._rooms.clock()))
            if admission.request.HasField("publisher_offer"):
                await self._offer(participant, admission.request.publisher_offer)
            await self._serve(participant)
        except OSError:
            # ASGI's way to say that the client went away while it was being written to.
            pass
        finally:
            self._outbox.abandon()
            self._apply(room.signal_lost(participant, self._rooms.clock()))

    async def _serve(self, participant: Participant) -> None:
        """Read until the client goes, or until this side has written its last."""
        reading = asyncio.ensure_future(self._read(participant))
        closed = asyncio.ensure_future(self._outbox.wait_closed())
        try:
            await asyncio.wait({reading, closed}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            closed.cancel()

    async def _read(self, participant: Participant) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                return
            frame: bytes | str = event["bytes"] if event.get("text") is None else event["text"]
            self._outbox.text = isinstance(frame, str)
            try:
                await self._request(participant, decode_request(frame, self._rooms.config.limits.signal_message))
            except FrameError:
                self._count_malformed(participant)

    async def _request(self, participant: Participant, request: rtc.SignalRequest) -> None:
        if not participant.present:
            return
        kind = request.WhichOneof("message")
        if kind == "offer":
            await self._offer(participant, request.offer)
        elif kind == "trickle":
            self._trickle(participant, request.trickle)
        else:
            self._apply(handle_request(participant, request, self._rooms.clock()))

    async def _offer(self, participant: Participant, offer: rtc.SessionDescription) -> None:
        try:
            negotiation, answer = await self._negotiate(participant, offer.sdp)
        except MediaEngineError as error:
            _log.info("offer refused", extra={"participant": participant.sid, "why": error.message})
            self._negotiation_failed(participant)
            return
        description = rtc.SessionDescription(type="answer", sdp=answer.sdp, id=offer.id)
        tracks = participant.room.tracks
        self._apply(tracks.answered(participant, negotiation, description, self._rooms.clock()))
        self._negotiated = True
        for candidate in self._early_candidates:
            self._rooms.engine.add_candidate(participant.transport, candidate)
        self._early_candidates.clear()

    async def _negotiate(self, participant: Participant, sdp: str) -> tuple[Negotiation, Answer]:
        engine = self._rooms.engine
        sections = engine.inspect_offer(sdp)
        negotiation = participant.room.tracks.plan(participant, sections, self._rooms.clock())
        self._apply(negotiation.effects)
        return negotiation, await engine.accept_offer(participant.transport, sdp, negotiation.plan)

    def _negotiation_failed(self, participant: Participant) -> None:
        now = self._rooms.clock()
        if self._negotiated:
            effects = participant.room.remove(
                participant, Reason.STATE_MISMATCH, now, action=rtc.LeaveRequest.RECONNECT
            )
        else:
            # The same client would only send the same offer again.
            effects = participant.room.remove(participant, Reason.JOIN_FAILURE, now)
        self._apply(effects)

    def _trickle(self, participant: Participant, trickle: rtc.TrickleRequest) -> None:
        if trickle.target != rtc.SignalTarget.PUBLISHER or not trickle.candidateInit:
            return
        try:
            candidate = json.loads(trickle.candidateInit)["candidate"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise FrameError("not an ICE candidate") from None
        if not isinstance(candidate, str):
            raise FrameError("not an ICE candidate")
        if self._negotiated:
            self._rooms.engine.add_candidate(participant.transport, candidate)
        elif len(self._early_candidates) < _MAX_EARLY_CANDIDATES:
            self._early_candidates.append(candidate)

    def _count_malformed(self, participant: Participant) -> None:
        self._malformed += 1
        if self._malformed <= MAX_MALFORMED:
            return
        _log.info("too many malformed signalling messages", extra={"participant": participant.sid})
        self._apply(participant.room.remove(participant, Reason.UNKNOWN_REASON, self._rooms.clock()))

    def _overflowed(self) -> None:
        participant = self._participant
        if participant is not None:
            _log.info("signalling is not read", extra={"participant": participant.sid})
            self._apply(participant.room.remove(participant, Reason.SIGNAL_CLOSE, self._rooms.clock(), action=None))

    def _apply(self, effects: Sequence[Effect]) -> None:
        participant = self._participant
        if participant is not None:
            self._rooms.apply(participant.room, effects)
