"""A spoken dialogue on the page, with ``greenroom dev``: Chromium's microphone says a file, the agent is recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from support.browser import FAKE_MICROPHONE, chromium, visitor
from support.page_sound import Recording, script
from support.playground import Playground
from support.program import greenroom
from support.voice_caller import understood

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("dev")]

GREETING = "Hello, this is the front desk of Harbour Clinic. How can I help you?"
WHERE = "We are at 1 Harbour Street, across from the ferry."
STAND_INS = "uses stand-ins: PocketSphinx listens, patterns answer, flite speaks."
SPOKEN = (
    "this is the front desk of harbour clinic",
    "we are at one harbour street across from the ferry",
    "what would suit you",
    "I can hear you now",
)

#: Keeps every state of the visitor's lines, of which the page shows each only for a moment.
WATCH_VISITOR = """
  window.shown = new Set();
  const look = () => document.querySelectorAll("li[data-role=visitor]").forEach((line) => {
    window.shown.add(`${line.dataset.phase} ${line.querySelector("p").textContent}`);
  });
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true,
    attributes: true });
"""


async def test_a_visitor_asks_aloud_hears_the_answer_and_cuts_it_short(tmp_path: Path) -> None:
    # Once the microphone is on, the agent says for four seconds that it hears. Its answer comes about two seconds
    # after the first question and takes eight: the second question falls into it.
    said = script(tmp_path / "said.wav", 6.0, "What is free on Monday?", 5.5, "How do I get there?")
    async with (
        greenroom("dev", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as program,
        chromium(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={said}%noloop") as browser,
        visitor(browser, permissions=["microphone"]) as (page, complaints),
    ):
        url = await program.ready()
        await program.line("agent front-desk registered")
        await page.goto(url)
        playground = Playground(page, complaints)
        await playground.join("front-desk")
        await expect(playground.said(GREETING)).to_be_visible(timeout=60_000)
        await page.evaluate(WATCH_VISITOR)
        recording = await Recording.of(page)

        await playground.button("Turn on microphone").click()
        await expect(page.get_by_role("meter", name="Level of front-desk")).to_have_attribute(
            "aria-valuenow", re.compile(r"^([2-9]\d|100)$")
        )
        await expect(playground.said("what is free on Monday", by="visitor")).to_be_visible(timeout=30_000)
        await expect(playground.tool("check_availability")).to_contain_text('day: "Monday"')
        cut = playground.said("On Monday", phase="interrupted")
        await expect(cut).to_be_visible(timeout=30_000)
        await expect(playground.said("how do I get there", by="visitor")).to_be_visible()
        await expect(playground.said(WHERE)).to_be_visible(timeout=30_000)
        await expect(playground.state).to_have_text("listening")

        await expect(playground.stand_ins).to_contain_text(STAND_INS)

        assert "What would suit you" not in await cut.inner_text()
        shown = await page.evaluate("[...shown]")
        assert any(re.match("growing what( is|$)", line) for line in shown), shown
        heard = await understood(await recording.take(), *SPOKEN)
        assert SPOKEN[1] in heard
        assert "suit" not in heard
        await playground.button("Leave").click()
        assert complaints.messages == []
        assert await program.interrupt() == 0
