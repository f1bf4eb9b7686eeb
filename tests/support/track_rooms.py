"""Clients of a room in virtual time, down to the sections of their offers."""

from __future__ import annotations

from typing import Any

from livekit.protocol import models, rtc

from greenroom._media import Plan, Section, Send
from greenroom.server.room import Participant
from greenroom.server.signal._requests import handle_request
from greenroom.server.tracks._effects import Forward, Pause, Publish, Unforward, Unpublish
from support.rooms import Stage

MIC = models.TrackSource.MICROPHONE


class Client:
    """What the SDK of one participant does: asks, offers, and reads what it is told."""

    def __init__(self, stage: TrackStage, participant: Participant) -> None:
        self.stage = stage
        self.participant = participant
        self.sections = [Section(str(n), "audio" if n < 3 else "video", "recvonly") for n in range(6)]
        #: What the engine was to do on each section of the last offer.
        self.plan: Plan = {}

    @property
    def sid(self) -> str:
        return self.participant.sid

    @property
    def told(self) -> list[rtc.SignalResponse]:
        return self.stage.told[self.sid]

    def of(self, kind: str) -> list[Any]:
        """Every message of a kind so far."""
        return [getattr(message, kind) for message in self.told if message.WhichOneof("message") == kind]

    def ask(self, **request: Any) -> list[rtc.SignalResponse]:
        """Send a request; returns what this client was told because of it."""
        before = len(self.told)
        self.stage.do(handle_request(self.participant, rtc.SignalRequest(**request), self.stage.now))
        return self.told[before:]

    def announce(self, cid: str, **fields: Any) -> list[rtc.SignalResponse]:
        """Ask to publish a track."""
        return self.ask(add_track=rtc.AddTrackRequest(cid=cid, **{"source": MIC, **fields}))

    def add_section(self, cid: str = "", direction: str = "sendonly", kind: str = "audio") -> str:
        """Append a section to the next offer; returns its mid."""
        mid = str(len(self.sections) + 1)
        self.sections.append(Section(mid, kind, direction, cid))
        return mid

    def set_direction(self, mid: str, direction: str, cid: str = "") -> None:
        self.sections = [Section(s.mid, s.kind, direction, cid) if s.mid == mid else s for s in self.sections]

    def begin_offer(self) -> Any:
        """Send an offer, whose answer the engine is still working on."""
        negotiation = self.stage.room.tracks.plan(self.participant, self.sections, self.stage.now)
        self.plan = negotiation.plan
        self.stage.do(negotiation.effects)
        return negotiation

    def end_offer(self, negotiation: Any) -> rtc.SessionDescription | None:
        answer = rtc.SessionDescription(type="answer", sdp="v=0")
        before = len(self.of("answer"))
        self.stage.do(self.stage.room.tracks.answered(self.participant, negotiation, answer, self.stage.now))
        answers = self.of("answer")[before:]
        return answers[0] if answers else None

    def offer(self) -> rtc.SessionDescription | None:
        """Offer all sections and take the answer."""
        return self.end_offer(self.begin_offer())

    def follow(self) -> int:
        """Do what the server asked for until it asks no more; returns how many offers that took."""
        for offers in range(10):
            requirements = self.of("media_sections_requirement")
            if len(requirements) == self._followed:
                return offers
            for requirement in requirements[self._followed :]:
                for kind, count in (("audio", requirement.num_audios), ("video", requirement.num_videos)):
                    for _ in range(count):
                        self.add_section(direction="recvonly", kind=kind)
            self._followed = len(requirements)
            self.offer()
        raise AssertionError("the server asks for offers without end")

    _followed = 0

    def publish(self, cid: str, **fields: Any) -> str:
        """Publish a track the whole way; returns its sid."""
        self.announce(cid, **fields)
        self.add_section(cid)
        self.offer()
        return self.of("track_published")[-1].track.sid

    @property
    def receiving(self) -> dict[str, str]:
        """Sids of the tracks that this client is sent, by mid, from the plan of its last offer."""
        return {mid: what.track for mid, what in self.plan.items() if isinstance(what, Send)}

    @property
    def hears(self) -> list[str]:
        """Sids of the tracks whose packets reach this client."""
        return self.stage.heard_by(self.participant)


class TrackStage(Stage):
    """A room, its clients, and a model of what the engine forwards."""

    def client(self, identity: str, *, offer: bool = True, **options: Any) -> Client:
        """Let somebody in, with a first offer."""
        client = Client(self, self.join(identity, active=False, **options))
        if offer:
            client.offer()
            self.connect(client.participant)
        return client

    def heard_by(self, participant: Participant) -> list[str]:
        alive: dict[int, bool] = {}
        forwards: dict[str, int] = {}
        paused: set[str] = set()
        for command in self.commands:
            match command:
                case Publish(track, _, _):
                    alive[track] = True
                case Unpublish(track):
                    alive[track] = False
                case Forward(track, participant.transport, mid):
                    forwards[mid] = track
                    paused.discard(mid)
                case Unforward(participant.transport, mid):
                    forwards.pop(mid, None)
                case Pause(participant.transport, mid, held):
                    (paused.add if held else paused.discard)(mid)
        numbers = {t.number: t.sid for t in self.room.tracks._published.values()}
        return sorted(numbers[n] for mid, n in forwards.items() if alive.get(n) and mid not in paused)
