"""What the Playground says while nobody is there, when somebody goes, and when things break."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from livekit.protocol import models
from playwright.async_api import expect

from greenroom.config import ApiKey
from greenroom.control import AgentListing
from support.accessibility import barriers
from support.gate import gate_to

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_without_an_agent_it_says_what_to_start(house) -> None:
    house.agents.clear()
    page = await house.visit()
    await page.page.get_by_role("option", name="Another agent").click()
    await page.page.get_by_label("Agent name").fill("night-desk")
    await page.join()
    await expect(page.notice("Waiting for night-desk")).to_be_visible()
    await expect(page.notice("Nothing called night-desk is known")).to_be_visible()
    await expect(page.page.get_by_role("button", name="Copy command: export LIVEKIT_URL=ws://")).to_be_visible()

    await house.agent(await page.room_name())
    await expect(page.state).to_have_text("listening")
    await expect(page.notice("Nothing called")).to_have_count(0)


async def test_an_agent_that_failed_is_listed_with_its_reason_and_the_call_says_it_too(house) -> None:
    house.agents[:] = [AgentListing(name="front-desk", state="failed", detail="desk.py:3: no module named 'x'")]
    page = await house.visit()
    await expect(page.page.get_by_role("option", name="front-desk")).to_contain_text("desk.py:3")
    await page.join()
    await expect(page.notice("front-desk is not running")).to_contain_text("desk.py:3: no module named 'x'")


async def test_the_list_follows_what_the_agents_do(house) -> None:
    house.agents[:] = [AgentListing(name="front-desk", state="starting", detail="loading models")]
    page = await house.visit()
    option = page.page.get_by_role("option", name="front-desk")
    await expect(option).to_contain_text("starting")
    house.agents[:] = [AgentListing(name="front-desk", state="ready")]
    await expect(option).to_contain_text("ready")


async def test_leaving_ends_the_call_for_the_agent_too_and_keeps_the_conversation(house) -> None:
    page, agent = await house.call()
    await agent.me.send_text("Goodbye", topic="lk.chat")
    await expect(page.said("Goodbye")).to_be_visible()
    await page.button("Leave").click()

    gone = await agent.next("participant_disconnected")
    assert gone.disconnect_reason == models.CLIENT_INITIATED
    await expect(page.notice("You left the call")).to_be_visible()
    await expect(page.said("Goodbye")).to_be_visible()
    await expect(page.message).to_be_disabled()
    # The button had the focus; Tab goes on to what can be done now.
    await page.page.keyboard.press("Tab")
    await expect(page.button("Call again")).to_be_focused()


async def test_calling_again_is_a_new_room_with_an_empty_transcript(house) -> None:
    page, agent = await house.call()
    first = await page.room_name()
    await agent.me.send_text("Goodbye", topic="lk.chat")
    await expect(page.said("Goodbye")).to_be_visible()
    await page.button("Leave").click()
    await page.button("Call again").click()
    await page.connected()

    assert await page.room_name() != first
    await expect(page.said("Goodbye")).to_have_count(0)
    await expect(page.message).to_be_focused()


async def test_an_agent_that_leaves_is_missed(house) -> None:
    page, agent = await house.call()
    await expect(page.state).to_have_text("listening")
    await agent.room.disconnect()
    await expect(page.notice("front-desk left the call")).to_be_visible()
    await expect(page.button("Call again")).to_be_visible()


async def test_words_of_an_agent_that_breaks_off_are_marked(house) -> None:
    page, agent = await house.call()
    writer = await agent.me.stream_text(topic="lk.transcription", attributes={"lk.segment_id": "SG_1"})
    await writer.write("I was going to")
    await expect(page.said("I was going to", phase="growing")).to_be_visible()
    await agent.room.disconnect()
    await expect(page.said("I was going to", phase="cut")).to_contain_text("cut off")


async def test_who_was_removed_can_rejoin_the_same_room_as_the_same_person(house) -> None:
    page, agent = await house.call()
    name = await page.room_name()
    room = house.server.rooms.get(name)
    (identity,) = agent.room.remote_participants
    house.server.rooms.remove_participant(room, identity, models.PARTICIPANT_REMOVED)
    await expect(page.notice("You were removed from the room")).to_be_visible()

    await page.button("Rejoin").click()
    await page.connected()
    assert await page.room_name() == name
    assert set(house.server.rooms.get(name).participants) == {"agent-1", identity}
    await expect(page.state).to_have_text("listening")


async def test_a_room_that_is_deleted_ends_the_call(house) -> None:
    page, _agent = await house.call()
    await house.server.rooms.delete(await page.room_name())
    await expect(page.notice("The call was ended")).to_be_visible()


async def test_a_server_that_stops_says_so(house) -> None:
    page, _agent = await house.call()
    await house.server.stop()
    await expect(page.notice("The server stopped")).to_be_visible()


async def test_an_interrupted_connection_is_said_and_what_is_typed_then_waits(house) -> None:
    async with gate_to(urlsplit(house.url).port) as gate:
        page = await house.visit(url=f"http://127.0.0.1:{gate.port}")
        await page.join()
        await page.connected()
        agent = await house.agent(await page.room_name())
        await expect(page.state).to_have_text("listening")

        await gate.shut()
        await expect(page.notice("Reconnecting")).to_be_visible()
        await expect(page.page.get_by_text("listening when last seen")).to_be_visible()
        await page.say("Are you still there?")
        await expect(page.said("Are you still there?", by="visitor", phase="waiting")).to_be_visible()
        await gate.open()
        assert (await agent.next("text", within=30))[0] == "Are you still there?"
        await page.connected()
        await expect(page.notice("Reconnecting")).to_have_count(0)


async def test_a_server_that_does_not_answer_is_said_to_be_gone(house) -> None:
    async with gate_to(urlsplit(house.url).port) as gate:
        page = await house.visit(url=f"http://127.0.0.1:{gate.port}")
        await expect(page.page.get_by_role("option", name="front-desk")).to_be_visible()
        await gate.shut()
        await page.join()
        await expect(page.notice("Greenroom does not answer")).to_be_visible()


async def test_a_list_that_cannot_be_renewed_says_that_it_may_be_old(house) -> None:
    page = await house.visit()
    await expect(page.page.get_by_role("option", name="front-desk")).to_be_visible()
    await page.page.route("**/api/agents", lambda route: route.abort())
    await expect(page.page.get_by_role("alert")).to_contain_text("This list may be old")
    await page.page.unroute("**/api/agents")
    await expect(page.page.get_by_role("alert")).to_have_count(0)


async def test_a_call_that_is_refused_says_why_and_what_to_do(house_of) -> None:
    house = await house_of(key=ApiKey(key="devkey", secret="secret", agents=("back-*",)))
    page = await house.visit()
    await page.join("front-desk")
    notice = page.notice("Could not start the call")
    await expect(notice).to_contain_text("API key 'devkey' may not call agent 'front-desk'")
    await expect(notice).to_contain_text("Choose another")


async def test_a_token_that_the_server_refuses_is_said_in_its_words(house_of) -> None:
    house = await house_of(key=ApiKey(key="devkey", secret="another secret"))
    page = await house.visit()
    await page.join()
    await expect(page.notice("The server refused the call")).to_contain_text("signature")


async def test_a_server_that_wants_its_token_is_given_it_once(house_of) -> None:
    house = await house_of(api_token="open-sesame")
    page = await house.visit()
    await expect(page.page.get_by_text("Run greenroom login where its API key is")).to_be_visible()
    assert await barriers(page.page) == []
    await page.give_token("wrong")
    await expect(page.page.get_by_text("The API token is not accepted")).to_be_visible()
    await page.give_token("open-sesame")
    await page.join("front-desk")
    await page.connected()
