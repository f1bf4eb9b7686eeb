"""The fleet over HTTP. ``control`` mounts these, behind the same checks as everything else."""

from __future__ import annotations

import logging
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from greenroom.errors import GreenroomError
from greenroom.fleet import _openorca as orca
from greenroom.fleet._live import Fleet
from greenroom.fleet._openorca_feed import OpenOrcaFeed
from greenroom.fleet._shapes import FleetView
from greenroom.operations import Operation, operation

_log = logging.getLogger(__name__)

_PROXY = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_MAX_BODY = 16 * 1024


class UnknownInterventionError(GreenroomError):
    """Somebody decided on what nobody has asked."""

    status = 404


class MalformedDecisionError(GreenroomError):
    """A decision that cannot be read."""

    status = 400


class Resolve(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as OpenOrca's client sends it. Who it is from its login says, never ``actor``."""

    interventionId: str  # noqa: N815 - OpenOrca's name
    action: Literal["approve", "deny", "later"]
    actor: dict[str, Any] = {}


def routes(fleet: Fleet) -> list[Route]:
    """Return the routes for ``/api``."""

    @operation(
        Operation(
            summary="Return agents, tasks, actions, machines, swarms and health; unknown is null.", answers=FleetView
        )
    )
    async def snapshot(_request: Request) -> Response:
        await fleet.ready()
        return Response(fleet.json(), media_type="application/json", headers={"Cache-Control": "no-store"})

    return [Route("/fleet", snapshot, methods=["GET"])]


def openorca_routes(fleet: Fleet, feed: OpenOrcaFeed) -> list[Route]:
    """Return the routes for ``/openorca``, where OpenOrca's clients look for them."""

    @operation(Operation(summary="Return everything, in OpenOrca's words.", answers=dict[str, Any]))
    async def snapshot(_request: Request) -> Response:
        await fleet.ready()
        return Response(feed.snapshot(), media_type="application/json", headers={"Cache-Control": "no-store"})

    @operation(Operation(summary="Follow what changes.", media_type="text/event-stream"))
    async def events(_request: Request) -> Response:
        return StreamingResponse(feed.stream(), media_type="text/event-stream", headers=_PROXY)

    @operation(Operation(summary="Tell what this is.", answers=dict[str, Any]))
    async def runtime(_request: Request) -> Response:
        supports = {"sse": True, "interventions": False, "snapshots": True}
        return JSONResponse({"runtime": orca.RUNTIME, "language": "python", "supports": supports})

    @operation(Operation(summary="Decide on an intervention.", scope="operate", takes=Resolve, problems=(404,)))
    async def resolve(request: Request) -> Response:
        asked = await _decision(request)
        # With its backend down the client shows made-up approvals and posts their ids to the real one.
        _log.warning(
            "a decision on an unknown intervention was refused",
            extra={"intervention": asked.interventionId[:64], "action": asked.action},
        )
        raise UnknownInterventionError(
            f"No intervention '{asked.interventionId[:64]}' is pending here", fix="Reload the page"
        )

    return [
        Route("/snapshot", snapshot, methods=["GET"]),
        Route("/events", events, methods=["GET"]),
        Route("/runtime-info", runtime, methods=["GET"]),
        Route("/runtime", runtime, methods=["GET"]),
        Route("/interventions/resolve", resolve, methods=["POST"]),
    ]


async def _decision(request: Request) -> Resolve:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise MalformedDecisionError("The decision is too long")
    try:
        return msgspec.json.decode(body, type=Resolve)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedDecisionError(f"The decision cannot be read: {error}") from None
