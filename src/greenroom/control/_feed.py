"""``/api/events``: what happens, as server-sent events that a client can take up again where it lost them.

Every event of the log is encoded once and kept for a while; a client is a place in what is kept. A client that is
slower than what happens holds nobody up and takes no memory: when its place is gone it is told to start over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from greenroom.control._responses import RefusedError
from greenroom.eventlog import EventLog, Record, StreamErased, record_as_json
from greenroom.operations import Operation, operation

_log = logging.getLogger(__name__)

KEPT: Final = 10_000
HEARTBEAT: Final = 10.0
_TURN: Final = 200
_WATCHED: Final = 20
_PROXY: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class FeedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to be told.

    :param after: the position of the log to go on from; ``Last-Event-ID`` says the same and wins. Without either
        only what happens from now on is told.
    :param stream: only events of this stream, such as ``session:AJ_…``; repeatable.
    :param type: only events of this type; repeatable.
    :param watch: the id of a session to look at: it is listened to as long as this stream is open.
    """

    after: int | None = None
    stream: str | None = None
    type: str | None = None
    watch: str | None = None


class Frame(NamedTuple):
    """An event as it is sent. ``position`` is the log's when it was told; what is not in the log has no id."""

    position: int
    type: str
    stream: str
    data: bytes


class Place:
    """Where a client is in what is kept."""

    def __init__(self, index: int) -> None:
        self.index = index


class Feed:
    """Follows the log for every client at once. Belongs to the event loop; close with :meth:`aclose`."""

    def __init__(
        self,
        log: EventLog,
        *,
        kept: int = KEPT,
        heartbeat: float = HEARTBEAT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._events = log
        self._kept = kept
        self._heartbeat = heartbeat
        self._clock = clock
        self._frames: deque[Frame] = deque(maxlen=kept)
        self._end = 0
        self._floor = 0
        self._head = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.clients = 0

    async def start(self) -> None:
        """Read what is kept from the log, then follow it."""
        self._head = await self._events.head()
        self._floor = max(0, self._head - self._kept)
        for record in await self._events.read(self._floor, limit=self._kept):
            self._keep(record)
        self._task = asyncio.create_task(self._follow(), name="control feed")

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._tell()

    @property
    def healthy(self) -> bool:
        """Whether the log is still followed."""
        return self._task is not None and not self._task.done()

    @property
    def head(self) -> int:
        """The position of the log up to which it has been followed."""
        return self._head

    def announce(self, kind: str, data: Any, *, stream: str = "") -> None:
        """Tell everybody of something that is not in the log and may be missed."""
        self._put(Frame(self._head, kind, stream, _encode(kind, msgspec.json.encode(data))))
        self._tell()

    def place(self, after: int | None) -> tuple[Place, bool]:
        """Return where a client goes on that has seen the log up to ``after``, and whether it missed something."""
        if after is None:
            return Place(self._end), False
        oldest = self._floor if len(self._frames) < self._kept else self._frames[0].position - 1
        if after < oldest or after > self._head:
            return Place(self._end), True
        skip = bisect_right(self._frames, after, key=lambda frame: frame.position)
        return Place(self._end - len(self._frames) + skip), False

    def take(self, place: Place) -> list[Frame] | None:
        """Return the next frames for a client, or ``None`` when its place is gone; then it is at the end."""
        first = self._end - len(self._frames)
        if place.index < first:
            place.index = self._end
            return None
        start = place.index - first
        count = min(len(self._frames) - start, _TURN)
        frames = [self._frames[start + number] for number in range(count)]
        place.index += count
        return frames

    async def stream(self, place: Place, lost: bool, wanted: Callable[[Frame], bool]) -> AsyncIterator[bytes]:
        """Yield what a client is sent, until the feed is closed."""
        self.clients += 1
        try:
            yield self._start(lost)
            while self.healthy:
                news = self._news
                frames = self.take(place)
                if frames is None:
                    yield self._start(lost=True)
                elif found := b"".join(frame.data for frame in frames if wanted(frame)):
                    yield found
                elif not frames:
                    try:
                        async with asyncio.timeout(self._heartbeat):
                            await news.wait()
                    except TimeoutError:
                        yield _encode("heartbeat", msgspec.json.encode({"now": self._clock(), "head": self._head}))
        finally:
            self.clients -= 1

    def routes(self, watch: Callable[[str], contextlib.AbstractContextManager[object]]) -> list[Route]:
        """Return the routes for ``/api``.

        :param watch: listens to a session for as long as its context is open.
        """

        @operation(
            Operation(
                summary="Follow what happens, as server-sent events; their ids are positions of the log.",
                query=FeedQuery,
                media_type="text/event-stream",
                problems=(404,),
            )
        )
        async def events(request: Request) -> Response:
            after = _position(request)
            streams = frozenset(request.query_params.getlist("stream"))
            types = frozenset(request.query_params.getlist("type"))

            def wanted(frame: Frame) -> bool:
                return (not streams or frame.stream in streams) and (not types or frame.type in types)

            sessions = request.query_params.getlist("watch")[:_WATCHED]
            for session in sessions:
                # What cannot be watched is refused while there is an answer to refuse it with.
                with watch(session):
                    pass
            place, lost = self.place(after)

            async def body() -> AsyncIterator[bytes]:
                with contextlib.ExitStack() as watching:
                    for session in sessions:
                        watching.enter_context(watch(session))
                    async for part in self.stream(place, lost, wanted):
                        yield part

            return StreamingResponse(body(), media_type="text/event-stream", headers=_PROXY)

        return [Route("/events", events, methods=["GET"])]

    def _start(self, lost: bool) -> bytes:
        kind = "reset" if lost else "hello"
        data = msgspec.json.encode({"head": self._head, "now": self._clock()})
        return _encode(kind, data, self._head if lost else None)

    async def _follow(self) -> None:
        async for record in self._events.follow(self._head):
            self._head = record.position
            if isinstance(record.data, StreamErased):
                self._forget(record.stream)
            self._keep(record)
            self._tell()

    def _forget(self, stream: str) -> None:
        """Send nothing more of what has been erased."""
        kept = (frame._replace(data=b"") if frame.stream == stream else frame for frame in self._frames)
        self._frames = deque(kept, maxlen=self._kept)

    def _keep(self, record: Record) -> None:
        data = msgspec.json.encode(record_as_json(record))
        self._put(Frame(record.position, record.type, record.stream, _encode(record.type, data, record.position)))

    def _put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._end += 1

    def _tell(self) -> None:
        self._news, news = asyncio.Event(), self._news
        news.set()


def _encode(kind: str, data: bytes, position: int | None = None) -> bytes:
    # JSON has no line breaks outside of strings, and in strings they are escaped.
    number = b"" if position is None else b"id: %d\n" % position
    return b"%sevent: %s\ndata: %s\n\n" % (number, kind.encode(), data)


def _position(request: Request) -> int | None:
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RefusedError(400, "position_invalid", "That is no position of the log", fix="Send the id of an event")
    return int(text)
