"""Hands events of many rooms to whoever waits for them, as livekit-rtc does or routed; prints the CPU that takes.

``python -m bench._dispatching stock|routed ROOMS SECONDS``; what else a call costs, media and models, is left out.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import uvloop
from livekit.rtc._ffi_client import FfiQueue
from livekit.rtc._proto.ffi_pb2 import FfiEvent

from greenroom.pool.shard._ffi import Interest
from greenroom.pool.shard._upstream_ffi import RoutedQueue

#: Events of one room in a second: sound that arrives, answers to sound that is sent, and everything else.
SOUND, ANSWERS, OTHERS = 100, 25, 5
STREAMS = ("audio_stream_event", "video_stream_event")
_TICK = 0.01


class Room:
    """One room's events, and what waits for them in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sound = FfiEvent()
        self.sound.audio_stream_event.stream_handle = number
        self.other = FfiEvent()
        self.other.room_event.room_handle = number
        self.asked: list[int] = []
        self.got = 0

    async def hear(self, queue: Any) -> None:
        while True:
            await queue.wait_for(lambda event: event.audio_stream_event.stream_handle == self.number)
            self.got += 1

    async def listen(self, queue: Any) -> None:
        while True:
            event = await queue.get()
            if event.WhichOneof("message") != "rpc_method_invocation":
                self.got += event.room_event.room_handle == self.number

    async def send(self, events: Any, routed: bool) -> None:
        number = self.number << 32
        while True:
            number += 1
            queue = subscribed(events, Interest(answer=True), None, ("answer", number) if routed else None)
            self.asked.append(number)
            await queue.wait_for(lambda event, number=number: event.capture_audio_frame.async_id == number)
            events.unsubscribe(queue)
            self.got += 1


def subscribed(events: Any, interest: Interest, filter_fn: Any, key: tuple[str, int] | None) -> Any:
    """Subscribe as livekit-rtc does; with a key, as somebody that is known."""
    if key is None:
        return events.subscribe(asyncio.get_running_loop(), filter_fn)
    queue = FfiQueue().subscribe(asyncio.get_running_loop())
    events.router.subscribe(queue, asyncio.get_running_loop(), interest, filter_fn)
    events.router.bind(queue, *key)
    return queue


def produce(events: Any, rooms: list[Room], stop: threading.Event) -> None:
    due, tick = time.monotonic(), 0
    while not stop.is_set():
        tick += 1
        for room in rooms:
            events.put(room.sound)
            if (tick + room.number) % (SOUND // OTHERS) == 0:
                events.put(room.other)
            if (tick + room.number) % (SOUND // ANSWERS) == 0 and room.asked:
                answer = FfiEvent()
                answer.capture_audio_frame.async_id = room.asked.pop(0)
                events.put(answer)
        due += _TICK
        time.sleep(max(0.0, due - time.monotonic()))


async def measure(routed: bool, count: int, seconds: float) -> None:
    events: Any = RoutedQueue() if routed else FfiQueue()
    rooms = [Room(number) for number in range(1, count + 1)]
    tasks = []
    for room in rooms:
        stream = ("audio_stream_event", room.number) if routed else None
        place = ("room_event", room.number) if routed else None
        sound = subscribed(
            events,
            Interest(stream="audio_stream_event"),
            lambda e: e.WhichOneof("message") == "audio_stream_event",
            stream,
        )
        other = subscribed(events, Interest(room=True), lambda e: e.WhichOneof("message") not in STREAMS, place)
        tasks += [
            asyncio.create_task(work) for work in (room.hear(sound), room.listen(other), room.send(events, routed))
        ]
    stop = threading.Event()
    thread = threading.Thread(target=produce, args=(events, rooms, stop))
    thread.start()
    await asyncio.sleep(0.5)
    began, used = time.monotonic(), time.process_time()
    got = sum(room.got for room in rooms)
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    share = (time.process_time() - used) / passed
    rate = (sum(room.got for room in rooms) - got) / passed
    stop.set()
    thread.join()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(share, rate / count, flush=True)


if __name__ == "__main__":
    uvloop.run(measure(sys.argv[1] == "routed", int(sys.argv[2]), float(sys.argv[3])))
