"""A LiveKit client down to the signalling protocol, without media.

Over a :class:`~greenroom._media.FakeEngine` it plays both ends: what a real client would do with its peer
connection is done with :attr:`SignalClient.peer`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import websockets
from google.protobuf import json_format
from livekit.protocol import models, rtc
from websockets.asyncio.client import ClientConnection, connect

from greenroom._media import FakePeer
from greenroom._media._fake_sdp import client_offer
from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from greenroom.server import Server

KEY = ApiKey(key="devkey", secret="secret")
TIMEOUT = 10.0


def token(
    identity: str = "alice",
    room: str = "lobby",
    *,
    key: ApiKey = KEY,
    ttl: float = 600,
    now: float | None = None,
    **claims: Any,
) -> str:
    """Mint a room token; ``video`` in ``claims`` holds further fields of the video grant."""
    video = VideoGrant(**{"room_join": True, "room": room, **claims.pop("video", {})})
    return mint(key, identity=identity, video=video, ttl=ttl, now=now, **claims)


def join_request(*, offer: bool = True, **fields: Any) -> rtc.JoinRequest:
    """Build the join request of a client with current features."""
    request = rtc.JoinRequest(
        client_info=models.ClientInfo(
            sdk=models.ClientInfo.PYTHON,
            version="1.1.21",
            protocol=17,
            client_protocol=2,
            capabilities=[models.ClientInfo.CAP_PACKET_TRAILER, models.ClientInfo.CAP_COMPRESSION_DEFLATE_RAW],
        ),
        connection_settings=rtc.ConnectionSettings(auto_subscribe=True),
        **fields,
    )
    if offer and not request.HasField("publisher_offer"):
        request.publisher_offer.CopyFrom(rtc.SessionDescription(type="offer", sdp=client_offer(), id=1))
    return request


def encode_join_request(request: rtc.JoinRequest, *, compressed: bool = True) -> str:
    """Wrap a join request as clients put it into the URL."""
    body = request.SerializeToString()
    wrapped = rtc.WrappedJoinRequest(
        compression=rtc.WrappedJoinRequest.GZIP if compressed else rtc.WrappedJoinRequest.NONE,
        join_request=gzip.compress(body) if compressed else body,
    )
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def signal_url(url: str, *, path: str = "/rtc/v1", request: rtc.JoinRequest | None = None, query: str = "") -> str:
    """Return the WebSocket URL of a server at ``url``."""
    parameters = [query] if query else []
    if request is not None:
        parameters.append(f"join_request={quote(encode_join_request(request))}")
    return f"{url.replace('http', 'ws', 1)}{path}?{'&'.join(parameters)}"


class SignalClient:
    """One signalling connection.

    Messages are kept in order in :attr:`log`; :meth:`receive` takes the next one that fits and leaves the
    others for later calls.
    """

    def __init__(self, socket: ClientConnection, server: Server | None = None) -> None:
        self.socket = socket
        self.server = server
        self.text = False
        #: Every message so far.
        self.log: list[rtc.SignalResponse] = []
        #: ``text`` or ``binary`` for every message so far.
        self.encodings: list[str] = []
        self._unread: list[rtc.SignalResponse] = []
        self._arrived = asyncio.Condition()
        self._closed = False
        self._reader = asyncio.create_task(self._read())
        self.join: rtc.JoinResponse = rtc.JoinResponse()

    @classmethod
    async def open(
        cls,
        url: str,
        access_token: str | None = None,
        *,
        path: str = "/rtc/v1",
        request: rtc.JoinRequest | None = None,
        headers: Mapping[str, str] | None = None,
        server: Server | None = None,
        **options: Any,
    ) -> SignalClient:
        """Open a connection without waiting for any message. Raises ``websockets.InvalidStatus``."""
        request = join_request() if request is None else request
        sent = {"Authorization": f"Bearer {access_token or token()}", **(headers or {})}
        socket = await connect(
            signal_url(url, path=path, request=request),
            additional_headers=sent,
            max_size=None,
            compression=None,
            open_timeout=TIMEOUT,
            **options,
        )
        return cls(socket, server)

    @classmethod
    async def connect(cls, url: str, access_token: str | None = None, **options: Any) -> SignalClient:
        """Open a connection and take the join response and, when there was an offer, its answer."""
        client = await cls.open(url, access_token, **options)
        client.join = (await client.receive("join")).join
        request = options.get("request")
        if request is None or request.HasField("publisher_offer"):
            await client.receive("answer")
        return client

    @property
    def sid(self) -> str:
        """The participant sid."""
        return self.join.participant.sid

    @property
    def peer(self) -> FakePeer:
        """The client's end of its fake transport; it outlives the participant."""
        if self.server is None:
            raise RuntimeError("pass server= to use the media side")
        if not hasattr(self, "_peer"):
            everybody = self.server.rooms.participants
            transport = next(p.transport for p in everybody if p.sid == self.sid)
            self._peer: FakePeer = self.server.engine.peer(transport)  # type: ignore[attr-defined]
        return self._peer

    async def send(self, **message: Any) -> None:
        """Send a SignalRequest given by its field, in the encoding chosen by :attr:`text`."""
        request = rtc.SignalRequest(**message)
        if self.text:
            await self.socket.send(json_format.MessageToJson(request))
        else:
            await self.socket.send(request.SerializeToString())

    async def receive(
        self, kind: str, where: Callable[[Any], bool] = lambda _: True, *, within: float = TIMEOUT
    ) -> rtc.SignalResponse:
        """Return the next message of ``kind`` whose content fits ``where``."""

        def take() -> rtc.SignalResponse | None:
            for message in self._unread:
                if message.WhichOneof("message") == kind and where(getattr(message, kind)):
                    self._unread.remove(message)
                    return message
            return None

        async with asyncio.timeout(within), self._arrived:
            while (found := take()) is None:
                if self._closed:
                    raise ConnectionError(f"closed before a {kind} came: {self.kinds}")
                await self._arrived.wait()
            return found

    async def participant(
        self, identity: str, where: Callable[[models.ParticipantInfo], bool] = lambda _: True
    ) -> models.ParticipantInfo:
        """Return the next update about ``identity`` that fits ``where``; takes the whole message."""

        def fits(update: rtc.ParticipantUpdate) -> bool:
            return any(info.identity == identity and where(info) for info in update.participants)

        update = (await self.receive("update", fits)).update
        return next(info for info in update.participants if info.identity == identity and where(info))

    async def barrier(self) -> list[rtc.SignalResponse]:
        """Return everything unread up to the answer to a ping sent now."""
        stamp = len(self.log) + 1
        await self.send(ping_req=rtc.Ping(timestamp=stamp))
        await self.receive("pong_resp", lambda pong: pong.last_ping_timestamp == stamp)
        unread, self._unread = self._unread, []
        return unread

    @property
    def kinds(self) -> list[str | None]:
        """The kinds of all messages so far, in order."""
        return [message.WhichOneof("message") for message in self.log]

    async def leave(self, reason: models.DisconnectReason = models.DisconnectReason.CLIENT_INITIATED) -> None:
        """Say goodbye as the SDKs do and drop the socket."""
        await self.send(leave=rtc.LeaveRequest(reason=reason))
        await self.close()

    async def close(self) -> None:
        """Close the WebSocket without a goodbye."""
        await self.socket.close()
        await self._reader

    async def wait_closed(self, within: float = TIMEOUT) -> int | None:
        """Wait for the server to close; returns the close code."""
        async with asyncio.timeout(within):
            await self.socket.wait_closed()
            await self._reader
        return self.socket.close_code

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                if isinstance(frame, str):
                    message = json_format.Parse(frame, rtc.SignalResponse())
                else:
                    message = rtc.SignalResponse.FromString(frame)
                async with self._arrived:
                    self.log.append(message)
                    self.encodings.append("text" if isinstance(frame, str) else "binary")
                    self._unread.append(message)
                    self._arrived.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            async with self._arrived:
                self._closed = True
                self._arrived.notify_all()
