"""``/api/log`` and ``/api/why``: the log itself, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._responses import RefusedError, json_response
from greenroom.eventlog import record_as_json
from greenroom.operations import Operation, operation
from greenroom.sessions.why import Why, why

if TYPE_CHECKING:
    from greenroom.control._plane import Plane

_Query = TypeVar("_Query", bound=msgspec.Struct)
_LONGEST: Final = 1000
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events.

    :param after: only events past this position.
    :param stream: only events of this stream, such as ``session:AJ_…``; repeatable.
    :param type: only events of this type; repeatable.
    :param limit: how many at the most.
    """

    after: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] = 0
    stream: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=50)] = ()
    type: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=50)] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=_LONGEST)] = 100


class WhyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which room.

    :param room: its name, whose latest room it is then; its sid; or the id of a session in it.
    """

    room: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. ``data`` is ``null`` once erased; times are seconds since 1970."""

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    version: int
    at: float
    recorded_at: float
    key: str
    data: Any
    hash: str


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in the order of the log.

    :param head: the last position of the log.
    :param next: the ``after`` of the next page; ``null`` when there is none yet.
    """

    events: tuple[LogEvent, ...]
    head: int
    next: int | None = None


def log_routes(plane: Plane) -> list[Route]:
    """Return the routes for ``/api``."""

    @operation(Operation(summary="Read the log, the oldest events first.", query=LogQuery, answers=LogPage))
    async def log(request: Request) -> Response:
        query = _read(request.query_params.multi_items(), LogQuery)
        head = await plane.log.head()
        records = await plane.log.read(
            query.after, limit=query.limit, streams=query.stream or None, types=query.type or None
        )
        events = tuple(LogEvent(**record_as_json(record)) for record in records)
        more = records[-1].position if len(records) == query.limit else None
        return json_response(LogPage(events=events, head=head, next=more))

    @operation(
        Operation(
            summary="Say why a room has no agent, why it is silent or why it is gone.",
            query=WhyQuery,
            answers=Why,
            problems=(404,),
        )
    )
    async def explained(request: Request) -> Response:
        query = _read(request.query_params.multi_items(), WhyQuery)
        tells = plane.watch.has_worker_list
        return json_response(await why(plane.sessions, query.room, now=time.time(), tells_workers=tells))

    return [Route("/log", log, methods=["GET"]), Route("/why", explained, methods=["GET"])]


def _read(given: Iterable[tuple[str, str]], kind: type[_Query]) -> _Query:
    repeatable = {name for name, hint in get_type_hints(kind).items() if getattr(hint, "__origin__", None) is tuple}
    fields: dict[str, Any] = {}
    for name, value in given:
        if name not in kind.__struct_fields__:
            names = ", ".join(kind.__struct_fields__)
            raise RefusedError(400, "query_invalid", f"'{name[:40]}' is nothing to ask by", fix=f"There are: {names}")
        if name in repeatable:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(kind.__struct_fields__)
        raise RefusedError(
            400, "query_invalid", f"The question cannot be used: {error}", fix=f"There are: {names}"
        ) from None
