"""One offer on its way through the media engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from greenroom._media import Receive, Send
from greenroom.server.tracks._effects import TrackEffect
from greenroom.server.tracks._track import Track


@dataclass(slots=True)
class Negotiation:
    """What to answer to an offer, and what follows once the answer is there.

    ``effects`` are to be applied before the engine is asked.
    """

    plan: dict[str, Receive | Send] = field(default_factory=dict)
    effects: list[TrackEffect] = field(default_factory=list)
    #: Announced tracks that have their section now, with its mid.
    found: list[tuple[str, Track]] = field(default_factory=list)
    #: Sections that this answer empties.
    emptied: list[str] = field(default_factory=list)
