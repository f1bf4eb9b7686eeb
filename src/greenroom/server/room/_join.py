"""The first message a client gets (``docs/protocol.md``, "Join response")."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from livekit.protocol import models, rtc

from greenroom.server.room._participant import Participant

PING_INTERVAL: Final = 5
PING_TIMEOUT: Final = 15

# What the media engine can carry. RED is left out of answers, so it is not promised here either.
_CODECS: Final = tuple(
    models.Codec(mime=mime) for mime in ("audio/opus", "video/VP8", "video/H264", "video/VP9", "video/AV1")
)
# Marks frames that a server puts into an encrypted track. This server never does.
_SIF_TRAILER: Final = secrets.token_bytes(16)


def join_response(
    server: models.ServerInfo, room: models.Room, participant: Participant, others: Iterable[Participant]
) -> rtc.SignalResponse:
    """Build the join response of a single-peer-connection session.

    ``subscriber_primary`` stays false: there is no subscriber connection that the client could wait for.
    """
    return rtc.SignalResponse(
        join=rtc.JoinResponse(
            room=room,
            participant=participant.info(),
            other_participants=[other.info() for other in others],
            server_info=server,
            server_version=server.version,
            server_region=server.region,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            enabled_publish_codecs=_CODECS,
            sif_trailer=_SIF_TRAILER,
        )
    )
