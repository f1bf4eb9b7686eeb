"""LiveKit's webhooks, from any server, into the log: verified, once each, with the gaps filled by asking."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from google.protobuf import json_format
from livekit.protocol import models, webhook
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from greenroom.config import ApiKey
from greenroom.eventlog import EventLog, EventLogError, NewEvent
from greenroom.ingest._room_book import KEPT, RoomBook
from greenroom.link import (
    EgressEnded,
    EgressStarted,
    EgressUpdated,
    IngressEnded,
    IngressStarted,
    LinkError,
    LiveKit,
    NotFoundError,
    RoomEvent,
    WebhookError,
    verify_webhook,
)

_log = logging.getLogger(__name__)

PATH: Final = "/webhooks/livekit"
MAX_BODY: Final = 1024 * 1024
ELSEWHERE: Final = "system:livekit"
"""The stream of what belongs to no room that is known."""

_SERVICES: Final[dict[str, type[RoomEvent]]] = {
    "egress_started": EgressStarted,
    "egress_updated": EgressUpdated,
    "egress_ended": EgressEnded,
    "ingress_started": IngressStarted,
    "ingress_ended": IngressEnded,
}
_CONCURRENT: Final = 8
_ID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class WebhookIngest:
    """Takes webhooks, and compares what they said with what is.

    An event is answered when it is durable, so a server that repeats what was not answered loses nothing.

    :param keys: the API keys whose webhooks are believed.
    :param livekit: asked when something has been missed; ``None``: nobody is.
    :param clock: seconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        keys: Iterable[ApiKey],
        livekit: LiveKit | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._events = log
        self._keys = {key.key: key for key in keys}
        self._livekit = livekit
        self._clock = clock
        self._books: dict[str, RoomBook] = {}
        self._locks: dict[str, _Turn] = {}
        self._open: set[str] = set()
        self._read_to = 0
        self._checks: set[asyncio.Task[None]] = set()
        #: When the latest believed webhook came; ``None`` before the first.
        self.heard_at: float | None = None

    def routes(self) -> list[Route]:
        """Return the route to mount at the root."""
        return [Route(PATH, self._receive, methods=["POST"])]

    async def aclose(self) -> None:
        """Stop asking. Idempotent."""
        for task in [*self._checks]:
            task.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    async def take(self, told: webhook.WebhookEvent) -> None:
        """Append what an event adds. Raises :class:`EventLogError`."""
        if told.event in _SERVICES:
            await self._take_service(told)
        elif told.event in KEPT and told.room.sid:
            async with self._book(told.room.sid) as book:
                await self._append(book, book.take(told, self._clock()))
        if told.num_dropped and self._livekit is not None:
            self._check_soon(told.room.name)

    async def compare(self, *names: str) -> int:
        """Ask LiveKit which rooms there are and who is in them, and append what the log did not know.

        :param names: only these rooms; all by default, those the log believes open included.
        :returns: how many facts were missing.
        :raises LinkError: LiveKit could not be asked. :raises EventLogError: the log could not be written.
        """
        if self._livekit is None:
            return 0
        since = self._clock()
        believed = await self._open_rooms() if not names else set()
        rooms = {room.sid: room for room in await self._livekit.list_rooms(*names)}
        gate = asyncio.Semaphore(_CONCURRENT)
        missing = await asyncio.gather(
            *(self._compare(sid, rooms.get(sid), since, gate) for sid in {*rooms, *believed})
        )
        if found := sum(missing):
            _log.info("webhooks had been missed", extra={"facts": found, "rooms": len(rooms)})
        return found

    async def _compare(self, sid: str, room: models.Room | None, since: float, gate: asyncio.Semaphore) -> int:
        people: list[models.ParticipantInfo] = []
        if room is not None and self._livekit is not None:
            try:
                async with gate:
                    people = await self._livekit.list_participants(room.name)
            except NotFoundError:
                room = None
        async with self._book(sid) as book:
            facts = book.compare(room, people, since=since, now=self._clock())
            await self._append(book, facts)
        return len(facts)

    async def _open_rooms(self) -> set[str]:
        """Return the rooms that have no end in the log. Each call reads on from where the last one stopped."""
        while records := await self._events.read(self._read_to, types=("room.started", "room.finished")):
            for record in records:
                sid = record.stream.partition(":")[2]
                (self._open.add if record.type == "room.started" else self._open.discard)(sid)
            self._read_to = records[-1].position
        return set(self._open)

    def _check_soon(self, name: str) -> None:
        async def check() -> None:
            try:
                await self.compare(*([name] if name else []))
            except (LinkError, EventLogError) as error:
                _log.warning("missed webhooks could not be made up for", extra={"why": error.message})

        task = asyncio.get_running_loop().create_task(check())
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    # The log

    async def _take_service(self, told: webhook.WebhookEvent) -> None:
        info: Any = told.egress_info if told.event.startswith("egress") else told.ingress_info
        room_id = info.room_id if told.event.startswith("egress") else info.state.room_id
        data = _SERVICES[told.event](message=json_format.MessageToDict(told))
        stream = f"room:{room_id}" if room_id else ELSEWHERE
        await self._events.append(stream, [NewEvent(data, float(told.created_at), f"webhook:{told.id}")])

    async def _append(self, book: RoomBook, facts: list[NewEvent]) -> None:
        if not facts:
            return
        try:
            await self._events.append(f"room:{book.sid}", facts)
        except BaseException:
            # What the book believes is not in the log: the next event reads the log again.
            self._books.pop(book.sid, None)
            raise

    @contextlib.asynccontextmanager
    async def _book(self, sid: str) -> AsyncIterator[RoomBook]:
        """Hand out the room's book, to one at a time."""
        turn = self._locks.setdefault(sid, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                book = self._books.get(sid)
                if book is None:
                    book = RoomBook(sid)
                    book.restore(await self._events.read_stream(f"room:{sid}"))
                    self._books[sid] = book
                yield book
                if book.finished:
                    # What still comes is rare enough to read the log for.
                    self._books.pop(sid, None)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._locks[sid]

    # HTTP

    async def _receive(self, request: Request) -> Response:
        try:
            told = verify_webhook(
                await _body(request), request.headers.get("authorization"), self._keys, now=self._clock()
            )
            _check_ids(told)
        except _TooLargeError:
            return _problem(413, "webhook_too_large", f"A webhook has at most {MAX_BODY} bytes")
        except ClientDisconnect:
            return _problem(400, "webhook_broken", "The webhook was broken off")
        except WebhookError as error:
            _log.warning("a webhook was refused", extra={"why": error.message, "fix": error.fix})
            return _problem(401, error.code, error.message)
        self.heard_at = self._clock()
        try:
            await self.take(told)
        except EventLogError as error:
            _log.error("a webhook could not be stored", extra={"why": error.message})
            return _problem(503, error.code, error.message)
        return Response(status_code=200)


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class _TooLargeError(Exception):
    pass


def _check_ids(told: webhook.WebhookEvent) -> None:
    """Refuse what cannot be an id: ids name streams and keys in the log."""
    info = told.egress_info.room_id, told.ingress_info.state.room_id
    for value in (told.id, told.room.sid, told.participant.sid, told.track.sid, *info):
        if value and not _ID.fullmatch(value):
            raise WebhookError("The webhook names something by what is no id of LiveKit's")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _TooLargeError
    return bytes(body)


def _problem(status: int, code: str, detail: str) -> Response:
    return JSONResponse({"code": code, "detail": detail}, status, media_type="application/problem+json")
