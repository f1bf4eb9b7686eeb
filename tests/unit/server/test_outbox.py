"""The bounded way out of one signalling WebSocket."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from livekit.protocol import rtc

from greenroom.server.room import Outgoing
from greenroom.server.signal import _outbox
from greenroom.server.signal._outbox import Outbox

pytestmark = pytest.mark.unit


def message(number: int = 0, size: int = 0) -> Outgoing:
    return Outgoing(rtc.SignalResponse(refresh_token=f"{number:04}" + "x" * size))


class Socket:
    """An accepted WebSocket whose client may stop reading."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.broken = False

    async def send(self, event: dict[str, Any]) -> None:
        await self.reads.wait()
        if self.broken:
            raise OSError
        self.sent.append(event)

    @property
    def tokens(self) -> list[str]:
        return [rtc.SignalResponse.FromString(e["bytes"]).refresh_token[:4] for e in self.sent if "bytes" in e]


class Overflow:
    def __init__(self) -> None:
        self.called = 0

    def __call__(self) -> None:
        self.called += 1


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def overflow() -> Overflow:
    return Overflow()


@pytest.fixture
def outbox(socket, overflow) -> Outbox:
    return Outbox(socket.send, overflow)


async def test_messages_are_written_in_order_and_the_close_comes_last(outbox, socket):
    outbox.send(message(1))
    outbox.start()
    outbox.send(message(2))
    outbox.close()
    outbox.send(message(3))
    await outbox.wait_closed()
    assert socket.tokens == ["0001", "0002"]
    assert socket.sent[-1] == {"type": "websocket.close", "code": 1000}


async def test_a_message_is_encoded_once_for_many(socket, overflow):
    shared = message(1)
    boxes = [Outbox(socket.send, overflow) for _ in range(3)]
    for box in boxes:
        box.start()
        box.send(shared)
        box.close()
    for box in boxes:
        await box.wait_closed()
    first, *others = [event["bytes"] for event in socket.sent if "bytes" in event]
    assert all(other is first for other in others)


async def test_a_client_that_writes_text_is_answered_in_text(outbox, socket):
    outbox.text = True
    outbox.start()
    outbox.send(Outgoing(rtc.SignalResponse(pong=7)))
    outbox.close()
    await outbox.wait_closed()
    assert socket.sent[0] == {"type": "websocket.send", "text": '{"pong": "7"}'}


@pytest.mark.parametrize(("count", "size"), [(_outbox.MAX_MESSAGES + 1, 0), (20, 1024 * 1024)])
async def test_a_client_that_does_not_read_is_given_up_and_nobody_waits_for_it(outbox, socket, overflow, count, size):
    outbox.start()
    socket.reads.clear()
    for number in range(count + 1):
        outbox.send(message(number, size))
    assert overflow.called == 0
    await asyncio.sleep(0)
    assert overflow.called == 1
    outbox.send(message())
    await asyncio.sleep(0)
    assert overflow.called == 1


async def test_what_was_read_makes_room_again(outbox, socket, overflow):
    outbox.start()
    for _ in range(3):
        for number in range(_outbox.MAX_MESSAGES - 1):
            outbox.send(message(number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(socket.sent) == 3 * (_outbox.MAX_MESSAGES - 1)
    assert overflow.called == 0


async def test_closing_a_stuck_client_takes_a_bounded_time(outbox, socket, monkeypatch):
    monkeypatch.setattr(_outbox, "CLOSE_TIMEOUT", 0.01)
    outbox.start()
    socket.reads.clear()
    outbox.send(message())
    outbox.close()
    await outbox.wait_closed()


async def test_a_vanished_client_ends_it_quietly(outbox, socket):
    socket.broken = True
    outbox.start()
    outbox.send(message())
    await outbox.wait_closed()


async def test_closing_before_the_upgrade_does_not_wait(outbox):
    outbox.close()
    await outbox.wait_closed()


class TestPace:
    async def test_a_message_for_many_is_written_to_some_in_each_turn_of_the_loop(self, overflow, monkeypatch):
        monkeypatch.setattr(_outbox, "TURN", 3)
        pace = _outbox.Pace()
        sockets = [Socket() for _ in range(10)]
        outboxes = [Outbox(socket.send, overflow, pace) for socket in sockets]
        for outbox in outboxes:
            outbox.start()
        await asyncio.sleep(0)
        pace.wake(asyncio.Event())
        for number in range(2):
            for outbox in outboxes:
                outbox.send(message(number))
        written = [0]
        while written[-1] < len(sockets):
            await asyncio.sleep(0)
            written.append(sum(bool(socket.sent) for socket in sockets))
        assert max(after - before for before, after in itertools.pairwise(written)) <= 3
        assert [socket.tokens for socket in sockets] == [["0000", "0001"]] * 10

    async def test_whoever_is_written_to_alone_does_not_wait(self, socket, overflow):
        outbox = Outbox(socket.send, overflow)
        outbox.start()
        for number in range(3):
            await asyncio.sleep(0)
            outbox.send(message(number))
            await asyncio.sleep(0)
            assert socket.tokens[-1] == f"{number:04}"
