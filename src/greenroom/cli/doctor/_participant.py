"""Somebody in a room: LiveKit's signalling, with a peer connection of the native core."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import secrets
import ssl
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from greenroom._media import CallNews, Calls, Heard
from greenroom.cli.doctor._http import PATIENCE, Address, query_value
from greenroom.cli.doctor._report import FaultError
from greenroom.cli.doctor._words import RELIABLE, Listener, text_stream

_PING: Final = 5.0
_MIC: Final = "TR_doctor"
_CANDIDATE: Final = re.compile(r"candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", re.IGNORECASE)


def join_query(offer: str) -> str:
    """Return the query of a join with a client's first offer (docs/protocol.md, Join request)."""
    request = rtc.JoinRequest(
        # Of an old protocol, so that agents send whole words, as they do to everybody.
        client_info=models.ClientInfo(sdk=models.ClientInfo.RUST, version="1.1.21", protocol=17),
        connection_settings=rtc.ConnectionSettings(auto_subscribe=True),
    )
    if offer:
        request.publisher_offer.CopyFrom(rtc.SessionDescription(type="offer", sdp=offer))
    wrapped = rtc.WrappedJoinRequest(join_request=request.SerializeToString())
    return "join_request=" + query_value(base64.urlsafe_b64encode(wrapped.SerializeToString()).decode())


async def resolve(address: Address) -> str:
    """Return the IP address at which the server's signalling answers. Raises :class:`FaultError`."""
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError as error:
        raise FaultError("unreachable", f"The server cannot be reached any more: {error}", fix=_LOG) from None
    host = str(writer.get_extra_info("peername")[0])
    writer.close()
    return host


