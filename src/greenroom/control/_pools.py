"""Pools of agents: how they are, and what an operator may ask of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._api import operator_of
from greenroom.control._bodies import read_body
from greenroom.control._responses import json_response
from greenroom.fleet import PoolView, Verb
from greenroom.operations import Operation, operation
from greenroom.reports import PoolSnapshot

if TYPE_CHECKING:
    from greenroom.control._plane import Plane

_REDACTED = "redacted"


class PoolList(msgspec.Struct, frozen=True, kw_only=True):
    """The pools that report here, by machine; who has stopped or is lost is listed for ten minutes.

    :param at: the moment, seconds since 1970.
    """

    at: float
    pools: tuple[PoolView, ...] = ()


class PoolRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing: what is asked stands in the address."""


def pool_routes(plane: Plane) -> list[Route]:
    """Return the routes for ``/api``."""
    pools = _Pools(plane)
    return [
        Route("/pools", pools.list, methods=["GET"]),
        Route("/pools/{instance}", pools.one, methods=["GET"]),
        Route("/pools/{instance}/drain", pools.drain, methods=["POST"]),
        Route("/pools/{instance}/reload", pools.reload, methods=["POST"]),
    ]


class _Pools:
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    @operation(Operation(summary="List the pools of agents with their shards, sessions and load.", answers=PoolList))
    async def list(self, _request: Request) -> Response:
        pools = tuple(self._shown(view) for view in self._plane.pools.views)
        return json_response(PoolList(at=self._plane.fleet.clock(), pools=pools))

    @operation(Operation(summary="Return a pool of agents.", answers=PoolView, problems=(404,)))
    async def one(self, request: Request) -> Response:
        return json_response(self._shown(self._plane.pools.find(request.path_params["instance"])))

    @operation(
        Operation(
            summary="Ask a pool to take no more calls and to end after the last; its next report is answered with it.",
            scope="operate",
            takes=PoolRequest,
            answers=PoolView,
            status=202,
            problems=(404, 409, 413, 415),
        )
    )
    async def drain(self, request: Request) -> Response:
        return await self._ask(request, "drain")

    @operation(
        Operation(
            summary="Ask a pool to bring the code of its files into service anew; calls in progress go on.",
            scope="operate",
            takes=PoolRequest,
            answers=PoolView,
            status=202,
            problems=(404, 409, 413, 415),
        )
    )
    async def reload(self, request: Request) -> Response:
        return await self._ask(request, "reload")

    async def _ask(self, request: Request, verb: Verb) -> Response:
        await read_body(request, PoolRequest)
        found = await self._plane.pools.ask(request.path_params["instance"], verb, by=operator_of(request).name)
        return json_response(self._shown(found), status=202)

    def _shown(self, view: PoolView) -> PoolView:
        hidden = {each.job_id for each in view.report.sessions if self._plane.fleet.is_redacted(each.job_id)}
        return msgspec.structs.replace(view, report=without_rooms(view.report, hidden)) if hidden else view


def without_rooms(report: PoolSnapshot, hidden: Iterable[str]) -> PoolSnapshot:
    """Return a report that does not name the rooms of some sessions."""
    jobs = set(hidden)
    sessions = tuple(
        msgspec.structs.replace(each, room=_REDACTED) if each.job_id in jobs else each for each in report.sessions
    )
    return msgspec.structs.replace(report, sessions=sessions)
