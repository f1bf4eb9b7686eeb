"""The Rust core and the process around it: forks, a busy interpreter, a handler that fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time

import pytest

from greenroom._media import Channel, DataReceived, EngineConfig, Str0mEngine
from support.media_peer import AiortcPeer
from support.offers import chromium_first

pytestmark = pytest.mark.conformance

COUNT, SIZE = 400, 15_000

# An engine in a program that, once told to, holds the interpreter's lock until it is told to go on: in C, in `read`.
STALLING = """
import asyncio, ctypes, json, sys
from greenroom._media import Receive, Send, Str0mEngine

async def main():
    engine = Str0mEngine()
    await engine.start(lambda batch: None)
    for transport, direction, plan in ((1, "sendonly", Receive()), (2, "recvonly", Send("PA_a|TR_1", "TR_1"))):
        engine.create_transport(transport)
        offer = json.loads(sys.stdin.readline())
        mid = next(section.mid for section in engine.inspect_offer(offer) if section.direction == direction)
        answer = await engine.accept_offer(transport, offer, {mid: plan})
        print(json.dumps([mid, answer.sdp]), flush=True)
        engine.publish(1, 1, mid) if transport == 1 else engine.forward(1, 2, mid)
    sys.stdin.readline()
    print("stalled", flush=True)
    ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)
    print(engine.stats().rtp_out, flush=True)
    await engine.stop()

asyncio.run(main())
"""


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


@pytest.mark.parametrize("lite", [True, False])
def test_candidates_that_a_client_repeats_in_every_offer_are_kept_once(lite):
    tcp = "a=candidate:1 1 tcp 1518280447 192.0.2.{} 9 typ host tcptype active\r\n"
    first, rest = chromium_first().split("a=mid:0\r\n")
    offer = f"{first}a=mid:0\r\n{''.join(tcp.format(n) for n in range(60))}{rest}"
    printed = run(f"""
        def resident():
            with open("/proc/self/statm") as pages:
                return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        engine.create_transport(3, lite={lite})
        for number in range(1_000):
            await engine.accept_offer(3, {offer!r})
            if number == 200:
                before = resident()
        # Ten megabytes, if each of them were kept each time.
        print(resident() - before < 3_000_000)
    """)
    assert printed == "True\n0\n"


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


async def test_no_packet_of_a_track_waits_for_an_interpreter_that_stands_still():
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", STALLING, stdin=pipe, stdout=pipe)
    speaker, listener = AiortcPeer(), AiortcPeer()
    speaker.add_audio("mic")
    for peer in (speaker, listener):
        server.stdin.write(json.dumps(await peer.offer()).encode() + b"\n")
        mid, sdp = json.loads(await server.stdout.readline())
        await peer.answer(sdp)
        await peer.open()
    server.stdin.write(b"stall\n")
    assert await server.stdout.readline() == b"stalled\n"
    for number in range(50):
        await speaker.send_audio("mic", number, b"packet %d" % number)
    # Nobody but this line lets the interpreter go on.
    await listener.until(lambda: len(listener.heard(mid)) == 50)
    printed, _ = await server.communicate(b"\n")
    assert (printed, server.returncode) == (b"50\n", 0)
    await asyncio.gather(speaker.dispose(), listener.dispose())
