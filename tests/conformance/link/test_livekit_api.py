"""The API client against the embedded server: what another floor of the house uses of LiveKit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette

from greenroom.config import ApiKey
from greenroom.link import LinkError, LiveKit, NotFoundError, NotServedError
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY
from support.serving import serve_app

pytestmark = pytest.mark.conformance


@pytest.fixture
async def stage() -> AsyncIterator[AgentStage]:
    async with agent_stage() as running:
        yield running


@pytest.fixture
async def livekit(stage: AgentStage) -> AsyncIterator[LiveKit]:
    made = LiveKit(f"{stage.url.replace('http', 'ws', 1)}/", KEY)
    yield made
    await made.aclose()


async def test_rooms_and_who_is_in_them(stage: AgentStage, livekit: LiveKit) -> None:
    await stage.join("ada")
    await stage.join("eve", video={"hidden": True})
    (room,) = await livekit.list_rooms()
    assert (room.name, room.num_participants) == ("lobby", 1)
    assert await livekit.list_rooms("office") == []
    assert {info.identity for info in await livekit.list_participants("lobby")} == {"ada", "eve"}
    assert (await livekit.get_participant("lobby", "ada")).identity == "ada"


async def test_sending_people_away(stage: AgentStage, livekit: LiveKit) -> None:
    ada = await stage.join("ada")
    await livekit.remove_participant("lobby", "ada")
    await ada.wait_closed()
    await livekit.delete_room("lobby")
    assert await livekit.list_rooms() == []


async def test_dispatches(stage: AgentStage, livekit: LiveKit) -> None:
    made = await livekit.create_dispatch("lobby", "front_desk", metadata="m", attributes={"a": "1"})
    assert (made.agent_name, made.metadata, dict(made.attributes)) == ("front_desk", "m", {"a": "1"})
    assert made.id in {each.id for each in await livekit.list_dispatches("lobby")}
    await livekit.delete_dispatch("lobby", made.id)
    assert made.id not in {each.id for each in await livekit.list_dispatches("lobby")}


async def test_what_is_not_there_is_an_error_of_its_own(stage: AgentStage, livekit: LiveKit) -> None:
    with pytest.raises(NotFoundError) as caught:
        await livekit.get_participant("nowhere", "ada")
    assert (caught.value.status, caught.value.reason) == (404, "not_found")


async def test_a_refusal_says_what_to_check(stage: AgentStage) -> None:
    livekit = LiveKit(stage.url, ApiKey(key="devkey", secret="wrong"))
    with pytest.raises(LinkError, match="Check the API key"):
        await livekit.list_rooms()
    await livekit.aclose()


async def test_a_server_that_is_away_says_so() -> None:
    async with agent_stage() as stage:
        url = stage.url
    livekit = LiveKit(url, KEY)
    with pytest.raises(LinkError, match="Check that the LiveKit server runs"):
        await livekit.list_rooms()
    await livekit.aclose()


async def test_a_server_without_a_worker_list_says_so() -> None:
    async with serve_app(Starlette()) as url:
        livekit = LiveKit(url, KEY)
        with pytest.raises(NotServedError, match="no worker list"):
            await livekit.workers()
        await livekit.aclose()
