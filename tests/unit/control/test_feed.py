"""The feed over a real log: what a client is sent, where it goes on, and what happens to one that is too slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from greenroom.control import Feed
from greenroom.eventlog import EventLog, NewEvent
from greenroom.link import AgentStateChanged, UserTranscribed

pytestmark = pytest.mark.unit

ONE, TWO = "session:AJ_one", "session:AJ_two"


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


async def say(log: EventLog, *texts: str, stream: str = ONE) -> int:
    appended = await log.append(stream, [NewEvent(UserTranscribed(text=text)) for text in texts])
    return appended.last_position


class Client:
    """Reads a feed as a browser reads server-sent events."""

    def __init__(self, feed: Feed, after: int | None = None, wanted: Callable[..., bool] = lambda _: True) -> None:
        place, lost = feed.place(after)
        self._parts = feed.stream(place, lost, wanted)
        self._read: list[dict[str, str]] = []

    async def next(self) -> dict[str, str]:
        while not self._read:
            async with asyncio.timeout(20):
                part = await anext(self._parts)
            blocks = part.decode().removesuffix("\n\n").split("\n\n")
            self._read = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        return self._read.pop(0)

    async def until(self, kind: str) -> dict[str, str]:
        while (found := await self.next())["event"] != kind:
            pass
        return found


async def start(log: EventLog, **options: float) -> Feed:
    feed = Feed(log, **options)
    await feed.start()
    return feed


async def test_a_new_client_is_told_where_the_log_ends_and_what_happens_from_then_on(log: EventLog) -> None:
    await say(log, "before")
    feed = await start(log)
    client = Client(feed)
    hello = await client.next()
    assert (hello["event"], json.loads(hello["data"])["head"], "id" in hello) == ("hello", 1, False)
    position = await say(log, "a\nline: and more")
    heard = await client.next()
    assert (heard["event"], heard["id"]) == ("user.transcribed", str(position))
    assert json.loads(heard["data"])["data"] == {"text": "a\nline: and more"}
    await feed.aclose()


async def test_a_client_that_comes_back_misses_nothing_across_a_restart(log: EventLog) -> None:
    for number in range(5):
        await say(log, str(number))
    feed = await start(log)
    client = Client(feed, after=2)
    assert (await client.next())["event"] == "hello"
    assert [(await client.next())["id"] for _ in range(3)] == ["3", "4", "5"]
    await say(log, "later")
    assert (await client.next())["id"] == "6"
    await feed.aclose()


@pytest.mark.parametrize("after", [1, 99])
async def test_a_client_whose_place_is_not_kept_is_told_to_start_over(log: EventLog, after: int) -> None:
    await say(log, *map(str, range(10)))
    feed = await start(log, kept=4)
    client = Client(feed, after=after)
    reset = await client.next()
    assert (reset["event"], reset["id"], json.loads(reset["data"])["head"]) == ("reset", "10", 10)
    await say(log, "later")
    assert (await client.next())["id"] == "11"
    await feed.aclose()


async def test_a_client_slower_than_what_happens_is_told_to_start_over_and_holds_nobody_up(log: EventLog) -> None:
    feed = await start(log, kept=10)
    slow, quick = Client(feed), Client(feed)
    assert [(await each.next())["event"] for each in (slow, quick)] == ["hello", "hello"]
    for number in range(30):
        await say(log, str(number))
        assert json.loads((await quick.next())["data"])["data"]["text"] == str(number)
    assert (await slow.next())["event"] == "reset"
    await say(log, "later")
    assert (await slow.next())["id"] == "31"
    await feed.aclose()


async def test_a_client_chooses_what_it_is_told(log: EventLog) -> None:
    feed = await start(log)
    client = Client(feed, wanted=lambda frame: frame.stream == TWO and frame.type == "agent.state")
    await client.next()
    await say(log, "no")
    await log.append(ONE, [NewEvent(AgentStateChanged(state="idle"))])
    await log.append(TWO, [NewEvent(AgentStateChanged(state="thinking"))])
    assert json.loads((await client.next())["data"])["data"] == {"state": "thinking"}
    await feed.aclose()


async def test_what_is_erased_is_sent_to_nobody_any_more(log: EventLog) -> None:
    await say(log, "my number is secret")
    await say(log, "stays", stream=TWO)
    feed = await start(log)
    watcher = Client(feed)
    await log.erase(ONE, "asked for")
    await watcher.until("stream.erased")
    client = Client(feed, after=0)
    told = [await client.next() for _ in range(3)]
    assert [each["event"] for each in told] == ["hello", "user.transcribed", "stream.erased"]
    assert "secret" not in json.dumps(told)
    await feed.aclose()


async def test_silence_is_filled_with_a_heartbeat(log: EventLog) -> None:
    feed = await start(log, heartbeat=0.01)
    client = Client(feed)
    await client.next()
    assert set(json.loads((await client.next())["data"])) == {"head", "now"}
    await feed.aclose()


async def test_the_stream_ends_with_the_feed(log: EventLog) -> None:
    feed = await start(log)
    client = Client(feed)
    await client.next()
    waiting = asyncio.create_task(client.next())
    await asyncio.sleep(0)
    await feed.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert feed.clients == 0
