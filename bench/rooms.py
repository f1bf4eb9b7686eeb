"""How long a large room holds up the event loop: the processor time of its longest turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from livekit.protocol import models, rtc

from bench._figures import Figure, Options
from bench._process import KEY, SECRET
from greenroom._media import FakeEngine, Section
from greenroom.config import ApiKey, ServerConfig
from greenroom.grants import Claims, Grant, VideoGrant
from greenroom.server.room import Joining, Participant, Room, RoomManager
from greenroom.server.signal._outbox import Outbox, Pace
from greenroom.server.signal._requests import handle_request

PEOPLE = 1_000
LONGEST_MS = 5.0
_KEY = ApiKey(key=KEY, secret=SECRET)
_SECTIONS = [Section(str(n), "audio" if n < 3 else "video", "recvonly") for n in range(6)]


async def run(options: Options) -> list[Figure]:
    """Publish, mute, unpublish in a room of a thousand people, whose WebSockets are stand-ins that take everything."""
    engine = FakeEngine()
    await engine.start(lambda _: None)
    rooms = RoomManager(ServerConfig(keys=(_KEY,)), engine)
    room = rooms.create("bench")
    pace = Pace()
    for number in range(PEOPLE):
        await _enter(rooms, room, f"p{number}", pace)
    longest: dict[str, list[float]] = {"publishes": [], "mutes": [], "unpublishes": []}
    for publisher in [*room.participants.values()][: options.count(20)]:
        for what, seconds in (await _speak(rooms, publisher)).items():
            longest[what].append(seconds)
    await rooms.aclose()
    note = f"{PEOPLE} people, processor time, worst of {options.count(20)}; without sockets"
    return [
        Figure(f"longest turn of the loop when one {what}", max(found) * 1000, "ms", LONGEST_MS, note=note)
        for what, found in longest.items()
    ]


async def _enter(rooms: RoomManager, room: Room, identity: str, pace: Pace) -> None:
    async def take(_: Any) -> None:
        pass

    claims = Claims(identity=identity, video=VideoGrant(room_join=True))
    joining = Joining(grant=Grant(claims, _KEY), identity=identity)
    outbox = Outbox(take, lambda: None, pace)
    participant = rooms.join(room, joining, outbox)
    outbox.start()
    _offer(rooms, participant, _SECTIONS)
    rooms.apply(room, room.media_connected(participant, rooms.clock()))
    await asyncio.sleep(0)


def _offer(rooms: RoomManager, participant: Participant, sections: list[Section]) -> None:
    tracks = participant.room.tracks
    negotiation = tracks.plan(participant, sections, rooms.clock())
    rooms.apply(participant.room, negotiation.effects)
    answer = rtc.SessionDescription(type="answer")
    rooms.apply(participant.room, tracks.answered(participant, negotiation, answer, rooms.clock()))


async def _speak(rooms: RoomManager, publisher: Participant) -> dict[str, float]:
    request = rtc.AddTrackRequest(cid="mic", source=models.TrackSource.MICROPHONE)
    rooms.apply(publisher.room, handle_request(publisher, rtc.SignalRequest(add_track=request), rooms.clock()))
    sections = [*_SECTIONS, Section("7", "audio", "sendonly", "mic")]
    longest = {"publishes": await _longest_turn(lambda: _offer(rooms, publisher, sections))}
    for participant in publisher.room.participants.values():
        if participant is not publisher:
            _offer(rooms, participant, _SECTIONS)
            await asyncio.sleep(0)
    mute = rtc.SignalRequest(mute=rtc.MuteTrackRequest(sid=publisher.tracks[0].sid, muted=True))

    def silence() -> None:
        rooms.apply(publisher.room, handle_request(publisher, mute, rooms.clock()))

    longest["mutes"] = await _longest_turn(silence)
    longest["unpublishes"] = await _longest_turn(lambda: _offer(rooms, publisher, _SECTIONS))
    for participant in publisher.room.participants.values():
        _offer(rooms, participant, _SECTIONS)
        await asyncio.sleep(0)
    return longest


async def _longest_turn(act: Callable[[], None]) -> float:
    """Return the processor time of the longest turn of the loop from an act until everything it caused is done."""
    turns = []
    asyncio.get_running_loop().call_soon(act)
    for _ in range(PEOPLE // 10):
        began = time.thread_time()
        await asyncio.sleep(0)
        turns.append(time.thread_time() - began)
    return max(turns)
