"""Telling everybody in a room about each other without N x N messages.

In a small room every change is told at once. In a large one, changes that nobody waits for are gathered
for a moment and told together, each participant in its latest state. A message is built once for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from livekit.protocol import models

from greenroom.server.room._effects import Signal
from greenroom.server.room._messages import participant_updates
from greenroom.server.room._participant import Info, Participant

SMALL_ROOM: Final = 24
GATHER: Final = 0.2


class Announcements:
    """What the participants of one room still have to be told about each other.

    :param participants: who is there, kept up to date by the room.
    """

    def __init__(self, participants: Mapping[str, Participant]) -> None:
        self._participants = participants
        self._pending: dict[str, Participant] = {}
        #: When :meth:`flush` is due, in seconds since the epoch; ``None`` when nothing waits.
        self.due: float | None = None

    def __contains__(self, participant: Participant) -> bool:
        return participant.sid in self._pending

    @property
    def has_departures(self) -> bool:
        """Whether somebody's leaving has not been told yet."""
        return any(participant.state == Info.DISCONNECTED for participant in self._pending.values())

    def add(
        self, participant: Participant, now: float, *, urgent: bool = False, also_self: bool = True
    ) -> list[Signal]:
        """Note that ``participant`` has changed.

        :param urgent: tell at once, whatever the size of the room.
        :param also_self: tell the participant, too.
        """
        if participant.hidden:
            return self._tell([participant], [participant] if participant.present and also_self else [])
        self._pending.pop(participant.sid, None)
        if not urgent and len(self._participants) > SMALL_ROOM:
            self._pending[participant.sid] = participant
            if self.due is None:
                self.due = now + GATHER
            return []
        # What waits about the others is for this participant, too.
        earlier = [] if also_self or not self._pending else self.flush()
        self._pending[participant.sid] = participant
        return [*earlier, *self.flush(without=None if also_self else participant)]

    def flush(self, *, without: Participant | None = None) -> list[Signal]:
        """Tell everything that waits, to everybody present but ``without``."""
        pending, self._pending, self.due = self._pending, {}, None
        to = [p for p in self._participants.values() if p.present and p is not without]
        return self._tell(list(pending.values()), to)

    def vanish(self, participant: Participant) -> list[Signal]:
        """Tell the others that ``participant``, who has just become hidden, is gone."""
        self._pending.pop(participant.sid, None)
        info = models.ParticipantInfo()
        info.CopyFrom(participant.info())
        info.state = Info.DISCONNECTED
        to = [p for p in self._participants.values() if p.present and p is not participant]
        return [*self.flush(), *_signals([info], to)]

    @staticmethod
    def _tell(about: Sequence[Participant], to: Sequence[Participant]) -> list[Signal]:
        return _signals([participant.info() for participant in about], to)


def _signals(infos: Sequence[models.ParticipantInfo], to: Sequence[Participant]) -> list[Signal]:
    if not to:
        return []
    return [Signal(to, message) for message in participant_updates(infos)]
