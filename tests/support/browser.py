"""Chromium for tests: started once per module, one page per visitor."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect

# A busy machine is slow, not broken.
expect.set_options(timeout=15_000)

_FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A microphone that beeps and no question whether the page may use it.
FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
# Pages play and make sound before anybody has touched them, and need no microphone of the machine.
AUDIBLE = (*FAKE_MICROPHONE, "--autoplay-policy=no-user-gesture-required")


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """Start the Chromium of this machine, headless; ``flags`` are added to its command line."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "Chromium is missing. Run: make setup && make .make/browser"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


class Complaints:
    """What a page wrote to its console as an error, and what it threw."""

    def __init__(self, page: Page) -> None:
        self.messages: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.messages.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: Error) -> None:
        self.messages.append(str(error))


@asynccontextmanager
async def visitor(browser: Browser, **context_options: Any) -> AsyncIterator[tuple[Page, Complaints]]:
    """Open a page as somebody who was never here before; yields it and what it complains about."""
    context = await browser.new_context(**context_options)
    try:
        page = await context.new_page()
        page.set_default_timeout(15_000)
        yield page, Complaints(page)
    finally:
        await context.close()
