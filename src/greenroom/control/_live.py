"""What runs right now, and what an operator may do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._api import operator_of
from greenroom.control._bodies import read_body
from greenroom.control._responses import RefusedError, json_response
from greenroom.link import Call, JobInfo, Listening, WorkerInfo
from greenroom.operations import Operation, operation

if TYPE_CHECKING:
    from greenroom.control._plane import Plane


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of the LiveKit server, the jobs they have, and those that wait for one, each with its reason.

    :param seen_at: when this was true, seconds since 1970; ``null`` before the first look.
    :param failing_since: since when the server cannot be asked; ``null`` when it can.
    :param complete: whether the server tells of its workers. Of one that does not, jobs are those found in rooms.
    """

    seen_at: float | None
    failing_since: float | None
    complete: bool
    workers: tuple[WorkerInfo, ...] = ()
    jobs: tuple[JobInfo, ...] = ()
    pending: tuple[JobInfo, ...] = ()
    ended: tuple[JobInfo, ...] = ()


class TypeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say to the agent, as if its user had typed it."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]


class TypeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the items of the turn, as LiveKit's ``ChatContext.ChatItem``."""

    items: list[dict[str, Any]]


class MuteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the agent shall be silent."""

    muted: bool = True


class MuteResponse(msgspec.Struct, frozen=True, kw_only=True):
    """How it was done: by asking its ``session``, or by muting its ``tracks`` when that did not answer."""

    by: Literal["session", "tracks"]


class EndRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ends: the ``room`` with everybody in it, or the ``agent`` alone."""

    scope: Literal["room", "agent"] = "room"


def live_routes(plane: Plane) -> list[Route]:
    """Return the routes for ``/api``."""
    live = _Live(plane)
    return [
        Route("/workers", live.workers, methods=["GET"]),
        Route("/sessions/{session}/listen", live.listen, methods=["POST"]),
        Route("/sessions/{session}/type", live.type, methods=["POST"]),
        Route("/sessions/{session}/mute", live.mute, methods=["POST"]),
        Route("/sessions/{session}/end", live.end, methods=["POST"]),
    ]


class _Live:
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    @operation(Operation(summary="List the workers, their jobs, and what waits for one and why.", answers=Workers))
    async def workers(self, _request: Request) -> Response:
        watch = self._plane.watch
        latest = watch.latest
        jobs = latest.jobs if latest is not None else ()
        return json_response(
            Workers(
                seen_at=watch.seen_at,
                failing_since=watch.failing_since,
                complete=watch.has_worker_list,
                workers=latest.workers if latest is not None else (),
                jobs=tuple(job for job in jobs if not job.waits),
                pending=tuple(job for job in jobs if job.waits),
                ended=latest.ended if latest is not None else (),
            )
        )

    @operation(
        Operation(
            summary="Make a token to hear a live call with, hidden and silent.",
            scope="operate",
            answers=Listening,
            problems=(404, 502),
        )
    )
    async def listen(self, request: Request) -> Response:
        return json_response(await self._plane.controls.listen(self._call(request), by=operator_of(request).name))

    @operation(
        Operation(
            summary="Say something to a live agent as if its user had typed it.",
            scope="operate",
            takes=TypeRequest,
            answers=TypeResponse,
            problems=(404, 413, 415, 502),
        )
    )
    async def type(self, request: Request) -> Response:
        asked = await read_body(request, TypeRequest)
        items = await self._plane.controls.type(self._call(request), asked.text, by=operator_of(request).name)
        return json_response(TypeResponse(items=items))

    @operation(
        Operation(
            summary="Silence a live agent, or let it speak again.",
            scope="operate",
            takes=MuteRequest,
            answers=MuteResponse,
            problems=(404, 413, 415, 502),
        )
    )
    async def mute(self, request: Request) -> Response:
        asked = await read_body(request, MuteRequest)
        how = await self._plane.controls.mute(self._call(request), muted=asked.muted, by=operator_of(request).name)
        return json_response(MuteResponse(by=how))

    @operation(
        Operation(
            summary="End a live call.", scope="operate", takes=EndRequest, status=204, problems=(404, 413, 415, 502)
        )
    )
    async def end(self, request: Request) -> Response:
        asked = await read_body(request, EndRequest)
        await self._plane.controls.end(self._call(request), by=operator_of(request).name, scope=asked.scope)
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    def _call(self, request: Request) -> Call:
        session = request.path_params["session"]
        call = self._plane.watch.calls.get(session)
        if call is None:
            raise RefusedError(
                404, "call_not_live", f"No call with the id '{session}' is live", fix="See GET /api/workers"
            )
        return call
