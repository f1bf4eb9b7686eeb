"""What the observer's process and its parent tell each other: frames of MessagePack over one socket.

A frame is its length, four bytes in network order, and one message. Neither side trusts the other with more
than :data:`MAX_FRAME` bytes.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

import msgspec

MAX_FRAME: Final = 32 * 1024 * 1024
_LENGTH: Final = 4


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """Join a room and listen to the agent called ``agent`` there, as ``number`` from now on."""

    number: int
    url: str
    token: str
    agent: str


class Detach(msgspec.Struct, frozen=True, tag="detach"):
    """Leave the room."""

    number: int


class Say(msgspec.Struct, frozen=True, tag="say"):
    """Send a message to the agent."""

    number: int
    payload: bytes


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """The room has been joined; ``present``: the agent is there already."""

    number: int
    present: bool


class Arrived(msgspec.Struct, frozen=True, tag="arrived"):
    """The agent has come, or come back."""

    number: int


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """The agent sent a message."""

    number: int
    payload: bytes


class Stated(msgspec.Struct, frozen=True, tag="stated"):
    """The agent sent a text about its task."""

    number: int
    text: str


class Left(msgspec.Struct, frozen=True, tag="left"):
    """The room has been left: ``ended``, ``left`` (the agent), ``refused`` (the join), ``lost`` or ``detached``."""

    number: int
    reason: str
    detail: str = ""


Command: TypeAlias = Attach | Detach | Say
Report: TypeAlias = Attached | Arrived | Heard | Stated | Left

_encoder: Final = msgspec.msgpack.Encoder()
commands: Final = msgspec.msgpack.Decoder(Command)
reports: Final = msgspec.msgpack.Decoder(Report)


def frame(message: Command | Report) -> bytes:
    """Return a message as a frame."""
    payload = _encoder.encode(message)
    return len(payload).to_bytes(_LENGTH) + payload


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next frame's content; ``None`` at the end, in the middle of a frame too."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        return await reader.readexactly(length) if length <= MAX_FRAME else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
