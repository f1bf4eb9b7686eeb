"""``greenroom server --webhook``: another program is told of every room, to the very end."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.link import LiveKit
from support.program import greenroom
from support.serving import KEY
from support.webhook_receiver import receiving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


async def test_it_tells_of_rooms_until_it_is_stopped(tmp_path: Path) -> None:
    async with receiving() as receiver:
        arguments = ("server", "--port", "0", "--rtc-port", "0", "--webhook", receiver.url)
        async with greenroom(*arguments, cwd=tmp_path) as server:
            livekit = LiveKit(await server.ready(), KEY)
            await livekit.create_dispatch("lobby", "waiter")
            await receiver.count(1)
            await livekit.aclose()
            assert await server.interrupt() == 0
    assert receiver.names == ["room_started", "room_finished"]


async def test_what_is_no_url_is_a_mistake_of_one_line(tmp_path: Path) -> None:
    async with greenroom("server", "--webhook", "example.com", cwd=tmp_path) as server:
        assert await server.ended() == 2
    (line,) = server.lines
    assert "--webhook 'example.com' is not a URL" in line
