"""What a Twirp service is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import Message

from greenroom.grants import Grant


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and which call it is.

    ``grant`` is ``None`` without a token. ``request_id`` is ``X-Livekit-Request-Id``, the same on every
    retry of one call; empty when the client sent none.
    """

    grant: Grant | None = None
    request_id: str = ""


Handler: TypeAlias = Callable[[Call, Any], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: the message it takes and what answers it. The handler checks permissions first."""

    request_type: type[Any]
    handler: Handler


@dataclass(frozen=True, slots=True)
class Service:
    """A Twirp service by its full name, such as ``livekit.RoomService``."""

    name: str
    methods: Mapping[str, Method]
