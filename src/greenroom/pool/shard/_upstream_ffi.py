"""What the routing of events uses of livekit-rtc: its queue of events, and who subscribes to it."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final, Generic, TypeVar

from livekit.rtc import _ffi_client
from livekit.rtc._proto.ffi_pb2 import FfiEvent
from livekit.rtc._utils import Queue
from livekit.rtc.audio_stream import AudioStream
from livekit.rtc.room import Room
from livekit.rtc.video_stream import VideoStream

from greenroom.pool.shard._ffi import STREAMS, Interest, Router

_PACKAGE: Final = "livekit.rtc."
#: Events that answer a request, whose number they bear.
ANSWERS: Final = frozenset(
    field.name
    for field in FfiEvent.DESCRIPTOR.oneofs_by_name["message"].fields
    if field.message_type is not None and "async_id" in field.message_type.fields_by_name
)
#: Who subscribes with a filter of its own: the function that the filter stands in, by what is then waited for.
_FILTERS: Final[dict[str, Interest]] = {
    "audio_stream:AudioStream.__init__": Interest(stream="audio_stream_event"),
    "video_stream:VideoStream.__init__": Interest(stream="video_stream_event"),
    "data_stream:TextStreamReader.__init__": Interest(stream="text_stream_reader_event"),
    "data_stream:ByteStreamReader.__init__": Interest(stream="byte_stream_reader_event"),
    "data_track:DataTrackStream.__init__": Interest(stream="data_track_stream_event"),
    "room:Room.connect": Interest(room=True),
}
#: Who subscribes without one, makes a request with no wait in between, and waits for the answer to it.
_REQUESTS: Final = frozenset(
    {
        "audio_source:AudioSource.capture_frame",
        "data_stream:BaseStreamWriter._wait_for_callback",
        "room:Room.connect",
        "room:Room.get_rtc_stats",
        "room:Room.simulate_scenario",
        "room:Room.disconnect",
        "track:Track.get_stats",
        *(
            f"participant:LocalParticipant.{name}"
            for name in (
                *(
                    "publish_data",
                    "publish_dtmf",
                    "publish_transcription",
                    "_perform_rpc_ffi",
                    "set_metadata",
                    "set_name",
                ),
                *("set_attributes", "send_text", "send_file", "send_bytes", "publish_data_track"),
            )
        ),
    }
)
_HANDLE: Final = "handle_id"
_ANSWER: Final = Interest(answer=True)
_asking: Final = threading.local()


def probe() -> Iterator[str]:
    """Yield the name of each private part that is used and not there. Unknown subscribers only cost speed."""
    for name in ("FfiQueue", "FfiClient"):
        if not hasattr(_ffi_client, name):
            yield f"livekit.rtc._ffi_client.{name}"
    for name in ("put", "subscribe", "unsubscribe"):
        if not hasattr(_ffi_client.FfiQueue, name):
            yield f"FfiQueue.{name}"
    for made in (AudioStream.__init__, VideoStream.__init__):
        yield from (f"{made.__qualname__}: {name}" for name in ("_ffi_queue", "_ffi_handle") if not _names(made, name))
    yield from (f"Room.connect: {name}" for name in ("_ffi_queue", "_ffi_handle") if not _names(Room.connect, name))


def unknown_sites() -> list[str]:
    """Return who of livekit-rtc is named here and not there: their events are routed no longer, which is slower."""
    return sorted(site for site in {*_FILTERS, *_REQUESTS} if _find(site) is None)


def _names(function: Any, name: str) -> bool:
    return name in inspect.unwrap(function).__code__.co_names


def _find(site: str) -> Any:
    module, _, path = site.partition(":")
    try:
        found: Any = importlib.import_module(_PACKAGE + module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return None
    return found


def interest_of(filter_fn: Any, caller: CodeType, module: str) -> Interest | None:
    """Return what a subscriber waits for, ``None`` when that is not known.

    :param filter_fn: its filter, if it has one.
    :param caller: the code that subscribes, and ``module`` the module of it.
    """
    if not module.startswith(_PACKAGE):
        return None
    if filter_fn is None:
        return _ANSWER if f"{module.removeprefix(_PACKAGE)}:{caller.co_qualname}" in _REQUESTS else None
    within = str(getattr(filter_fn, "__qualname__", "")).partition(".<locals>")[0]
    found = _FILTERS.get(f"{str(getattr(filter_fn, '__module__', '')).removeprefix(_PACKAGE)}:{within}")
    if found is not None and _HANDLE in filter_fn.__code__.co_freevars:
        cell = filter_fn.__closure__[filter_fn.__code__.co_freevars.index(_HANDLE)]
        return Interest(stream=found.stream, handle=cell.cell_contents)
    return found


T = TypeVar("T")


class RoutedQueue(_ffi_client.FfiQueue[T], Generic[T]):
    """livekit-rtc's queue of events, with a router in the place of its list of subscribers."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(ANSWERS)

    def put(self, item: Any) -> None:
        """Hand an event to whom it concerns."""
        self.router.put(item.WhichOneof("message"), item)

    def subscribe(self, loop: Any = None, filter_fn: Any = None) -> Any:
        """Return a queue of events, as livekit-rtc does."""
        frame = sys._getframe(1)
        interest = interest_of(filter_fn, frame.f_code, frame.f_globals.get("__name__", ""))
        queue: Any = Queue()
        self.router.subscribe(queue, loop or asyncio.get_event_loop(), interest, filter_fn)
        if interest is not None and interest.answer:
            _asking.queue = queue
        return queue

    def unsubscribe(self, queue: Any) -> None:
        """Hand nothing to a queue any more."""
        self.router.unsubscribe(queue)


