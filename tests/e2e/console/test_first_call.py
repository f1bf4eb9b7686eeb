"""The first minute with Greenroom: one command, a page, an agent that answers. And a server that dies and returns."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from support.browser import visitor
from support.playground import Playground
from support.program import greenroom

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("dev")]


async def test_a_person_joins_types_and_the_agent_answers_and_uses_its_tools(browser, tmp_path) -> None:
    async with (
        greenroom("dev", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as program,
        visitor(browser) as (page, complaints),
    ):
        await page.goto(await program.ready())
        playground = Playground(page, complaints)
        # The agent may still be starting; the call is kept for it.
        await playground.join("front-desk")
        await expect(playground.said("Harbour Clinic")).to_be_visible(timeout=60_000)
        await expect(playground.state).to_have_text("listening")

        await playground.say("What is free on Monday?")
        await expect(playground.tool("check_availability")).to_contain_text('day: "Monday"')
        await expect(playground.said("Which time shall I book?")).to_be_visible()
        await playground.say("Book the last one for Ada Lovelace, at 15:00")
        await expect(playground.tool("book_appointment")).to_contain_text("Ada Lovelace")
        await expect(playground.said("See you then!")).to_be_visible()

        await playground.button("Leave").click()
        await expect(playground.notice("You left the call")).to_be_visible()
        assert complaints.messages == []
        assert await program.interrupt() == 0
