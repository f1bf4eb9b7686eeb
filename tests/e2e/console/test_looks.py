"""The Playground in narrow and wide windows, light and dark, and for assistive technology."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from support.accessibility import barriers

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

WIDE = {"width": 1280, "height": 720}
NARROW = {"width": 390, "height": 844}
LONG = "https://example.com/" + "a-very-long-path/" * 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_there_are_no_barriers_before_during_and_after_a_call(house, viewport, scheme) -> None:
    page = await house.visit(viewport=viewport, color_scheme=scheme)
    await expect(page.page.get_by_role("option", name="front-desk")).to_be_visible()
    await page.button("Room and metadata").click()
    assert await barriers(page.page) == []

    await page.join()
    await page.say("Waiting for somebody")
    await expect(page.page.get_by_text("Waiting for front-desk")).to_be_visible()
    assert await barriers(page.page) == []

    (room,) = house.server.rooms.list()
    agent = await house.agent(room.name)
    await agent.me.send_text("Good morning", topic="lk.chat")
    await expect(page.said("Good morning")).to_be_visible()
    if viewport == WIDE:
        await page.page.get_by_role("button", name="Copy server address").hover()
    assert await barriers(page.page) == []

    await page.button("Leave").click()
    await expect(page.notice("You left the call")).to_be_visible()
    assert await barriers(page.page) == []


@pytest.mark.parametrize("viewport", [WIDE, NARROW, {"width": 320, "height": 640}], ids=["wide", "narrow", "smallest"])
async def test_nothing_sticks_out_and_what_is_needed_is_in_view(house, viewport) -> None:
    page = await house.visit(viewport=viewport)
    await expect(page.button("Join")).to_be_in_viewport(ratio=1)
    assert await page.fits()

    await page.join()
    await expect(page.page.get_by_text("Waiting for front-desk")).to_be_visible()
    (room,) = house.server.rooms.list()
    agent = await house.agent(room.name)
    await agent.me.send_text(LONG, topic="lk.chat")
    await expect(page.said("a-very-long-path")).to_be_visible()
    for needed in (page.message, page.button("Send"), page.button("Leave")):
        await expect(needed).to_be_in_viewport(ratio=1)
    assert await page.fits()


async def test_in_a_narrow_window_the_facts_are_one_press_away(house) -> None:
    page = await house.visit(viewport=NARROW)
    await page.join()
    await expect(page.message).to_be_focused()
    await expect(page.page.get_by_role("heading", name="Participants")).to_be_hidden()
    await page.button("Details").click()
    await expect(page.page.get_by_role("heading", name="Participants")).to_be_visible()
    await expect(page.message).to_be_hidden()
    await page.button("Conversation").click()
    await expect(page.message).to_be_visible()


async def test_nothing_is_loaded_from_elsewhere(house) -> None:
    page = await house.visit()
    requests: list[str] = []
    page.page.on("request", lambda request: requests.append(request.url))
    page.page.on("websocket", lambda socket: requests.append(socket.url.replace("ws", "http", 1)))
    await page.page.reload()
    await page.join()
    await page.connected()
    assert [url for url in requests if not url.startswith(house.url)] == []
    assert len(requests) > 5
