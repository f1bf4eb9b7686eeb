"""The first minute with Greenroom: one command, a page, an agent that answers."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from support.accessibility import barriers
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

        # Nobody spoke: what hears and what speaks were not used, so they are not named.
        await expect(playground.stand_ins).to_contain_text("uses a stand-in: patterns answer.")
        await expect(playground.stand_ins).to_contain_text("docs/offline.md")
        assert await barriers(page) == []

        await playground.say("What is free on Monday?")
        await expect(playground.tool("check_availability")).to_contain_text('day: "Monday"')
        answer = playground.said("these times are free")
        await expect(answer).to_be_visible()
        free = re.findall(r"\d\d:\d\d", await answer.locator("p").inner_text())
        await playground.say(f"Book {free[0]} for Ada Lovelace, please")
        await expect(playground.tool("book_appointment")).to_contain_text("Ada Lovelace")
        await expect(playground.said("Ada Lovelace is booked")).to_be_visible()

        await playground.button("Leave").click()
        await expect(playground.notice("You left the call")).to_be_visible()
        assert complaints.messages == []
        assert await program.interrupt() == 0
