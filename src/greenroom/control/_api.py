"""``/api``: the operations of every noun, each behind the scope that it declares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._responses import RefusedError
from greenroom.grants import Operator
from greenroom.operations import Operation, covers, operation_of


def operator_of(request: Request) -> Operator:
    """Return who the request is from, as the guard found out."""
    found: Operator = request.state.operator
    return found


def guarded(routes: Iterable[Route]) -> list[Route]:
    """Return the routes with their scopes enforced. Raises :class:`TypeError` for one that declares none."""
    return [_guarded(route) for route in routes]


def _guarded(route: Route) -> Route:
    declared = operation_of(route.endpoint)
    if declared is None:
        raise TypeError(f"{route.path} declares no operation")
    methods = sorted((route.methods or set()) - {"HEAD"})
    return Route(route.path, _checked(route.endpoint, declared), methods=methods)


def _checked(endpoint: Callable[..., Any], declared: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def checked(request: Request) -> Response:
        operator = operator_of(request)
        if not covers(operator.role, declared.scope):
            raise RefusedError(
                403,
                "scope_missing",
                f"'{operator.name}' may {operator.role}; this asks for the role '{declared.scope}'",
                fix=f"Log in with: greenroom login --role {declared.scope}",
            )
        response: Response = await endpoint(request)
        return response

    return checked
