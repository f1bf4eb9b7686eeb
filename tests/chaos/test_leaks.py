"""What comes and goes thousands of times leaves nothing behind in the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from support.crowd import MIC, listeners, players
from support.sdk import callers
from support.signal_client import token
from support.sound import tone
from support.watched_server import Holdings, WatchedServer, watched_server

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

#: Cycles in all. ``make chaos`` asks for 5,000.
CYCLES = int(os.environ.get("GREENROOM_CYCLES", "160"))


@pytest.fixture
async def server() -> AsyncIterator[WatchedServer]:
    async with watched_server() as server:
        yield server


async def test_cycles_of_unsubscribing_and_subscribing_leave_memory_flat(server):
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
        print(f"{before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} MB after")
    after.assert_no_more_than(before)
    assert after.engine["rtp_out"] > before.engine["rtp_out"]
    await server.is_left()


async def test_publishers_who_come_publish_unpublish_and_go_leave_memory_flat(server):
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
        print(f"{before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} MB after")
        after.assert_no_more_than(before)
    await server.is_left()
