"""``livekit.AgentDispatchService`` (``docs/protocol.md``, "Dispatch")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit.protocol import agent_dispatch as dispatch_pb

from greenroom.ids import Prefix, derived_id
from greenroom.server.room import RoomManager, RoomNotFoundError
from greenroom.server.twirp._permissions import require_agent_policy, require_room_admin
from greenroom.server.twirp._service import Call, Method, Service
from greenroom.server.twirp._wire import TwirpError

if TYPE_CHECKING:
    from greenroom.server.agents import AgentManager


def agent_dispatch_service(rooms: RoomManager, agents: AgentManager) -> Service:
    """Return the service that brings agents into ``rooms`` and takes them out again."""
    service = _AgentDispatchService(rooms, agents)
    return Service(
        "livekit.AgentDispatchService",
        {
            "CreateDispatch": Method(dispatch_pb.CreateAgentDispatchRequest, service.create),
            "DeleteDispatch": Method(dispatch_pb.DeleteAgentDispatchRequest, service.delete),
            "ListDispatch": Method(dispatch_pb.ListAgentDispatchRequest, service.list),
        },
    )


class _AgentDispatchService:
    def __init__(self, rooms: RoomManager, agents: AgentManager) -> None:
        self._rooms = rooms
        self._agents = agents

    async def create(self, call: Call, request: dispatch_pb.CreateAgentDispatchRequest) -> dispatch_pb.AgentDispatch:
        grant = require_room_admin(call, request.room)
        require_agent_policy(grant, [request.agent_name])
        if not self._rooms.config.room.auto_create:
            self._require_room(request.room)
        # An SDK repeats the request id when it retries; the dispatch it may have made already answers.
        parts = (grant.key.key, request.room, call.request_id)
        return self._agents.create_dispatch(
            request.room,
            agent_name=request.agent_name,
            metadata=request.metadata,
            attributes=request.attributes,
            deployment=request.deployment,
            restart_policy=request.restart_policy,
            dispatch_id=derived_id(Prefix.DISPATCH, *parts) if call.request_id else None,
        )

    async def delete(self, call: Call, request: dispatch_pb.DeleteAgentDispatchRequest) -> dispatch_pb.AgentDispatch:
        grant = require_room_admin(call, request.room)
        self._require_room(request.room)
        if request.dispatch_id:
            found = self._agents.list_dispatch(request.room, request.dispatch_id)
            require_agent_policy(grant, (dispatch.agent_name for dispatch in found))
        deleted = await self._agents.delete_dispatch(request.room, request.dispatch_id)
        if deleted is None:
            raise TwirpError("not_found", "dispatch ID not found")
        return deleted

    async def list(
        self, call: Call, request: dispatch_pb.ListAgentDispatchRequest
    ) -> dispatch_pb.ListAgentDispatchResponse:
        require_room_admin(call, request.room)
        self._require_room(request.room)
        found = self._agents.list_dispatch(request.room, request.dispatch_id)
        return dispatch_pb.ListAgentDispatchResponse(agent_dispatches=found)

    def _require_room(self, name: str) -> None:
        if self._rooms.get(name) is None:
            raise RoomNotFoundError(name)
