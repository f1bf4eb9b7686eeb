"""The VAD without a thread for each call: what it hears is the same, and nothing waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from livekit import rtc
from livekit.agents import inference, vad

from greenroom.pool.shard import _upstream_vad

pytestmark = pytest.mark.unit

RATE = 16000
#: A window of the model.
SIZE = 512


@pytest.fixture
def at_once() -> Iterator[None]:
    undo = _upstream_vad.install()
    yield
    undo()


async def windows(stream: vad.VADStream) -> list[float]:
    """Push half a second of noise and return what the model says of each window."""
    for number in range(16):
        samples = bytes((number * 37 + place * 101) % 251 for place in range(2 * SIZE))
        stream.push_frame(rtc.AudioFrame(samples, RATE, 1, SIZE))
    stream.end_input()
    return [event.probability async for event in stream if event.type == vad.VADEventType.INFERENCE_DONE]


async def test_it_hears_what_it_hears_with_a_thread(at_once: None) -> None:
    before = threading.active_count()
    heard = await windows(inference.VAD().stream())
    assert threading.active_count() == before
    with ThreadPoolExecutor(max_workers=1) as executor:
        assert heard == await windows(inference.VAD(executor=executor).stream())
    assert len(heard) == 16


async def test_what_fails_fails_where_it_is_awaited() -> None:
    def broken() -> None:
        raise ValueError("no such window")

    with pytest.raises(ValueError, match="no such window"):
        await asyncio.get_running_loop().run_in_executor(_upstream_vad.AtOnce(), broken)


async def test_a_thread_that_a_program_gives_is_kept(at_once: None) -> None:
    asked = []

    class Watched(_upstream_vad.AtOnce):
        def submit(self, fn, /, *args, **kwargs):
            asked.append(fn)
            return super().submit(fn, *args, **kwargs)

    await windows(inference.VAD(executor=Watched()).stream())
    assert len(asked) == 16
