"""Clients for media engines behind one small interface, so that one suite can judge every engine.

``AiortcPeer`` is an independent implementation of ICE, DTLS and SCTP; ``ScriptedPeer`` plays the client of a
``FakeEngine``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from greenroom._media import Channel, FakeEngine

# How long a test waits before it calls a thing missing. Nothing is ever asserted about how long it took.
PATIENCE = 20.0


class MediaPeer(Protocol):
    """One client of an engine."""

    received: dict[str, list[bytes]]

    async def offer(self, *, more_audio: int = 0) -> str:
        """Return the next offer; each call may append receiving audio sections."""

    async def answer(self, sdp: str) -> None:
        """Take the engine's answer. The first one starts the connection."""

    async def open(self) -> None:
        """Return when LiveKit's three channels are open at this end."""

    def send(self, label: str, payload: bytes) -> None:
        """Send one message."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition``, which looks at what was received, holds."""

    def pause(self) -> None:
        """Stop taking data, so that nothing is acknowledged, but stay alive."""

    def resume(self) -> None:
        """Take data again."""

    def close_channel(self, label: str) -> None:
        """End one data channel."""

    def vanish(self) -> None:
        """Leave the network without a word."""

    async def close(self) -> None:
        """Say goodbye: a DTLS close alert."""

    async def dispose(self) -> None:
        """Release what the peer holds."""


class ScriptedPeer:
    """The client of a fake engine."""

    def __init__(self, engine: FakeEngine, transport: int) -> None:
        self._engine = engine
        self._peer = engine.peer(transport)
        self._audio = 1
        self.received = self._peer.received

    async def offer(self, *, more_audio: int = 0) -> str:
        self._audio += more_audio
        return self._peer.offer(audio=self._audio, video=0)

    async def answer(self, sdp: str) -> None:
        self._peer.connect()
        for label in Channel:
            self._peer.open_channel(label)

    async def open(self) -> None:
        await self._engine.settle()

    def send(self, label: str, payload: bytes) -> None:
        self._peer.send(label, payload)

    async def until(self, condition: Callable[[], bool]) -> None:
        await self._engine.settle()
        assert condition()

    def pause(self) -> None:
        self._peer.pause()

    def resume(self) -> None:
        self._peer.resume()

    def close_channel(self, label: str) -> None:
        self._peer.close_channel(label)

    def vanish(self) -> None:
        self._peer.go_silent()
        self._engine.advance(15)

    async def close(self) -> None:
        self._peer.close()

    async def dispose(self) -> None:
        pass


class AiortcPeer:
    """A WebRTC client in Python with LiveKit's channels and one receiving audio section."""

    def __init__(self) -> None:
        self.received: dict[str, list[bytes]] = {}
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._changed = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._channels = {
            label: self._channel(label, reliable=label == Channel.RELIABLE)
            for label in (Channel.LOSSY, Channel.RELIABLE, Channel.DATA_TRACK)
        }
        self._connection.addTransceiver("audio", direction="recvonly")

    def _channel(self, label: str, *, reliable: bool) -> RTCDataChannel:
        retransmits = None if reliable else 0
        channel = self._connection.createDataChannel(label, ordered=reliable, maxRetransmits=retransmits)

        @channel.on("message")
        def on_message(payload: bytes) -> None:
            self.received.setdefault(label, []).append(payload)
            self._changed.set()

        channel.on("open", self._changed.set)
        return channel

    async def offer(self, *, more_audio: int = 0) -> str:
        for _ in range(more_audio):
            self._connection.addTransceiver("audio", direction="recvonly")
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer(self, sdp: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def open(self) -> None:
        await self.until(lambda: all(channel.readyState == "open" for channel in self._channels.values()))
        # From here on data passes a gate that pause() closes.
        ice = self._connection.sctp.transport.transport
        ice._recv = self._gated(ice._recv)

    def _gated(self, receive: Callable[[], Awaitable[bytes]]) -> Callable[[], Awaitable[bytes]]:
        async def gated() -> bytes:
            data = await receive()
            await self._flowing.wait()
            return data

        return gated

    def send(self, label: str, payload: bytes) -> None:
        self._channels[Channel(label)].send(payload)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def close_channel(self, label: str) -> None:
        self._channels[Channel(label)].close()

    def vanish(self) -> None:
        ice = self._connection.sctp.transport.transport._connection
        if ice._query_consent_task:
            ice._query_consent_task.cancel()
        for protocol in ice._protocols:
            protocol.transport.abort()

    async def close(self) -> None:
        await self._connection.sctp.transport.stop()

    async def dispose(self) -> None:
        self._flowing.set()
        with contextlib.suppress(ConnectionError, AttributeError):
            await self._connection.close()
