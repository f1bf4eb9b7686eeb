"""JSON answers, and refusals as RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from greenroom.errors import GreenroomError
from greenroom.link import LinkError, NotFoundError


class RefusedError(GreenroomError):
    """A request that is answered with an HTTP error status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fix: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``application/problem+json`` says: RFC 9457, with Greenroom's code and fix beside it."""

    title: str
    status: int
    detail: str = ""
    code: str = ""
    fix: str = ""


def json_response(body: msgspec.Struct, *, status: int = 200) -> Response:
    """Answer ``body`` as JSON that nobody may keep."""
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)


def problem_response(error: GreenroomError) -> Response:
    """Answer a refusal; an error that carries no ``status`` is a 400, one of LiveKit's a 404 or 502."""
    status = _status(error)
    headers = error.headers if isinstance(error, RefusedError) else {}
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=error.message, code=error.code, fix=error.fix
    )
    return Response(
        msgspec.json.encode(problem),
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )


def _status(error: GreenroomError) -> int:
    if isinstance(error, LinkError):
        # Its status is what LiveKit answered.
        return HTTPStatus.NOT_FOUND if isinstance(error, NotFoundError) else HTTPStatus.BAD_GATEWAY
    found = getattr(error, "status", None)
    return found if isinstance(found, int) else HTTPStatus.BAD_REQUEST


async def on_greenroom_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for :class:`GreenroomError`."""
    assert isinstance(error, GreenroomError)
    return problem_response(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for what its router refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    return problem_response(RefusedError(error.status_code, code, error.detail, headers=error.headers))
