"""Signalling messages on their way to clients: built once, encoded once, sent to many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, Protocol

from livekit.protocol import models, rtc

# The real server's target; a client parses an update in one go.
UPDATE_BYTES: Final = 128 * 1024

DISCONNECT: Final = rtc.LeaveRequest.DISCONNECT
RECONNECT: Final = rtc.LeaveRequest.RECONNECT


class Outgoing:
    """One message in both encodings LiveKit has, each made when somebody first needs it."""

    def __init__(self, message: rtc.SignalResponse) -> None:
        self.message = message

    @cached_property
    def binary(self) -> bytes:
        """The message as protobuf."""
        return self.message.SerializeToString()

    @cached_property
    def text(self) -> str:
        """The message as protojson."""
        # Only clients that speak JSON pay for loading the encoder.
        from google.protobuf import json_format  # noqa: PLC0415

        return json_format.MessageToJson(self.message, indent=None)


class SignalPort(Protocol):
    """The way to one participant's signalling connection. Nothing here blocks."""

    def send(self, message: Outgoing) -> None:
        """Queue a message. After :meth:`close` it is dropped."""
        ...

    def close(self) -> None:
        """Close once everything queued has been written. Idempotent."""
        ...

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        ...


def leave(reason: models.DisconnectReason, action: rtc.LeaveRequest.Action) -> rtc.SignalResponse:
    """Build the message that tells a client to go, and whether to come back."""
    return rtc.SignalResponse(
        leave=rtc.LeaveRequest(reason=reason, action=action, can_reconnect=action != DISCONNECT),
    )


def participant_updates(infos: Iterable[models.ParticipantInfo]) -> Iterator[rtc.SignalResponse]:
    """Build as few updates as fit the size LiveKit aims for. Every info carries all its tracks."""
    batch: list[models.ParticipantInfo] = []
    size = 0
    for info in infos:
        length = info.ByteSize()
        if batch and size + length > UPDATE_BYTES:
            yield rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=batch))
            batch, size = [], 0
        batch.append(info)
        size += length
    if batch:
        yield rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=batch))
