"""Hundreds of clients at once: str0m peers that join as LiveKit's clients do, and count what reaches them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from livekit import api

from support.load import load, lone_server
from support.program import PATIENCE, Program

pytestmark = [
    pytest.mark.e2e,
    # The development secret is as short as LiveKit's own.
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


def descriptors(program: Program) -> int:
    """Return how many files and sockets the program has open."""
    return len([*Path(f"/proc/{program.process.pid}/fd").iterdir()])


async def test_three_hundred_subscribers_of_one_room_all_hear_the_speaker(tmp_path: Path) -> None:
    async with lone_server(tmp_path) as (_, url):
        crowd = ("--subscribers", "300", "--joining", "16", "--rate", "10", "--warm-up", "0", "--seconds", "1")
        told = await load(url, *crowd, "--patience", str(PATIENCE))
    assert told["ready"]["failures"] == {}
    assert (told["ready"]["ready"], told["ready"]["joins"]) == (301, 301)
    assert told["measured"]["streams"] == [300, 300]
    assert told["measured"]["failures"] == {}


async def test_publishers_hear_each_other_and_only_those_of_their_room(tmp_path: Path) -> None:
    async with lone_server(tmp_path) as (_, url):
        pairs = ("--rooms", "20", "--publishers", "2", "--subscribers", "0", "--two-way", "--seconds", "1")
        told = await load(url, *pairs, "--patience", str(PATIENCE))
    # A stream of another room would be one too many.
    assert (told["ready"]["ready"], told["measured"]["streams"]) == (40, [40, 40])


async def test_a_subscriber_gets_the_tracks_it_asks_for(tmp_path: Path) -> None:
    async with lone_server(tmp_path) as (_, url):
        some = ("--publishers", "4", "--subscribers", "10", "--subscribe", "2", "--seconds", "1")
        told = await load(url, *some, "--patience", str(PATIENCE))
        none = await load(url, "--room", "quiet", "--subscribers", "5", "--subscribe", "none", "--seconds", "1")
    assert told["measured"]["streams"] == [20, 20]
    assert (none["ready"]["ready"], none["measured"]["received"], none["measured"]["sent"] > 0) == (6, 0, True)


async def test_two_hundred_comings_and_goings_leave_nothing_behind(tmp_path: Path) -> None:
    async with lone_server(tmp_path) as (program, url), api.LiveKitAPI(url, "devkey", "secret") as client:
        await load(url, "--room", "first", "--subscribers", "2", "--seconds", "0")
        await client.room.list_rooms(api.ListRoomsRequest())
        before = descriptors(program)
        churn = ("--subscribers", "40", "--cycles", "4", "--rate", "10", "--warm-up", "0", "--seconds", "0")
        told = await load(url, *churn, "--patience", str(PATIENCE))
        assert (told["ready"]["joins"], told["ready"]["failures"]) == (201, {})
        async with asyncio.timeout(PATIENCE):
            here = api.ListParticipantsRequest(room="load-0")
            while (await client.room.list_participants(here)).participants or descriptors(program) > before:
                pass
