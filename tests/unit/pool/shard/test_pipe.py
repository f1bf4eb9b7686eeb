"""Messages over a socket, from any thread, in any pieces."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Any

import pytest

from greenroom.pool import _wire as wire
from greenroom.pool._wire import Frames
from greenroom.pool.shard._pipe import BlockingPipe, LoopPipe

pytestmark = pytest.mark.unit


def test_messages_are_whole_however_they_arrive() -> None:
    frames = Frames()
    data = b"".join(len(body).to_bytes(4, "big") + body for body in (b"one", b"", b"three"))
    found = [body for byte in data for body in frames.feed(bytes([byte]))]
    assert found == [b"one", b"", b"three"]
    assert frames.feed(data + data[:3]) == found
    assert frames.feed(data[3:7]) == [b"one"]


def test_a_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        Frames().feed((wire.MAX_MESSAGE + 1).to_bytes(4, "big"))


def test_descriptors_come_with_the_message_that_was_sent_with_them() -> None:
    ours, theirs = socket.socketpair()
    pipe = BlockingPipe(theirs, wire.to_nursery)
    read, write = os.pipe()
    with ours:
        fork = wire.encode(wire.Fork(role=wire.Role.SHARD, number=1))
        socket.send_fds(ours, [fork[:3]], [read, write])
        ours.sendall(fork[3:] + wire.encode(wire.Quit()))
        assert pipe.receive() == wire.Fork(role=wire.Role.SHARD, number=1)
        assert pipe.waiting
        received = pipe.descriptors(2)
        assert pipe.descriptors(2) == []
        os.write(write, b"x")
        assert os.read(received[0], 1) == b"x"
        assert pipe.receive() == wire.Quit()
        pipe.send(wire.Loading(source="a"))
        assert ours.recv(100) == wire.encode(wire.Loading(source="a"))
    assert pipe.receive() is None
    pipe.send(wire.Loading(source="nobody reads this"))
    pipe.close()
    for descriptor in (read, write, *received):
        os.close(descriptor)


async def test_what_the_socket_does_not_take_at_once_follows_in_order() -> None:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    heard: list[Any] = []
    over = asyncio.Event()
    pipe = LoopPipe(theirs, wire.to_shard, loop, heard.append, over.set)
    # From a thread, as the watch tells of a loop that is stuck.
    count, size = 200, 64 * 1024
    sending = threading.Thread(
        target=lambda: [pipe.send(wire.Inferred(number=number, data=b"x" * size)) for number in range(count)]
    )
    sending.start()
    sending.join()
    with ours:
        ours.setblocking(False)
        frames, numbers = Frames(), []
        flushed = asyncio.create_task(pipe.flush())
        while len(numbers) < count:
            data = await loop.sock_recv(ours, 1 << 20)
            numbers += [wire.from_shard.decode(body).number for body in frames.feed(data)]  # type: ignore[union-attr]
        assert numbers == list(range(count))
        await flushed
        await loop.sock_sendall(ours, wire.encode(wire.Retire()) * 2)
    await over.wait()
    assert heard == [wire.Retire(), wire.Retire()]
    pipe.close()
    pipe.close()


async def test_nobody_waits_for_a_supervisor_that_is_gone() -> None:
    ours, theirs = socket.socketpair()
    over = asyncio.Event()
    pipe = LoopPipe(theirs, wire.to_shard, asyncio.get_running_loop(), lambda _: None, over.set)
    ours.close()
    pipe.send(wire.Ready())
    await over.wait()
    pipe.send(wire.Inferred(number=1, data=b"x" * (1 << 22)))
    await pipe.flush()
    pipe.close()
