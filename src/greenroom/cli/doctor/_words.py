"""Text that participants send each other, as data packets (docs/protocol.md, Data packets)."""

from __future__ import annotations

import secrets
import time
from typing import Final

from google.protobuf.message import DecodeError
from livekit.protocol import models

CHAT: Final = "lk.chat"
_TOPICS: Final = frozenset({CHAT, "lk.transcription"})
RELIABLE: Final = "_reliable"


def text_stream(text: str, sequence: int) -> list[bytes]:
    """Return the packets of a line for the chat, numbered from ``sequence``."""
    stream = secrets.token_hex(8)
    content = text.encode()
    header = models.DataStream.Header(
        stream_id=stream,
        timestamp=int(time.time() * 1000),
        topic=CHAT,
        mime_type="text/plain",
        total_length=len(content),
        text_header=models.DataStream.TextHeader(),
    )
    packets = [
        models.DataPacket(stream_header=header),
        models.DataPacket(stream_chunk=models.DataStream.Chunk(stream_id=stream, content=content)),
        models.DataPacket(stream_trailer=models.DataStream.Trailer(stream_id=stream)),
    ]
    for number, packet in enumerate(packets, sequence):
        packet.sequence = number
    return [packet.SerializeToString() for packet in packets]


class Listener:
    """Collects what each participant says, by its identity."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._streams: set[str] = set()

    def said(self, identity: str) -> str:
        """Return what somebody has said so far."""
        return " ".join("".join(self._said.get(identity, ())).split())

    def hear(self, payload: bytes) -> None:
        """Take a packet; one that cannot be read is nobody's word."""
        try:
            packet = models.DataPacket.FromString(payload)
        except DecodeError:
            return
        words = self._said.setdefault(packet.participant_identity, [])
        kind = packet.WhichOneof("value")
        if kind == "stream_header" and packet.stream_header.topic in _TOPICS:
            self._streams.add(packet.stream_header.stream_id)
            # An agent may speak for another; this one's own words count.
            words.append(packet.stream_header.inline_content.decode(errors="replace"))
        elif kind == "stream_chunk" and packet.stream_chunk.stream_id in self._streams:
            words.append(packet.stream_chunk.content.decode(errors="replace"))
        elif kind == "chat_message":
            words.append(packet.chat_message.message)
