"""Clients for media engines behind one small interface, so that one suite can judge every engine.

``AiortcPeer`` is an independent implementation of ICE, DTLS and SCTP; ``ScriptedPeer`` plays the client of a
``FakeEngine``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtp import RtpPacket

from greenroom._media import Channel, FakeEngine

# How long a test waits before it calls a thing missing. Nothing is ever asserted about how long it took.
PATIENCE = 20.0


@dataclass(frozen=True)
class Heard:
    """One RTP packet that a peer was sent."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes


class MediaPeer(Protocol):
    """One client of an engine."""

    received: dict[str, list[bytes]]

    def heard(self, mid: str) -> list[Heard]:
        """Return the RTP packets that came on a section, oldest first."""

    def add_audio(self, cid: str) -> None:
        """Send audio in a section of its own from the next offer on."""

    def end_audio(self, cid: str) -> None:
        """Send it no longer from the next offer on."""

    async def send_audio(self, cid: str, sequence: int, payload: bytes, *, level: int = -20) -> None:
        """Send one RTP packet; ``level`` is in dBov."""

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
        self._more: list[tuple[str, str, str]] = []
        self._mids: dict[str, str] = {}
        self.received = self._peer.received

    async def offer(self, *, more_audio: int = 0) -> str:
        self._more += [("audio", "recvonly", "")] * more_audio
        return self._peer.offer(audio=1, video=0, more=self._more)

    def heard(self, mid: str) -> list[Heard]:
        packets = self._peer.rtp.get(mid, [])
        return [Heard(packet.ssrc, packet.sequence, packet.timestamp, packet.payload) for packet in packets]

    def add_audio(self, cid: str) -> None:
        self._more.append(("audio", "sendonly", cid))
        self._mids[cid] = str(len(self._more) + 1)

    def end_audio(self, cid: str) -> None:
        self._more[int(self._mids[cid]) - 2] = ("audio", "inactive", "")

    async def send_audio(self, cid: str, sequence: int, payload: bytes, *, level: int = -20) -> None:
        self._peer.send_rtp(self._mids[cid], payload, sequence=sequence, level=level)

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
        self._sending: dict[str, RTCRtpTransceiver] = {}
        self._heard: dict[int, list[Heard]] = {}
        self._ssrcs: dict[str, list[int]] = {}

    def heard(self, mid: str) -> list[Heard]:
        return [packet for ssrc in self._ssrcs.get(mid, []) for packet in self._heard.get(ssrc, [])]

    def add_audio(self, cid: str) -> None:
        self._sending[cid] = self._connection.addTransceiver("audio", direction="sendonly")
        self._sending[cid].sender._track_id = cid

    def end_audio(self, cid: str) -> None:
        self._sending[cid].direction = "inactive"

    async def send_audio(self, cid: str, sequence: int, payload: bytes, *, level: int = -20) -> None:
        transceiver = self._sending[cid]
        packet = RtpPacket(
            payload_type=96,
            sequence_number=sequence,
            timestamp=sequence * 960,
            ssrc=transceiver.sender._ssrc,
            payload=payload,
        )
        packet.extensions.mid = transceiver.mid
        packet.extensions.audio_level = (True, -level)
        dtls = self._connection.sctp.transport
        await dtls._send_rtp(packet.serialize(dtls._rtp_header_extensions_map))

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
        # aiortc reads the candidates of a transport from the last section that uses it only; an answer has them in
        # its first (RFC 9143 section 7.1.3).
        candidates = "".join(re.findall(r"a=candidate:.*\r\n", sdp))
        spread = re.sub(r"(a=mid:.*\r\n)", rf"\1{candidates}", sdp)
        await self._connection.setRemoteDescription(RTCSessionDescription(spread, "answer"))
        self._connection.sctp.transport._handle_rtp_data = self._on_rtp
        for section in sdp.split("\r\nm=")[1:]:
            (mid,) = re.findall(r"a=mid:(\S+)", section)
            for ssrc in dict.fromkeys(re.findall(r"a=ssrc:(\d+) ", section)):
                known = self._ssrcs.setdefault(mid, [])
                known += [int(ssrc)] if int(ssrc) not in known else []

    async def _on_rtp(self, data: bytes, arrival_time_ms: int) -> None:
        packet = RtpPacket.parse(data)
        heard = Heard(packet.ssrc, packet.sequence_number, packet.timestamp, packet.payload)
        self._heard.setdefault(packet.ssrc, []).append(heard)
        self._changed.set()

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
