"""Tracks: who publishes what, who receives it, and in which section of whose connection."""

from __future__ import annotations

from greenroom.server.tracks._effects import (
    MediaCommand,
    Publish,
    Published,
    Signal,
    TrackChange,
    TrackEffect,
    Unpublish,
    carry_out,
)
from greenroom.server.tracks._negotiation import Negotiation
from greenroom.server.tracks._speakers import INTERVAL, Speakers
from greenroom.server.tracks._track import Track
from greenroom.server.tracks._tracks import Tracks

__all__ = [
    "INTERVAL",
    "MediaCommand",
    "Negotiation",
    "Publish",
    "Published",
    "Signal",
    "Speakers",
    "Track",
    "TrackChange",
    "TrackEffect",
    "Tracks",
    "Unpublish",
    "carry_out",
]
