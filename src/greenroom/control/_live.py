"""What runs right now: workers, jobs and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._responses import json_response
from greenroom.link import JobInfo, WorkerInfo
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


def live_routes(plane: Plane) -> list[Route]:
    """Return the routes for ``/api``."""

    @operation(Operation(summary="List the workers, their jobs, and what waits for one and why.", answers=Workers))
    async def workers(_request: Request) -> Response:
        watch = plane.watch
        latest = watch.latest
        if latest is None:
            return json_response(
                Workers(seen_at=None, failing_since=watch.failing_since, complete=watch.has_worker_list)
            )
        return json_response(
            Workers(
                seen_at=watch.seen_at,
                failing_since=watch.failing_since,
                complete=watch.has_worker_list,
                workers=latest.workers,
                jobs=tuple(job for job in latest.jobs if not job.waits),
                pending=tuple(job for job in latest.jobs if job.waits),
                ended=latest.ended,
            )
        )

    return [Route("/workers", workers, methods=["GET"])]
