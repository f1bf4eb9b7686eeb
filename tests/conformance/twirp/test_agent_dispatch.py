"""AgentDispatchService as the official client uses it, against a whole server. No worker is connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from livekit import api
from livekit.protocol import agent_dispatch

from greenroom.config import RoomDefaults
from greenroom.grants import VideoGrant, mint
from support.twirp_stage import KEY, NARROW, Stage, refusal, twirp_stage

pytestmark = pytest.mark.conformance

NO_ROOM = (404, "not_found", "requested room does not exist")


async def create(stage: Stage, room: str = "lobby", **fields: Any) -> agent_dispatch.AgentDispatch:
    return await stage.api.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room=room, **fields))


async def test_a_dispatch_is_created_found_and_deleted(stage: Stage) -> None:
    dispatches = stage.api.agent_dispatch
    created = await create(stage, agent_name="front-desk", metadata="m", attributes={"a": "1"}, deployment="blue")
    assert created.id.startswith("AD_")
    assert (created.room, created.agent_name, created.metadata) == ("lobby", "front-desk", "m")
    assert (dict(created.attributes), created.deployment) == ({"a": "1"}, "blue")
    assert created.state.created_at > 1_700_000_000 * 10**9

    found = await dispatches.get_dispatch(created.id, "lobby")
    assert found is not None
    assert (found.id, found.agent_name) == (created.id, "front-desk")
    assert await dispatches.get_dispatch("AD_unknown", "lobby") is None

    deleted = await dispatches.delete_dispatch(created.id, "lobby")
    assert (deleted.id, deleted.state.deleted_at > 0) == (created.id, True)
    assert await dispatches.get_dispatch(created.id, "lobby") is None


async def test_a_dispatch_makes_its_room_which_then_has_the_automatic_one_too(stage: Stage) -> None:
    await create(stage, agent_name="front-desk")
    assert stage.server.rooms.get("lobby") is not None
    names = [dispatch.agent_name for dispatch in await stage.api.agent_dispatch.list_dispatch("lobby")]
    assert sorted(names) == ["", "front-desk"]


async def test_a_room_with_agents_has_their_dispatches_and_no_automatic_one(stage: Stage) -> None:
    agents = [api.RoomAgentDispatch(agent_name=name, metadata=name) for name in ("one", "two")]
    await stage.api.room.create_room(api.CreateRoomRequest(name="lobby", agents=agents))
    listed = await stage.api.agent_dispatch.list_dispatch("lobby")
    assert sorted((dispatch.agent_name, dispatch.metadata) for dispatch in listed) == [("one", "one"), ("two", "two")]


async def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    dispatches = stage.api.agent_dispatch
    assert await refusal(dispatches.list_dispatch("lobby")) == NO_ROOM
    assert await refusal(dispatches.delete_dispatch("AD_unknown", "lobby")) == NO_ROOM
    await stage.api.room.create_room(api.CreateRoomRequest(name="lobby"))
    for unknown in ("AD_unknown", ""):
        assert await refusal(dispatches.delete_dispatch(unknown, "lobby")) == (
            404,
            "not_found",
            "dispatch ID not found",
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"room": ""},
        {"room": "r" * 257},
        {"agent_name": "a" * 257},
        {"metadata": "m" * (512 * 1024 + 1)},
        {"attributes": {"a": "v" * 65536}},
        {"deployment": "a_b"},
        {"deployment": "a b"},
        {"deployment": "d" * 65},
    ],
)
async def test_a_dispatch_that_cannot_be_is_an_invalid_argument(stage: Stage, fields: Mapping[str, Any]) -> None:
    assert (await refusal(create(stage, **{"room": "lobby", **fields})))[:2] == (400, "invalid_argument")
    assert stage.server.rooms.list() == []


async def test_where_joining_makes_no_room_a_dispatch_makes_none() -> None:
    async with twirp_stage(room=RoomDefaults(auto_create=False)) as stage:
        assert await refusal(create(stage, agent_name="front-desk")) == NO_ROOM
        await stage.api.room.create_room(api.CreateRoomRequest(name="lobby"))
        await create(stage, agent_name="front-desk")


async def test_only_administrators_of_the_room_may_dispatch(stage: Stage) -> None:
    for grants in (api.VideoGrants(room_admin=True, room="other"), api.VideoGrants(room_join=True, room="lobby")):
        token = api.AccessToken(KEY.key, KEY.secret).with_identity("ann").with_grants(grants).to_jwt()
        async with api.LiveKitAPI.with_token(token, stage.url) as limited:
            for call in (
                limited.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room="lobby")),
                limited.agent_dispatch.list_dispatch("lobby"),
                limited.agent_dispatch.delete_dispatch("AD_unknown", "lobby"),
            ):
                assert await refusal(call) == (401, "unauthenticated", "permissions denied")


async def test_a_key_dispatches_only_the_agents_its_policy_allows(stage: Stage) -> None:
    back = await create(stage, "front-1", agent_name="back-office")
    async with api.LiveKitAPI(stage.url, NARROW.key, NARROW.secret) as narrow:
        made = await narrow.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(room="front-1", agent_name="front-desk")
        )
        for call in (
            narrow.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(room="front-1", agent_name="back-office")
            ),
            narrow.agent_dispatch.delete_dispatch(back.id, "front-1"),
            narrow.agent_dispatch.list_dispatch("lobby"),
        ):
            assert (await refusal(call))[:2] == (403, "permission_denied")
        await narrow.agent_dispatch.delete_dispatch(made.id, "front-1")


async def test_a_retried_call_makes_one_dispatch(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.url) as http:

        async def post(request_id: str, room: str = "lobby") -> str:
            response = await http.post(
                "/twirp/livekit.AgentDispatchService/CreateDispatch",
                json={"room": room, "agentName": "front-desk"},
                headers={
                    "authorization": f"Bearer {mint(KEY, video=VideoGrant(room_admin=True, room=room))}",
                    **({"x-livekit-request-id": request_id} if request_id else {}),
                },
            )
            assert response.status_code == 200
            return str(response.json()["id"])

        assert await post("retry") == await post("retry")
        assert len({await post("retry"), await post("other"), await post("retry", "hall"), await post("")}) == 4
    named = [one for one in stage.server.agents.list_dispatch("lobby") if one.agent_name]
    assert len(named) == 3
