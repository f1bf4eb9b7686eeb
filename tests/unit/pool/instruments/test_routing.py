"""Who gets which event of livekit-rtc."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.rtc import _ffi_client
from livekit.rtc._proto.ffi_pb2 import FfiEvent
from livekit.rtc.data_stream import TextStreamReader
from livekit.rtc.room import Room

from greenroom.pool.shard import _upstream_ffi
from greenroom.pool.shard._ffi import Interest, Router

pytestmark = pytest.mark.unit

ROOM = Interest(room=True)
SOUND = Interest(stream="audio_stream_event")
ANSWER = Interest(answer=True)


def sound(handle: int) -> FfiEvent:
    event = FfiEvent()
    event.audio_stream_event.stream_handle = handle
    return event


def in_room(handle: int) -> FfiEvent:
    event = FfiEvent()
    event.room_event.room_handle = handle
    return event


def answer(number: int, kind: str = "capture_audio_frame") -> FfiEvent:
    event = FfiEvent()
    getattr(event, kind).async_id = number
    return event


class Desk:
    """A router with named subscribers."""

    def __init__(self) -> None:
        self.router = Router(_upstream_ffi.ANSWERS)
        self.queues: dict[str, asyncio.Queue[Any]] = {}

    def add(self, name: str, interest: Interest | None, filter_fn: Any = None) -> None:
        self.queues[name] = asyncio.Queue()
        self.router.subscribe(self.queues[name], asyncio.get_running_loop(), interest, filter_fn)

    def bind(self, name: str, kind: str, handle: int) -> None:
        self.router.bind(self.queues[name], kind, handle)

    async def get(self, event: FfiEvent) -> set[str]:
        """Put an event, and return who got it."""
        self.router.put(event.WhichOneof("message") or "", event)
        await asyncio.sleep(0)
        return {name for name, queue in self.queues.items() if not queue.empty() and queue.get_nowait() is event}


async def test_sound_goes_to_the_stream_it_belongs_to() -> None:
    desk = Desk()
    desk.add("one", SOUND)
    desk.add("two", SOUND)
    desk.add("room", ROOM)
    assert await desk.get(sound(7)) == {"one", "two"}
    desk.bind("one", "audio_stream_event", 7)
    assert await desk.get(sound(7)) == {"one"}
    assert await desk.get(sound(8)) == {"two"}
    desk.bind("two", "audio_stream_event", 8)
    assert await desk.get(sound(9)) == set()


async def test_events_of_a_room_go_to_it_and_to_those_whose_handle_is_not_known_yet() -> None:
    desk = Desk()
    desk.add("known", ROOM)
    desk.add("joining", ROOM)
    desk.bind("known", "room_event", 3)
    assert await desk.get(in_room(3)) == {"known"}
    assert await desk.get(in_room(4)) == {"joining"}
    call = FfiEvent()
    call.rpc_method_invocation.local_participant_handle = 5
    assert await desk.get(call) == {"known", "joining"}
    desk.bind("known", "rpc_method_invocation", 5)
    assert await desk.get(call) == {"known"}


async def test_an_answer_goes_to_who_asked() -> None:
    desk = Desk()
    desk.add("asked", ANSWER)
    desk.add("asking", ANSWER)
    desk.add("room", ROOM)
    assert await desk.get(answer(1)) == {"asked", "asking"}
    desk.bind("asked", "answer", 1)
    assert await desk.get(answer(1)) == {"asked"}
    assert await desk.get(answer(2)) == {"asking"}
    assert await desk.get(answer(2, "publish_track")) == {"asking", "room"}
    assert await desk.get(sound(1)) == set()


async def test_what_nobody_knows_is_offered_to_all_who_might_want_it() -> None:
    desk = Desk()
    desk.add("room", ROOM)
    desk.add("plain", None)
    desk.add("picky", None, lambda event: event.WhichOneof("message") == "audio_stream_event")
    desk.add("faulty", None, lambda _event: 1 / 0)
    assert await desk.get(sound(1)) == {"plain", "picky", "faulty"}
    assert await desk.get(in_room(1)) == {"room", "plain", "faulty"}
    other = FfiEvent()
    other.track_event.SetInParent()
    assert await desk.get(other) == {"room", "plain", "faulty"}


async def test_who_unsubscribes_gets_nothing_more() -> None:
    desk = Desk()
    desk.add("one", SOUND)
    desk.bind("one", "audio_stream_event", 7)
    desk.add("room", ROOM)
    for queue in desk.queues.values():
        desk.router.unsubscribe(queue)
        desk.router.unsubscribe(queue)
    assert await desk.get(sound(7)) == set()
    assert await desk.get(in_room(7)) == set()
    assert desk.router.subscribers() == []


async def test_many_events_wake_the_loop_once_and_keep_their_order() -> None:
    desk = Desk()
    desk.add("one", SOUND)
    events = [sound(number) for number in range(100)]
    await asyncio.gather(*(asyncio.to_thread(desk.router.put, "audio_stream_event", event) for event in events[:1]))
    for event in events[1:]:
        desk.router.put("audio_stream_event", event)
    got = [await desk.queues["one"].get() for _ in events]
    assert got == events


def test_every_subscriber_of_livekit_rtc_is_known() -> None:
    assert _upstream_ffi.unknown_sites() == []
    assert [*_upstream_ffi.probe()] == []


@pytest.fixture
def routed() -> Any:
    undo = _upstream_ffi.install()
    yield
    undo()


async def test_livekit_rtc_s_own_subscribers_are_recognised(routed: None) -> None:
    queue = _ffi_client.FfiQueue()
    assert isinstance(queue, _upstream_ffi.RoutedQueue)
    filters = {code.co_name: code for code in Room.connect.__wrapped__.__code__.co_consts if hasattr(code, "co_name")}
    assert "<lambda>" in filters

    def like(code: Any, module: str, within: str, **cells: Any) -> Any:
        def maker(handle_id: int) -> Any:
            return lambda event: event.async_id == handle_id

        made = maker(cells["handle_id"]) if cells else lambda _event: True
        made.__module__ = module
        made.__qualname__ = f"{within}.<locals>.<lambda>"
        return made

    here = test_livekit_rtc_s_own_subscribers_are_recognised.__code__
    found = _upstream_ffi.interest_of(like(here, "livekit.rtc.room", "Room.connect"), here, "livekit.rtc.room")
    assert found == ROOM
    reader = like(here, "livekit.rtc.data_stream", TextStreamReader.__init__.__qualname__, handle_id=9)
    found = _upstream_ffi.interest_of(reader, here, "livekit.rtc.data_stream")
    assert found == Interest(stream="text_stream_reader_event", handle=9)
    assert _upstream_ffi.interest_of(None, here, "livekit.rtc.room") is None
    assert _upstream_ffi.interest_of(reader, here, "somebody.else") is None


async def test_who_subscribed_before_is_served_on_and_after(routed: None) -> None:
    queue = _ffi_client.FfiQueue()
    mine = queue.subscribe(asyncio.get_running_loop())
    event = sound(1)
    queue.put(event)
    assert await mine.get() is event
