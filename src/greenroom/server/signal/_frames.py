"""WebSocket frames: protobuf in binary ones, protojson in text ones."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit.protocol import rtc


class FrameError(ValueError):
    """The frame is not a signalling message."""


def decode_request(frame: bytes | str, limit: int) -> rtc.SignalRequest:
    """Read what a client sent. Kinds that this server does not know leave the message empty.

    :param limit: largest length of a frame.
    :raises FrameError: when it cannot be read.
    """
    if len(frame) > limit:
        raise FrameError("too large")
    try:
        if isinstance(frame, bytes):
            return rtc.SignalRequest.FromString(frame)
        return json_format.Parse(frame, rtc.SignalRequest(), ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError):
        raise FrameError("not a SignalRequest") from None
