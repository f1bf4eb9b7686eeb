"""What axe-core finds wrong with a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page

_AXE = Path(__file__).parents[2] / "console/node_modules/axe-core/axe.min.js"


async def barriers(page: Page) -> list[str]:
    """Return one line for each rule that the page, as it is now, breaks: the rule and where."""
    # Evaluated by the debugger: the page's own policy lets no foreign script in.
    await page.evaluate(_AXE.read_text())
    report: dict[str, Any] = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{found['id']}: {', '.join(' '.join(map(str, node['target'])) for node in found['nodes'])}"
        for found in report["violations"]
    ]