class Participant:
    """A participant who speaks, or listens and reads."""

    def __init__(self, calls: Calls, *, speaks: bool) -> None:
        self._calls = calls
        self._speaks = speaks
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._call = 0
        self._sections = 0
        self._wants_offer = False
        self._answered = False
        self._sequence = 1
        self.own = models.ParticipantInfo()
        self.others: dict[str, models.ParticipantInfo] = {}
        #: Where the server says its UDP port is.
        self.candidates: list[tuple[str, int]] = []
        self.reachable = self.connected = False
        #: Data channels that can be written to.
        self.channels: set[str] = set()
        self.listener = Listener()
        #: Why the participant is not in the room any more.
        self.fault: FaultError | None = None

    async def join(self, address: Address, host: str, token: str) -> None:
        """Join and take the server's answer. Raises :class:`FaultError`.

        :param host: the server's IP address.
        """
        self._call, offer = self._calls.open(host, self._news)
        url = f"{address.url('ws')}/rtc/v1?{join_query(offer)}"
        headers = {"Authorization": f"Bearer {token}"}
        try:
            self._socket = await connect(
                url, additional_headers=headers, compression=None, max_size=None, open_timeout=PATIENCE, proxy=None
            )
        except InvalidStatus as error:
            raise _not_upgraded(error.response.status_code) from None
        except (InvalidHandshake, WebSocketException, OSError, ssl.SSLError, TimeoutError) as error:
            raise FaultError("no_websocket", f"The WebSocket could not be opened: {error}", fix=_PROXY) from None
        self._tasks = [asyncio.create_task(self._read(self._socket)), asyncio.create_task(self._ping(self._socket))]
        if not await self.until(lambda: self._answered, PATIENCE):
            raise FaultError(
                "no_answer", "The server let a participant in and then said nothing", fix="Its log says why"
            )

    async def leave(self) -> None:
        """Leave the room, if in it."""
        self._calls.close(self._call)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._send(leave=rtc.LeaveRequest(reason=models.CLIENT_INITIATED))
            await self._socket.close()

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition`` holds and tell whether it does. Raises the participant's :class:`FaultError`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.fault:
                        raise self.fault
                    self._changed.clear()
                    # Packets are counted silently.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), 0.1)
        return condition()

    @property
    def heard(self) -> Heard:
        """The audio so far."""
        return self._calls.heard(self._call)

    def try_address(self, host: str, port: int) -> None:
        """Look for the server's UDP port at an address that it does not name."""
        self._calls.candidate(self._call, f"candidate:9 1 udp 2130706431 {host} {port} typ host")

    def say(self, text: str) -> bool:
        """Say a line in the chat; whether it could be sent."""
        packets = text_stream(text, self._sequence)
        self._sequence += len(packets)
        try:
            return all(self._calls.send(self._call, RELIABLE, packet) for packet in packets)
        except ValueError:
            # The connection was lost meanwhile.
            return False

    async def _send(self, **message: object) -> None:
        assert self._socket is not None
        # mypy does not know the fields of generated messages.
        await self._socket.send(rtc.SignalRequest(**message).SerializeToString())  # type: ignore[arg-type]

    async def _ping(self, _socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(_PING)
                await self._send(ping_req=rtc.Ping())

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                if isinstance(frame, bytes):
                    await self._hear(rtc.SignalResponse.FromString(frame))
                    self._changed.set()
            self.fault = FaultError("signalling_lost", "The server closed the signalling connection", fix=_LOG)
        except ConnectionClosed:
            self.fault = FaultError("signalling_lost", "The signalling connection broke off", fix=_LOG)
        except (DecodeError, ValueError) as error:
            self.fault = FaultError("not_understood", f"The server said what no client understands: {error}", fix=_LOG)
        except FaultError as fault:
            self.fault = fault
        self._changed.set()

    async def _hear(self, message: rtc.SignalResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "join":
            self.own = message.join.participant
            self._learn(message.join.other_participants)
            if self._speaks:
                await self._send(add_track=rtc.AddTrackRequest(cid=_MIC, name="doctor", source=models.MICROPHONE))
        elif kind == "update":
            self._learn(message.update.participants)
        elif kind == "leave":
            reason = models.DisconnectReason.Name(message.leave.reason)
            raise FaultError("put_out", f"The server put a participant out: {reason.lower()}", fix=_LOG)
        elif kind == "request_response" and message.request_response.reason:
            reason = rtc.RequestResponse.Reason.Name(message.request_response.reason)
            raise FaultError("refused", f"The server refuses a track: {reason.lower()}", fix="Check the key's policy")
        else:
            self._negotiate(kind, message)
        if self._wants_offer and self._answered:
            await self._offer()

    def _negotiate(self, kind: str | None, message: rtc.SignalResponse) -> None:
        if kind == "answer":
            self._calls.answer(self._call, message.answer.sdp)
            self._answered = True
            self._find(message.answer.sdp)
        elif kind == "trickle":
            line = str(json.loads(message.trickle.candidateInit).get("candidate", ""))
            if line:
                self._find(line)
                self._calls.candidate(self._call, line)
        elif kind == "track_published":
            self._wants_offer = True
        elif kind == "media_sections_requirement":
            self._sections += message.media_sections_requirement.num_audios
            self._wants_offer = True

    async def _offer(self) -> None:
        offer = self._calls.offer(self._call, audio=self._sections, mic=_MIC if self._speaks else None)
        # One is on its way otherwise; its answer calls again.
        if offer is not None:
            self._sections, self._wants_offer = 0, False
            await self._send(offer=rtc.SessionDescription(type="offer", sdp=offer))

    def _learn(self, participants: object) -> None:
        for info in participants:  # type: ignore[attr-defined]
            if info.sid == self.own.sid:
                continue
            if info.state == models.ParticipantInfo.DISCONNECTED:
                self.others.pop(info.sid, None)
            else:
                self.others[info.sid] = info

    def _find(self, text: str) -> None:
        for host, port in _CANDIDATE.findall(text):
            if (host, int(port)) not in self.candidates:
                self.candidates.append((host, int(port)))

    def _news(self, news: CallNews) -> None:
        match news.kind:
            case "reachable":
                self.reachable = True
            case "connected":
                self.connected = True
                if self._speaks:
                    self._calls.speak(self._call)
            case "opened":
                self.channels.add(news.label)
            case "message":
                self.listener.hear(news.payload)
        self._changed.set()


_LOG: Final = "The server's log says why"
_PROXY: Final = "If a proxy stands before the server, let it pass WebSockets (Upgrade and Connection headers) on /rtc"


def new_name(prefix: str) -> str:
    """Return a name that nobody has."""
    return f"{prefix}-{secrets.token_hex(3)}"


def _not_upgraded(status: int) -> FaultError:
    return FaultError("no_websocket", f"The server answers the WebSocket with status {status}", fix=_PROXY)
