"""Plays a room's manager in virtual time: applies effects to memory, so that tests can look at them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from livekit.protocol import models, rtc

from greenroom.config import ApiKey, Limits, RoomDefaults
from greenroom.grants import Claims, Grant, VideoGrant
from greenroom.server.data import Outbound
from greenroom.server.room import Joining, Participant, Room
from greenroom.server.room._effects import AgentsRequested, Drop, Effect, Happened, Published, Signal, Tell, TrackChange
from greenroom.server.room._room import ServerFacts
from greenroom.server.tracks import MediaCommand

KEY = ApiKey(key="devkey", secret="secret")
START = 1_700_000_000.0
INFO = models.ServerInfo(version="1.13.5", protocol=17)


def joining(
    identity: str,
    *,
    kind: str = "",
    name: str = "",
    metadata: str = "",
    attributes: dict[str, str] | None = None,
    client: models.ClientInfo | None = None,
    **video: Any,
) -> Joining:
    """Build somebody who asks to join; further arguments are fields of the video grant."""
    claims = Claims(identity=identity, kind=kind, video=VideoGrant(room_join=True, **video), expires_at=START + 3600)
    return Joining(
        grant=Grant(claims, KEY),
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=attributes or {},
        client=client or models.ClientInfo(protocol=17, client_protocol=2),
    )


class Stage:
    """One room and everything that came out of it. :attr:`now` is moved by the test."""

    def __init__(self, *, limits: Limits | None = None, **defaults: Any) -> None:
        self.now = START
        facts = ServerFacts(info=INFO, limits=limits or Limits(), defaults=RoomDefaults(**defaults))
        self.room = Room("lobby", facts, self.now)
        #: Signalling messages by participant sid.
        self.told: defaultdict[str, list[rtc.SignalResponse]] = defaultdict(list)
        #: Data messages, in order.
        self.sent: list[Outbound] = []
        #: What listeners heard: what, identity, reason.
        self.heard: list[tuple[Happened, str, int]] = []
        #: Who published for the first time.
        self.publishers: list[str] = []
        #: Tracks that began or ended: identity, sid, whether it began.
        self.changes: list[tuple[str, str, bool]] = []
        #: Agents that were asked for after the room began.
        self.agents: list[str] = []
        #: What the engine was told, in order.
        self.commands: list[MediaCommand] = []
        #: Who was dropped, with the last words.
        self.dropped: list[tuple[Participant, rtc.LeaveRequest | None]] = []
        self._transports = 0

    def do(self, effects: Iterable[Effect]) -> None:
        """Apply effects."""
        for effect in effects:
            if isinstance(effect, Signal):
                for participant in effect.to:
                    self.told[participant.sid].append(effect.message)
            elif isinstance(effect, Outbound):
                self.sent.append(effect)
            elif isinstance(effect, Drop):
                self.dropped.append((effect.participant, effect.leave.leave if effect.leave else None))
                effect.participant.signal = None
            elif isinstance(effect, Tell):
                who = effect.participant.identity if effect.participant else ""
                self.heard.append((effect.what, who, effect.reason))
            elif isinstance(effect, TrackChange):
                self.changes.append((effect.participant.identity, effect.info.sid, effect.published))
            elif isinstance(effect, Published):
                self.publishers.append(effect.participant.identity)
            elif isinstance(effect, AgentsRequested):
                self.agents += [agent.agent_name for agent in effect.agents]
            else:
                self.commands.append(effect)

    def join(self, identity: str, *, active: bool = True, **options: Any) -> Participant:
        """Let somebody in, by default with media up."""
        self._transports += 1
        auto = options.pop("auto_subscribe", True)
        asking = replace(joining(identity, **options), auto_subscribe=auto)
        participant, effects = self.room.join(self._transports, asking, self.now)
        participant.signal = _Port()
        self.do(effects)
        if active:
            self.connect(participant)
        return participant

    def connect(self, participant: Participant) -> None:
        """Bring a participant's media up."""
        self.do(self.room.media_connected(participant, self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the manager does: a tick a second, announcements when they are due."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1.0, until)
            if self.room.flush_at is not None and self.room.flush_at <= self.now:
                self.do(self.room.flush(self.now))
            self.do(self.room.tick(self.now))

    def kinds(self, participant: Participant) -> list[str | None]:
        """The kinds of messages a participant was sent."""
        return [message.WhichOneof("message") for message in self.told[participant.sid]]

    def updates(self, participant: Participant) -> list[models.ParticipantInfo]:
        """Every participant info a participant was sent in updates, in order."""
        return [info for m in self.told[participant.sid] for info in m.update.participants]


class _Port:
    def send(self, message: object) -> None:
        raise AssertionError("the stage delivers messages itself")

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass
