"""The Rust core and the process around it: forks, a busy interpreter, a handler that fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time

import pytest

from greenroom._media import Channel, DataReceived, EngineConfig, Str0mEngine
from support.media_peer import AiortcPeer

pytestmark = pytest.mark.conformance

COUNT, SIZE = 400, 15_000


def run(body: str) -> str:
    """Run statements in the middle of a program that has an engine; return what they print."""
    program = textwrap.dedent("""
        import asyncio, atexit, os
        from greenroom._media import EngineConfig, Str0mEngine
        from greenroom.errors import MediaEngineError

        async def main():
            engine = Str0mEngine(EngineConfig())
            await engine.start(lambda batch: None)
            engine.create_transport(1)
        {body}
            engine.create_transport(2)
            print(engine.stats().faults)
            await engine.stop()

        asyncio.run(main())
    """).replace("{body}", textwrap.indent(textwrap.dedent(body).strip(), "    "))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("use", ["engine.create_transport(3)", "engine.send([1], '_reliable', b'')"])
def test_a_forked_child_cannot_use_the_engine_and_does_not_harm_it(use):
    printed = run(f"""
        child = os.fork()
        if child == 0:
            try:
                {use}
            except MediaEngineError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert printed == (
        "The media engine belongs to the process that started it. "
        "Start the engine after the fork, or spawn the process instead\n0\n"
    )


def test_a_forked_child_that_exits_or_stops_its_copy_does_not_hang():
    printed = run("""
        child = os.fork()
        if child == 0:
            atexit._run_exitfuncs()
            await engine.stop()
            print("child done", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert printed == "child done\n0\n"


@pytest.fixture
async def stage():
    """A connected client, and every message it sent."""
    messages: list[bytes] = []
    engine, peer = Str0mEngine(EngineConfig()), AiortcPeer()
    changed = asyncio.Event()

    def on_events(batch):
        messages.extend(event.payload for event in batch if isinstance(event, DataReceived))
        changed.set()

    async def arrival(count):
        async with asyncio.timeout(60):
            while len(messages) < count:
                changed.clear()
                await changed.wait()
        return [int.from_bytes(message[:4], "big") for message in messages]

    await engine.start(on_events)
    engine.create_transport(1)
    answer = await engine.accept_offer(1, await peer.offer())
    await peer.answer(answer.sdp)
    await peer.open()
    yield engine, peer, arrival
    await peer.dispose()
    await engine.stop()


async def test_messages_wait_while_the_loop_is_busy(stage):
    engine, peer, arrival = stage
    for number in range(COUNT):
        peer.send(Channel.RELIABLE, number.to_bytes(4, "big") + bytes(SIZE - 4))
    arrived = asyncio.create_task(arrival(COUNT))
    while not arrived.done():
        # The client lives on this loop too: let it work, then hold everything up.
        await asyncio.sleep(0.01)
        time.sleep(0.05)  # noqa: ASYNC251
    assert arrived.result() == list(range(COUNT))
    assert engine.stats().extra["packets_overheld"] == 0


async def test_the_descriptor_tells_of_events_that_did_not_fit_into_one_turn(stage):
    engine, peer, arrival = stage
    for number in range(2000):
        peer.send(Channel.RELIABLE, number.to_bytes(4, "big"))
    assert await arrival(2000) == list(range(2000))
    assert engine.stats().events_pending == 0


async def test_a_cancelled_offer_leaves_nothing_behind(first_offer):
    engine = Str0mEngine()
    await engine.start(lambda batch: None)
    engine.create_transport(1)
    offer = asyncio.create_task(engine.accept_offer(1, first_offer))
    await asyncio.sleep(0)
    offer.cancel()
    await asyncio.gather(offer, return_exceptions=True)
    assert offer.cancelled()
    assert (await engine.accept_offer(1, first_offer)).sections
    await engine.stop()
