"""The line that says which parts of an agent are stand-ins, for agents that the test plays."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from support.accessibility import barriers
from support.session_events import tell_usage

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

PATTERNS = ("greenroom", "offline-patterns")
POCKETSPHINX = ("greenroom", "pocketsphinx-en-us")
FLITE = ("greenroom", "flite-rms")
ADVICE = "For trying things out; not what a caller should hear."


async def place(element: Locator) -> float:
    """Return how far from the top of the window an element is, in pixels."""
    box = await element.bounding_box()
    assert box is not None
    return box["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
async def test_it_names_what_is_used_and_can_be_read_by_everyone(house, width, scheme) -> None:
    page = await house.visit(viewport={"width": width, "height": 720}, color_scheme=scheme)
    await page.join()
    await expect(page.page.get_by_text("Waiting for front-desk")).to_be_visible()
    (room,) = house.server.rooms.list()
    agent = await house.agent(room.name)
    await tell_usage(agent, llm=PATTERNS, stt=POCKETSPHINX, tts=FLITE)
    await expect(page.stand_ins).to_have_text(
        f"This agent uses stand-ins: PocketSphinx listens, patterns answer, flite speaks. {ADVICE} See docs/speech.md."
    )
    await expect(page.stand_ins).to_be_in_viewport(ratio=1)
    await expect(page.stand_ins).to_have_attribute("role", "status")
    assert await barriers(page.page) == []
    assert await page.fits()


async def test_it_grows_with_what_comes_into_use_and_moves_nothing_that_is_read(house) -> None:
    page, agent = await house.call()
    for number in range(30):
        await agent.me.send_text(f"Line {number}", topic="lk.chat")
    last = page.said("Line 29")
    await expect(last).to_be_in_viewport()
    places = [await place(last), await place(page.message)]

    await tell_usage(agent, llm=PATTERNS)
    await expect(page.stand_ins).to_contain_text("uses a stand-in: patterns answer.")
    await tell_usage(agent, llm=PATTERNS, tts=FLITE)
    await expect(page.stand_ins).to_contain_text("uses stand-ins: patterns answer, flite speaks.")
    await expect(page.stand_ins.get_by_role("paragraph")).to_have_count(1)
    # The transcript scrolls by whole pixels.
    assert [await place(last), await place(page.message)] == pytest.approx(places, abs=1)


async def test_it_is_not_there_for_services(house) -> None:
    page, agent = await house.call()
    await tell_usage(agent, llm=("openai", "gpt-4.1-mini"), stt=("deepgram", "nova-3"), tts=("openai", "tts-1"))
    # Both arrive in order: once the second is shown, the first has been looked at.
    await tell_usage(agent, llm=("openai", "gpt-4.1-mini"), tts=FLITE)
    await expect(page.stand_ins).to_contain_text("uses a stand-in: flite speaks.")


async def test_the_next_call_begins_without_it(house) -> None:
    page, agent = await house.call()
    await tell_usage(agent, llm=PATTERNS)
    await expect(page.stand_ins).to_contain_text("patterns answer")
    await page.button("Leave").click()
    await expect(page.notice("You left the call")).to_be_visible()
    await page.button("Call again").click()
    await page.connected()
    await expect(page.stand_ins).to_be_empty()
