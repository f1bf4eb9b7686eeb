"""The Playground as somebody uses it."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from support.browser import Complaints


class Playground:
    """A page with the Playground open in it."""

    def __init__(self, page: Page, complaints: Complaints) -> None:
        self.page = page
        self.complaints = complaints

    @property
    def message(self) -> Locator:
        """Where the visitor types."""
        return self.page.get_by_label("Message")

    @property
    def state(self) -> Locator:
        """The agent's state in the panel."""
        return self.page.get_by_test_id("agent-state")

    @property
    def stand_ins(self) -> Locator:
        """The line about stand-ins; empty while there is nothing to say."""
        return self.page.get_by_test_id("stand-ins")

    def said(self, text: str, *, by: str = "agent", phase: str = "done") -> Locator:
        """A line of the transcript."""
        return self.page.locator(f"li[data-role={by}][data-phase={phase}]").filter(has_text=text)

    def tool(self, name: str, outcome: str = "done") -> Locator:
        """A tool call in the transcript."""
        return self.page.locator(f"li[data-tool={name}][data-outcome={outcome}]")

    def notice(self, text: str) -> Locator:
        """The notice, when it says ``text``."""
        return self.page.locator("[role=status], [role=alert]").filter(has_text=text)

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def give_token(self, token: str) -> None:
        """Tell a server that asks who one is an API token."""
        await self.page.get_by_label("API token").fill(token)
        await self.button("Continue").click()

    async def join(self, agent: str | None = None) -> None:
        """Pick an agent, unless the one that is picked will do, and join."""
        if agent is not None:
            await self.page.get_by_role("option", name=agent).click()
        await self.button("Join").click()

    async def connected(self) -> None:
        """Wait until the call is up."""
        await expect(self.page.get_by_role("complementary")).to_contain_text("connected")

    async def say(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.message.fill(text)
        await self.message.press("Enter")

    async def room_name(self) -> str:
        """Return the name of the room, as the panel shows it."""
        label = await self.page.get_by_role("button", name="Copy room name").get_attribute("aria-label")
        return (label or "").removeprefix("Copy room name: ")

    async def fits(self) -> bool:
        """Tell whether nothing sticks out of the window sideways."""
        return bool(await self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