def install() -> Callable[[], None]:
    """Route the events of this process from now on; return what puts back livekit-rtc's own way."""
    client: Any = _ffi_client.FfiClient
    own_queue = _ffi_client.FfiQueue
    undo = [_follow_requests(client), _follow_streams(AudioStream), _follow_streams(VideoStream), _follow_rooms()]
    _exchange(client, own_queue, RoutedQueue)

    def put_back() -> None:
        _exchange(client, RoutedQueue, own_queue)
        for each in undo:
            each()

    return put_back


def _exchange(client: Any, before: Any, after: Any) -> None:
    _ffi_client.FfiQueue = after  # type: ignore[misc]
    instance = client._instance
    if instance is None or not isinstance(instance._queue, before):
        return
    old, new = instance._queue, after()
    if isinstance(old, RoutedQueue):
        new._subscribers.extend(old.router.subscribers())
    else:
        for queue, loop, filter_fn in old._subscribers:
            new.router.subscribe(queue, loop, None, filter_fn)
    instance._queue = new


def _router() -> Router | None:
    instance = _ffi_client.FfiClient._instance
    queue = instance._queue if instance is not None else None
    return queue.router if isinstance(queue, RoutedQueue) else None


def _follow_requests(client: Any) -> Callable[[], None]:
    original = client.request

    @functools.wraps(original)
    def request(self: Any, req: Any) -> Any:
        queue = getattr(_asking, "queue", None)
        if queue is None:
            return original(self, req)
        _asking.queue = None
        response = original(self, req)
        router = _router()
        if router is not None:
            answer = getattr(response, response.WhichOneof("message") or "", None)
            router.bind(queue, "answer", getattr(answer, "async_id", 0))
        return response

    client.request = request

    def undo() -> None:
        client.request = original

    return undo


def _follow_streams(made: Any) -> Callable[[], None]:
    original = made.__init__
    kind = next(kind for kind in STREAMS if kind.startswith(made.__name__.removesuffix("Stream").lower()))

    @functools.wraps(original)
    def __init__(self: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807 - replaces a constructor
        original(self, *arguments, **named)
        router = _router()
        if router is not None:
            router.bind(self._ffi_queue, kind, self._ffi_handle.handle)

    made.__init__ = __init__

    def undo() -> None:
        made.__init__ = original

    return undo


def _follow_rooms() -> Callable[[], None]:
    room: Any = Room
    original = room.connect

    @functools.wraps(original)
    async def connect(self: Any, *arguments: Any, **named: Any) -> None:
        await original(self, *arguments, **named)
        router = _router()
        if router is not None:
            router.bind(self._ffi_queue, "room_event", self._ffi_handle.handle)
            router.bind(self._ffi_queue, "rpc_method_invocation", self._local_participant._ffi_handle.handle)

    room.connect = connect

    def undo() -> None:
        room.connect = original

    return undo
