"""The unmodified npm package ``livekit-client``, one Room in one Chromium page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from support.browser import Complaints, visitor

_ROOT = Path(__file__).parents[2]
_FILES = {
    "/": (Path(__file__).with_suffix(".html"), "text/html; charset=utf-8"),
    "/livekit-client.umd.js": (
        _ROOT / "console/node_modules/livekit-client/dist/livekit-client.umd.js",
        "text/javascript",
    ),
}


class ClientError(Exception):
    """What a promise of livekit-client was rejected with; its properties are attributes."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.name: str = error.get("name", "")
        self.message: str = error.get("message", "")
        self.code: int | None = error.get("code")
        self.reason: int | None = error.get("reason")
        self.reason_name: str = error.get("reasonName") or ""
        self.status: int | None = error.get("status")
        self.data: Any = error.get("data")


class Client:
    """A Room in a page. Events arrive in order; :meth:`next` takes the first one that fits."""

    def __init__(self, page: Page, complaints: Complaints) -> None:
        self.page = page
        self.complaints = complaints
        self._events: list[tuple[str, list[Any]]] = []
        self._arrived = asyncio.Condition()

    async def _report(self, _source: object, name: str, args: list[Any]) -> None:
        async with self._arrived:
            self._events.append((name, args))
            self._arrived.notify_all()

    async def next(self, name: str, where: Callable[..., bool] = lambda *_: True, *, within: float = 15) -> list[Any]:
        """Wait for an event, take it from the list and return its arguments."""

        def taken() -> list[Any] | None:
            for index, (seen, args) in enumerate(self._events):
                if seen == name and where(*args):
                    return self._events.pop(index)[1]
            return None

        async with self._arrived:
            try:
                async with asyncio.timeout(within):
                    while (args := taken()) is None:
                        await self._arrived.wait()
            except TimeoutError:
                seen = [event for event, _ in self._events]
                raise AssertionError(f"no {name} within {within} s; there were {seen}") from None
        return args

    def seen(self, name: str) -> list[list[Any]]:
        """Return the arguments of the events of that name that nobody took yet."""
        return [args for event, args in self._events if event == name]

    async def run(self, expression: str, arg: Any = None) -> Any:
        """Evaluate a JavaScript expression, awaiting it; ``room``, ``lk`` and ``arg`` are in scope.

        :raises ClientError: what it threw.
        """
        outcome = await self.page.evaluate(f"(arg) => attempt(async () => ({expression}))", arg)
        if "error" in outcome:
            raise ClientError(outcome["error"])
        return outcome.get("value")

    async def connect(self, url: str, token: str, *, room: dict[str, Any] | None = None, **options: Any) -> None:
        """Connect a new Room. ``room`` are its options, ``options`` those of ``connect``."""
        await self.run("create(arg)", room or {})
        await self.run(
            "room.connect(arg.url, arg.token, arg.options)", {"url": url, "token": token, "options": options}
        )

    async def disconnect(self) -> None:
        """Leave."""
        await self.run("room.disconnect()")


@contextmanager
def client_site() -> Iterator[str]:
    """Serve the page with the npm bundle on loopback; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, media_type = _FILES.get(self.path, (None, ""))
            if path is None:
                self.send_error(404)
                return
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the base's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="client-site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def livekit_client(browser: Browser, site: str) -> AsyncIterator[Client]:
    """Open a page with livekit-client in it, not connected yet."""
    async with visitor(browser) as (page, complaints):
        client = Client(page, complaints)
        await page.expose_binding("report", client._report)
        await page.goto(site)
        yield client
