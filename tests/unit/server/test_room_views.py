"""Whatever happens in a room, everybody in it ends up knowing the same about each other."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from livekit.protocol import models, rtc

from greenroom.server.room import Participant
from support.rooms import Stage

pytestmark = pytest.mark.unit

Info = models.ParticipantInfo
IDENTITIES = ("ann", "bob", "cat", "dan", "eve")


class View:
    """What a client believes, by the rules that the Rust SDK applies to what it is told."""

    def __init__(self, me: Participant) -> None:
        self.me = me
        self.others: dict[str, models.ParticipantInfo] = {}
        self.read = 0

    def catch_up(self, messages: list[rtc.SignalResponse]) -> None:
        for message in messages[self.read :]:
            for info in message.join.other_participants:
                self.others[info.identity] = info
            for info in message.update.participants:
                self._update(info)
        self.read = len(messages)

    def _update(self, info: models.ParticipantInfo) -> None:
        if info.identity == self.me.identity:
            assert info.sid == self.me.sid, "an update about a predecessor overwrites the local participant"
            return
        known = self.others.get(info.identity)
        if known is not None and known.sid == info.sid:
            assert info.version >= known.version, "an old version after a newer one"
            assert info.state >= known.state, "a state went back"
        if info.state != Info.DISCONNECTED:
            self.others[info.identity] = info
        elif known is not None:
            assert known.sid == info.sid, "the departure of a predecessor removes its successor"
            del self.others[info.identity]


class Rooms(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # A room counts as large at once, so that updates are gathered now and then.
        self._patch = mock.patch("greenroom.server.room._announcements.SMALL_ROOM", 2)
        self._patch.start()
        self.stage = Stage(empty_timeout=10**6, departure_timeout=10**6)
        self.views: dict[str, View] = {}

    def teardown(self) -> None:
        self._patch.stop()

    def present(self) -> list[Participant]:
        return list(self.stage.room.participants.values())

    @rule(identity=st.sampled_from(IDENTITIES), hidden=st.booleans(), active=st.booleans())
    def join(self, identity: str, hidden: bool, active: bool) -> None:
        participant = self.stage.join(identity, hidden=hidden, active=active)
        self.views[participant.sid] = View(participant)

    @precondition(lambda self: self.present())
    @rule(data=st.data(), reason=st.sampled_from(["leave", "signal", "media", "remove"]))
    def go(self, data: st.DataObject, reason: str) -> None:
        room, now = self.stage.room, self.stage.now
        participant = data.draw(st.sampled_from(self.present()))
        self.stage.do(
            {
                "leave": lambda: room.client_left(participant, 1, now),
                "signal": lambda: room.signal_lost(participant, now),
                "media": lambda: room.media_lost(participant, "ice_timeout", now),
                "remove": lambda: room.remove(participant, models.DisconnectReason.PARTICIPANT_REMOVED, now),
            }[reason]()
        )

    @precondition(lambda self: self.present())
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        self.stage.connect(data.draw(st.sampled_from(self.present())))

    @precondition(lambda self: self.present())
    @rule(data=st.data(), name=st.sampled_from(["x", "y"]), hidden=st.sampled_from([None, True, False]))
    def change(self, data: st.DataObject, name: str, hidden: bool | None) -> None:
        participant = data.draw(st.sampled_from(self.present()))
        permission = None if hidden is None else models.ParticipantPermission(hidden=hidden)
        now = self.stage.now
        self.stage.do(self.stage.room.update_participant(participant, now, name=name, permission=permission))

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.stage.pass_time(seconds)

    @invariant()
    def what_is_told_is_consistent(self) -> None:
        for participant in self.present():
            self.views[participant.sid].catch_up(self.stage.told[participant.sid])
        if self.stage.room.flush_at is not None:
            return
        truth = {p.identity: p for p in self.present() if not p.hidden}
        for participant in self.present():
            believed = self.views[participant.sid].others
            expected = {identity: p.info() for identity, p in truth.items() if p is not participant}
            assert believed == expected


TestRooms = Rooms.TestCase
TestRooms.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
