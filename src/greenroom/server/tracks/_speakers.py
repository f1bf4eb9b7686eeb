"""Who is speaking: from audio levels to ``speakers_changed`` (``docs/protocol.md``, "Speakers").

Pure. Levels are smoothed over two windows and told in eighths, so that a steady voice is told once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from livekit.protocol import models, rtc

#: Seconds between two reports of the engine.
INTERVAL: Final = 0.4
#: The share of a window that has to be loud.
ACTIVE_SHARE: Final = 0.4
STEPS: Final = 8
_SMOOTH: Final = 2 / 3


class Speakers:
    """The speakers of one room, by participant sid."""

    def __init__(self) -> None:
        self._smoothed: dict[str, float] = {}
        self._told: dict[str, float] = {}

    @property
    def active(self) -> Mapping[str, float]:
        """Who speaks, and how loud, as it was told: eighths up to 1."""
        return self._told

    def observe(self, levels: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Take in a window: per participant its level in dBov and the share of the window that was loud.

        Returns what has changed: the new level of each, 0 for those who have stopped.
        """
        heard = {sid: _loudness(level, share) for sid, (level, share) in levels.items() if share >= ACTIVE_SHARE}
        self._smoothed = {sid: self._smooth(sid, loudness) for sid, loudness in heard.items()}
        now = {sid: math.ceil(level * STEPS) / STEPS for sid, level in self._smoothed.items()}
        changes = dict.fromkeys(self._told.keys() - now.keys(), 0.0)
        changes.update({sid: level for sid, level in now.items() if self._told.get(sid) != level})
        self._told = now
        return changes

    def forget(self, sid: str) -> None:
        """Drop somebody who has left; clients know."""
        self._smoothed.pop(sid, None)
        self._told.pop(sid, None)

    def _smooth(self, sid: str, loudness: float) -> float:
        before = self._smoothed.get(sid, 0.0)
        return before + (loudness - before) * _SMOOTH


def _loudness(level: float, share: float) -> float:
    """Return a level between 0 and 1: quieter for whoever spoke only part of the window."""
    return min(1.0, share * 10 ** (min(level, 0.0) / 20))


def speakers_changed(
    changes: Mapping[str, float], audiences: Mapping[str, Iterable[str]]
) -> Iterator[tuple[rtc.SpeakersChanged, list[str]]]:
    """Build as few messages as will do: everybody is told of those whose audience it is in.

    :param audiences: sids of the listeners of each speaker.
    """
    told_of: dict[str, list[str]] = {}
    for speaker in changes:
        for listener in audiences[speaker]:
            told_of.setdefault(listener, []).append(speaker)
    groups: dict[tuple[str, ...], list[str]] = {}
    for listener, speakers in told_of.items():
        groups.setdefault(tuple(speakers), []).append(listener)
    for group, listeners in groups.items():
        infos = [models.SpeakerInfo(sid=sid, level=changes[sid], active=changes[sid] > 0) for sid in group]
        yield rtc.SpeakersChanged(speakers=infos), listeners
