"""Who gets which event of livekit-rtc: only whom it concerns, instead of everybody in the process.

livekit-rtc offers each event to every subscriber, and wakes the event loop for each that takes it. With one room in a
process that is no matter. With fifty, a packet of sound of one room is offered to fifty.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

#: Events of streams, by the field that says of which.
STREAMS: Final = {
    "audio_stream_event": "stream_handle",
    "video_stream_event": "stream_handle",
    "data_track_stream_event": "stream_handle",
    "text_stream_reader_event": "reader_handle",
    "byte_stream_reader_event": "reader_handle",
}
#: Events of rooms likewise.
ROOMS: Final = {"room_event": "room_handle", "rpc_method_invocation": "local_participant_handle"}
#: Answers to requests that a room hands on to whoever in it asked.
FORWARDED: Final = frozenset({"publish_track", "unpublish_track"})


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber waits for, as far as that is known.

    :param stream: the kind of events of one stream.
    :param room: whether it is a room.
    :param answer: whether it is the answer to one request.
    :param handle: of the stream, when known already.
    """

    stream: str = ""
    room: bool = False
    answer: bool = False
    handle: int = 0


class Subscriber:
    """Somebody who takes events: livekit-rtc's own queue, and the loop on which it is read."""

    __slots__ = ("filter", "interest", "keys", "outbox", "queue")

    def __init__(self, queue: Any, outbox: Outbox, interest: Interest | None, filter_fn: Any) -> None:
        self.queue = queue
        self.outbox = outbox
        self.interest = interest
        self.filter = filter_fn
        self.keys: list[tuple[str, int]] = []


class Outbox:
    """What waits to be handed to the queues of one loop: the loop is woken once for many events."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._woken = False

    def put(self, queue: Any, item: Any) -> None:
        """Hand an event to a queue, soon. From any thread."""
        self._waiting.append((queue, item))
        if not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._empty)
            except RuntimeError:
                # The loop is closed, and whoever read there has not said so.
                self._waiting.clear()
                self._woken = False

    def _empty(self) -> None:
        # Whatever arrives from here on wakes the loop again.
        self._woken = False
        waiting = self._waiting
        for _ in range(len(waiting)):
            queue, item = waiting.popleft()
            queue.put_nowait(item)


class Router:
    """Decides who gets an event. Safe to call from any thread.

    An event whose receiver is known goes to it. One that nobody is known for goes to all who might wait for it: who
    subscribes learns its handle only with the answer to its request, and events may come before that.
    """

    def __init__(self, answers: frozenset[str]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._subscribers: dict[Any, Subscriber] = {}
        self._outboxes: dict[Any, Outbox] = {}
        self._by_key: dict[tuple[str, int], tuple[Subscriber, ...]] = {}
        # Never changed, only replaced: they are read without the lock.
        self._open: dict[str, tuple[Subscriber, ...]] = {}
        self._rooms: tuple[Subscriber, ...] = ()
        self._everything: tuple[Subscriber, ...] = ()

    def subscribe(self, queue: Any, loop: asyncio.AbstractEventLoop, interest: Interest | None, filter_fn: Any) -> None:
        """Add a subscriber. Without an interest it is offered everything, as livekit-rtc does."""
        with self._lock:
            outbox = self._outboxes.get(loop)
            if outbox is None:
                outbox = self._outboxes[loop] = Outbox(loop)
            subscriber = self._subscribers[queue] = Subscriber(queue, outbox, interest, filter_fn)
            if interest is None:
                self._everything += (subscriber,)
            elif interest.room:
                self._rooms += (subscriber,)
                for kind in ROOMS:
                    self._wait(kind, subscriber)
            elif interest.stream:
                self._wait(interest.stream, subscriber)
                if interest.handle:
                    self._bind(subscriber, interest.stream, interest.handle)
            else:
                self._wait("answer", subscriber)

    def bind(self, queue: Any, kind: str, handle: int) -> None:
        """Say of which stream or room a subscriber is, or to which request it awaits the answer."""
        with self._lock:
            subscriber = self._subscribers.get(queue)
            if subscriber is not None and handle:
                self._bind(subscriber, kind, handle)

    def unsubscribe(self, queue: Any) -> None:
        """Remove a subscriber. Unknown ones are no error."""
        with self._lock:
            subscriber = self._subscribers.pop(queue, None)
            if subscriber is None:
                return
            for key in subscriber.keys:
                left = tuple(each for each in self._by_key.get(key, ()) if each is not subscriber)
                if left:
                    self._by_key[key] = left
                else:
                    self._by_key.pop(key, None)
            for kind in [*self._open]:
                self._settle(kind, subscriber)
            self._rooms = tuple(each for each in self._rooms if each is not subscriber)
            self._everything = tuple(each for each in self._everything if each is not subscriber)

    def put(self, which: str, item: Any) -> None:
        """Hand an event to whom it concerns; ``which`` is the name of the message in it."""
        field = STREAMS.get(which) or ROOMS.get(which)
        if field is not None:
            self._deliver(which, getattr(getattr(item, which), field), item)
        elif which in self._answers:
            self._deliver("answer", getattr(item, which).async_id, item)
            if which in FORWARDED:
                _hand(self._rooms, item)
        else:
            _hand(self._rooms, item)
            _hand(self._open.get("answer", ()), item)
        for subscriber in self._everything:
            if _wants(subscriber, item):
                subscriber.outbox.put(subscriber.queue, item)

    def subscribers(self) -> list[tuple[Any, asyncio.AbstractEventLoop, Any]]:
        """Return all there are, as livekit-rtc keeps them: queue, loop, filter."""
        with self._lock:
            return [(each.queue, each.outbox.loop, each.filter) for each in self._subscribers.values()]

    def _deliver(self, kind: str, handle: int, item: Any) -> None:
        known = self._by_key.get((kind, handle))
        _hand(known if known is not None else self._open.get(kind, ()), item)

    def _wait(self, kind: str, subscriber: Subscriber) -> None:
        self._open[kind] = (*self._open.get(kind, ()), subscriber)

    def _settle(self, kind: str, subscriber: Subscriber) -> None:
        self._open[kind] = tuple(each for each in self._open.get(kind, ()) if each is not subscriber)

    def _bind(self, subscriber: Subscriber, kind: str, handle: int) -> None:
        key = (kind, handle)
        subscriber.keys.append(key)
        # First to be found, then no longer among those who might be meant: never neither.
        self._by_key[key] = (*self._by_key.get(key, ()), subscriber)
        self._settle(kind, subscriber)


def _hand(subscribers: tuple[Subscriber, ...], item: Any) -> None:
    for subscriber in subscribers:
        subscriber.outbox.put(subscriber.queue, item)


def _wants(subscriber: Subscriber, item: Any) -> bool:
    if subscriber.filter is None:
        return True
    try:
        return bool(subscriber.filter(item))
    except Exception:
        # As livekit-rtc: what cannot be told is delivered.
        return True


def route() -> Callable[[], None]:
    """Route the events of this process from now on, and return what ends that. Before any room is made."""
    from greenroom.pool.shard import _upstream_ffi  # noqa: PLC0415 - livekit-rtc is not loaded without need

    return _upstream_ffi.install()
