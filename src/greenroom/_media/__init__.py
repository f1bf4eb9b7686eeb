"""The media engine: the seam that the server programs against, and the engines behind it.

Engines are imported on first use: a control plane that moves no media never loads the native core, and
a server never loads the fake.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from greenroom._media._engine import (
    Answer,
    Channel,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    EngineStats,
    Event,
    EventHandler,
    MediaEngine,
    Section,
    TransportClosed,
    TransportConnected,
    TransportId,
)

if TYPE_CHECKING:
    from greenroom._media._fake import FakeEngine, FakePeer
    from greenroom._media._str0m import Str0mEngine

__all__ = [
    "Answer",
    "Channel",
    "ChannelClosed",
    "ChannelOpened",
    "DataReceived",
    "EngineConfig",
    "EngineStats",
    "Event",
    "EventHandler",
    "FakeEngine",
    "FakePeer",
    "MediaEngine",
    "Section",
    "Str0mEngine",
    "TransportClosed",
    "TransportConnected",
    "TransportId",
]


_LAZY = {"FakeEngine": "_fake", "FakePeer": "_fake", "Str0mEngine": "_str0m"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
