"""How fast the media engine alone moves reliable messages, with Chromium at the other end and no server between."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence

from playwright.async_api import Page, async_playwright

from bench._figures import Figure, Options
from bench._process import PATIENCE
from greenroom._media import Channel, ChannelOpened, DataReceived, EngineConfig, Event, Str0mEngine

MESSAGE = 15_000
# What may be under way towards the browser before it has said that it arrived.
WINDOW = 2_000_000
FLAGS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")

_PAGE = """
async () => {
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel('_reliable', {ordered: true});
  channel.binaryType = 'arraybuffer';
  let total = 0, told = 0;
  channel.onmessage = ({data}) => {
    total += data.byteLength;
    if (total - told >= 200000) { told = total; channel.send(String(total)); }
  };
  window.answer = async (sdp) => {
    await pc.setRemoteDescription({type: 'answer', sdp});
    if (channel.readyState !== 'open') await new Promise((done) => { channel.onopen = done; });
  };
  window.pour = async (size, count) => {
    const message = new Uint8Array(size);
    channel.bufferedAmountLowThreshold = 500000;
    for (let sent = 0; sent < count; sent++) {
      if (channel.bufferedAmount > 2000000) await new Promise((low) => { channel.onbufferedamountlow = low; });
      channel.send(message);
    }
  };
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""


class _Inbox:
    """The engine's events, as far as a bench needs them."""

    def __init__(self) -> None:
        self.open = False
        self.received = 0
        self.acknowledged = 0
        self._changed = asyncio.Event()

    def __call__(self, batch: Sequence[Event]) -> None:
        for event in batch:
            if isinstance(event, ChannelOpened):
                self.open = True
            elif isinstance(event, DataReceived) and len(event.payload) == MESSAGE:
                self.received += MESSAGE
            elif isinstance(event, DataReceived):
                self.acknowledged = int(event.payload)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE * 2):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def run(options: Options) -> list[Figure]:
    """Pour megabytes through one data channel, first towards the browser, then back."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        return [Figure("engine alone", float("nan"), "MB/s", note="not measured: there is no chromium")]
    megabytes = 8 if options.quick else 64
    inbox = _Inbox()
    engine = Str0mEngine(EngineConfig())
    await engine.start(inbox)
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
            page = await browser.new_page()
            engine.create_transport(1)
            answer = await engine.accept_offer(1, await page.evaluate(_PAGE))
            await page.evaluate("(sdp) => window.answer(sdp)", answer.sdp)
            await inbox.until(lambda: inbox.open)
            outward = await _outward(engine, inbox, megabytes)
            inward = await _inward(page, inbox, megabytes)
            await browser.close()
    finally:
        await engine.stop()
    note = f"{megabytes} MB in {MESSAGE // 1000} kB messages, Chromium's own work included"
    return [
        Figure("engine alone, to a browser", outward, "MB/s", note=note),
        Figure("engine alone, from a browser", inward, "MB/s", note=note),
    ]


async def _outward(engine: Str0mEngine, inbox: _Inbox, megabytes: int) -> float:
    payload = bytes(MESSAGE)
    total = megabytes * 1_000_000
    sent = 0
    began = time.perf_counter()
    while sent < total:
        await inbox.until(_acknowledged(inbox, sent - WINDOW))
        engine.send([1], Channel.RELIABLE, payload)
        sent += MESSAGE
    # The browser tells every 200 kB, so that much at the end may stay untold.
    await inbox.until(_acknowledged(inbox, sent - 200_000))
    return inbox.acknowledged / 1e6 / (time.perf_counter() - began)


def _acknowledged(inbox: _Inbox, goal: int) -> Callable[[], bool]:
    return lambda: inbox.acknowledged >= goal


async def _inward(page: Page, inbox: _Inbox, megabytes: int) -> float:
    count = megabytes * 1_000_000 // MESSAGE
    began = time.perf_counter()
    await page.evaluate(f"window.pour({MESSAGE}, {count})")
    await inbox.until(lambda: inbox.received >= count * MESSAGE)
    return inbox.received / 1e6 / (time.perf_counter() - began)
