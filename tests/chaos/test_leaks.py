"""What comes and goes thousands of times leaves nothing behind in the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from support.crowd import MIC, listeners, players
from support.sdk import TIMEOUT, callers
from support.signal_client import token
from support.sound import tone
from support.watched_server import Holdings, WatchedServer, watched_server

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

#: Cycles in all. ``make chaos`` asks for 5,000.
CYCLES = int(os.environ.get("GREENROOM_CYCLES", "160"))
# What allocators may take more than before. 5,000 cycles that left an offer each would take 40 MB.
SLACK = 8 * 1024 * 1024
# Messages on their way, and jobs for each publisher, which wait a minute for a worker.
PASSING = {"Outgoing", "Job", "WorkerKey"}
OF_SOMEBODY = {"Participant", "Publisher", "SignalSession", "Slot", "Subscriber", "Track"}


def assert_nothing_more(before: Holdings, after: Holdings) -> None:
    """What the server holds now is what it held before."""
    lasting = after.objects.keys() - PASSING
    assert {kind: after.objects[kind] for kind in lasting if after.objects[kind] > before.objects.get(kind, 0)} == {}
    assert after.engine["transports"] == before.engine["transports"]
    assert after.memory - before.memory < SLACK


@pytest.fixture
async def server() -> AsyncIterator[WatchedServer]:
    async with watched_server() as server:
        yield server


async def test_cycles_of_unsubscribing_and_subscribing_leave_memory_flat(server, record_property):
    people, warm_up = 20, 3
    async with (
        players(server.url, [(token("alice"), 440)], processes=1),
        listeners(server.url, [token(f"bob-{n}") for n in range(people)], processes=2) as subscribe,
    ):

        async def cycle() -> None:
            await server.sends_on(people)
            await subscribe(False)
            await server.sends_on(0)
            await subscribe(True)

        for _ in range(warm_up):
            await cycle()
        before = await server.holdings()
        for _ in range(CYCLES // people):
            await cycle()
        after = await server.holdings()
        record_property("megabytes before and after", (before.memory / 1e6, after.memory / 1e6))
    assert_nothing_more(before, after)
    assert after.engine["rtp_out"] > before.engine["rtp_out"]
    await assert_nobody_left(server)


async def test_publishers_who_come_publish_unpublish_and_go_leave_memory_flat(server, record_property):
    people, each, warm_up = 5, 4, 2
    async with callers() as make:
        bob = await make().connect(server.url, token("bob"))

        async def visit(name: str) -> None:
            async with callers() as make_visitor, tone(440) as sound:
                alice = await make_visitor().connect(server.url, token(name), auto_subscribe=False)
                for _ in range(each):
                    sid = (await alice.me.publish_track(sound, MIC)).sid
                    await bob.event("track_subscribed", lambda track, *_, sid=sid: track.sid == sid)
                    await alice.me.unpublish_track(sid)
                    await bob.event("track_unpublished", lambda publication, _, sid=sid: publication.sid == sid)
            await bob.event("participant_disconnected", lambda participant: participant.identity == name)

        async def visits(rounds: int) -> Holdings:
            for _ in range(rounds):
                await asyncio.gather(*(visit(f"alice-{n}") for n in range(people)))
            await server.sends_on(0)
            return await server.holdings()

        before = await visits(warm_up)
        after = await visits(max(1, CYCLES // 4 // people // each))
        record_property("megabytes before and after", (before.memory / 1e6, after.memory / 1e6))
        assert_nothing_more(before, after)
    await assert_nobody_left(server)


async def assert_nobody_left(server: WatchedServer) -> None:
    """Everything of those who were there goes; the last words of a connection take a moment."""
    async with asyncio.timeout(TIMEOUT):
        while (gone := await server.holdings()).objects.keys() & OF_SOMEBODY:
            pass
    assert gone.engine["transports"] == 0
