"""The media engine: the seam that the server programs against, and the engines behind it.

Engines are imported on first use: a control plane that moves no media never loads the native core, and
a server never loads the fake.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from greenroom._media._engine import (
    NO_PLAN,
    Answer,
    AudioLevels,
    Channel,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    EngineStats,
    Event,
    EventHandler,
    MediaEngine,
    Plan,
    Receive,
    Section,
    Send,
    TrackEvent,
    TrackId,
    TrackStarted,
    TransportClosed,
    TransportConnected,
    TransportEvent,
    TransportId,
)

if TYPE_CHECKING:
    from greenroom._media._calls import CallNews, Calls, Heard
    from greenroom._media._fake import FakeEngine
    from greenroom._media._fake_media import FakePacket
    from greenroom._media._fake_peer import FakePeer
    from greenroom._media._str0m import Str0mEngine

__all__ = [
    "NO_PLAN",
    "Answer",
    "AudioLevels",
    "CallNews",
    "Calls",
    "Channel",
    "ChannelClosed",
    "ChannelOpened",
    "DataReceived",
    "EngineConfig",
    "EngineStats",
    "Event",
    "EventHandler",
    "FakeEngine",
    "FakePacket",
    "FakePeer",
    "Heard",
    "MediaEngine",
    "Plan",
    "Receive",
    "Section",
    "Send",
    "Str0mEngine",
    "TrackEvent",
    "TrackId",
    "TrackStarted",
    "TransportClosed",
    "TransportConnected",
    "TransportEvent",
    "TransportId",
]


_LAZY = {
    "CallNews": "_calls",
    "Calls": "_calls",
    "FakeEngine": "_fake",
    "FakePacket": "_fake_media",
    "FakePeer": "_fake_peer",
    "Heard": "_calls",
    "Str0mEngine": "_str0m",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
