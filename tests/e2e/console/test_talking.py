"""A call in the Playground: who is asked for, what is said and done, and in which state the agent is."""

from __future__ import annotations

import pytest
from livekit.protocol.agent_pb import agent_session
from playwright.async_api import expect

from support.session_events import tell

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def asked_agents(house, room: str) -> list[str]:
    return [dispatch.agent_name for dispatch in house.server.agents.list_dispatch(room)]


async def test_the_agent_that_is_picked_is_asked_for(house) -> None:
    page = await house.visit()
    await page.join("front-desk")
    await page.connected()
    assert asked_agents(house, await page.room_name()) == ["front-desk"]


async def test_any_agent_leaves_it_to_the_server(house) -> None:
    page = await house.visit()
    await page.join("Any agent")
    await page.connected()
    assert "front-desk" not in asked_agents(house, await page.room_name())


async def test_an_agent_that_is_not_listed_can_be_named(house) -> None:
    page = await house.visit()
    await page.page.get_by_role("option", name="Another agent").click()
    await expect(page.button("Join")).to_be_disabled()
    await page.page.get_by_label("Agent name").fill("night-desk")
    await page.join()
    await page.connected()
    assert asked_agents(house, await page.room_name()) == ["night-desk"]


async def test_name_room_and_metadata_are_as_given(house) -> None:
    page = await house.visit()
    await page.page.get_by_label("Your name").fill("Ada")
    await page.button("Room and metadata").click()
    await page.page.get_by_label("Room", exact=True).fill("lobby")
    await page.page.get_by_label("Agent metadata").fill('{"floor": 3}')
    await page.join()
    await page.connected()

    room = house.server.rooms.get("lobby")
    assert [participant.name for participant in room.participants.values()] == ["Ada"]
    assert [dispatch.metadata for dispatch in house.server.agents.list_dispatch("lobby")] == ['{"floor": 3}']


async def test_the_keyboard_is_enough(house) -> None:
    page = await house.visit()
    await expect(page.page.get_by_role("option", name="front-desk")).to_be_visible()
    keyboard = page.page.keyboard
    await keyboard.press("Tab")  # the brand
    await keyboard.press("Tab")  # the other page
    await keyboard.press("Tab")  # the list
    await keyboard.press("ArrowDown")
    await expect(page.page.get_by_role("option", name="Any agent")).to_have_attribute("aria-selected", "true")
    await keyboard.press("ArrowUp")
    await keyboard.press("Tab")
    await expect(page.page.get_by_label("Your name")).to_be_focused()
    await keyboard.press("Enter")

    await expect(page.message).to_be_focused()
    await page.connected()
    agent = await house.agent(await page.room_name())
    await keyboard.type("First line")
    await keyboard.press("Shift+Enter")
    await keyboard.type("second line")
    await keyboard.press("Enter")
    assert (await agent.next("text"))[0] == "First line\nsecond line"
    await expect(page.message).to_have_value("")
    await expect(page.message).to_be_focused()


async def test_words_appear_as_the_agent_says_them(house) -> None:
    page, agent = await house.call()
    attributes = {"lk.segment_id": "SG_1", "lk.transcription_final": "false"}
    writer = await agent.me.stream_text(topic="lk.transcription", attributes=attributes)
    await writer.write("Good ")
    await expect(page.said("Good", phase="growing")).to_be_visible()
    await writer.write("morning")
    await expect(page.said("Good morning", phase="growing")).to_be_visible()
    await writer.aclose(attributes={"lk.transcription_final": "true"})
    await expect(page.said("Good morning")).to_be_visible()
    await expect(page.page.get_by_role("status").filter(has_text="front-desk: Good morning")).to_have_count(1)


async def test_what_the_agent_hears_of_the_visitor_is_one_line_that_is_corrected(house) -> None:
    page, agent = await house.call()
    (visitor,) = agent.room.remote_participants
    for text, final in (("I wood like", "false"), ("I would like a table", "true")):
        writer = await agent.me.stream_text(
            topic="lk.transcription",
            attributes={"lk.segment_id": "SG_1", "lk.transcription_final": final},
            sender_identity=visitor,
        )
        await writer.write(text)
        await writer.aclose()
        await expect(page.page.locator("li[data-role=visitor]").filter(has_text=text)).to_be_visible()
    await expect(page.page.locator("li[data-role=visitor]")).to_have_count(1)


async def test_each_state_of_the_agent_is_shown(house) -> None:
    page, agent = await house.call()
    for state in ("thinking", "speaking", "idle", "listening"):
        await agent.me.set_attributes({"lk.agent.state": state})
        await expect(page.state).to_have_text(state)


async def test_what_is_typed_before_anybody_can_hear_it_waits_and_is_sent_in_order(house) -> None:
    page = await house.visit()
    await page.join()
    await page.say("First")
    await page.say("Second")
    await expect(page.said("First", by="visitor", phase="waiting")).to_be_visible()
    agent = await house.agent(await page.room_name(), state="initializing")
    await expect(page.state).to_have_text("initializing")
    await expect(page.said("First", by="visitor", phase="waiting")).to_be_visible()

    await agent.me.set_attributes({"lk.agent.state": "listening"})
    assert (await agent.next("text"))[0] == "First"
    assert (await agent.next("text"))[0] == "Second"
    await expect(page.said("Second", by="visitor")).to_be_visible()


async def test_tool_calls_and_errors_of_the_agent_stand_in_the_transcript(house) -> None:
    page, agent = await house.call()

    call = agent_session.FunctionCall(call_id="c1", name="look_up", arguments='{"day": "Monday"}')
    update = agent_session.AgentSessionEvent.ToolExecutionUpdated
    await tell(agent, tool_execution_updated=update(started=update.Started(function_call=call)))
    await expect(page.tool("look_up", "running")).to_contain_text('day: "Monday"')
    ended = update.Ended(id="c1", call_id="c1", status=agent_session.TC_DONE, message="nothing free")
    await tell(agent, tool_execution_updated=update(ended=ended))
    await expect(page.tool("look_up")).to_contain_text("nothing free")
    await tell(agent, error=agent_session.AgentSessionEvent.Error(message="the model is gone"))
    await expect(page.page.get_by_label("Transcript")).to_contain_text("the model is gone")


async def test_who_reads_further_up_is_not_pulled_away(house) -> None:
    page, agent = await house.call()
    for number in range(40):
        await agent.me.send_text(f"Line {number}", topic="lk.chat")
    await expect(page.said("Line 39")).to_be_in_viewport()

    transcript = page.page.get_by_label("Transcript")
    await transcript.evaluate("element => element.scrollTo(0, 0)")
    await expect(page.said("Line 0").first).to_be_in_viewport()
    await agent.me.send_text("One more", topic="lk.chat")
    await expect(page.button("Jump to the latest")).to_be_visible()
    await expect(page.said("Line 0").first).to_be_in_viewport()
    await page.button("Jump to the latest").click()
    await expect(page.said("One more")).to_be_in_viewport()


async def test_a_call_without_trouble_leaves_no_complaint_in_the_console(house) -> None:
    page, agent = await house.call()
    await page.say("Hello")
    await agent.next("text")
    await page.button("Leave").click()
    await expect(page.notice("You left the call")).to_be_visible()
    assert page.complaints.messages == []
