"""Which agents can be called.

LiveKit has no public call that lists the workers registered with a server, so whoever embeds the
control plane, and starts agents itself, says what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.control._responses import json_response
from greenroom.operations import Operation, operation

AgentState: TypeAlias = Literal["starting", "ready", "failed"]


class AgentListing(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that can be called, as its supervisor sees it.

    :param name: what its worker registers as; ``""`` is the unnamed agent that joins every room.
    :param detail: one line for a person: what it waits for, or why it failed and what to do.
    """

    name: str
    state: AgentState
    detail: str = ""


class AgentList(msgspec.Struct, frozen=True):
    """The answer of ``GET /api/agents``."""

    agents: list[AgentListing]


def agent_routes(agents: Callable[[], Sequence[AgentListing]]) -> list[Route]:
    """Return the routes that list agents. ``agents`` is asked anew for each request."""

    @operation(Operation(summary="List the agents that can be called.", answers=AgentList))
    async def list_agents(_request: Request) -> Response:
        return json_response(AgentList(sorted(agents(), key=lambda agent: (agent.name == "", agent.name))))

    return [Route("/agents", list_agents, methods=["GET"])]
