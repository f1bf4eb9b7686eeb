"""A picture that the Python SDK sends, and what arrives of one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from livekit import rtc

# Seconds after which a picture that did not come is called missing.
PATIENCE = 30.0


@contextlib.asynccontextmanager
async def camera(width: int, height: int, shade: int) -> AsyncIterator[rtc.LocalVideoTrack]:
    """Send ten pictures a second of one grey; ``shade`` is its luma."""
    source = rtc.VideoSource(width, height)
    chroma = bytes([128]) * (width * height // 2)
    frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, bytes([shade]) * (width * height) + chroma)

    async def send() -> None:
        while True:
            source.capture_frame(frame)
            await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    try:
        yield rtc.LocalVideoTrack.create_video_track("cam", source)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await source.aclose()


async def seen(track: rtc.Track, *, shade: int) -> None:
    """Return when five decoded pictures of that grey have come; codecs may be off by a little.

    Their size is the encoder's choice: it begins small and grows with the rate it trusts the network with.
    """
    stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420)
    found = 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                frame = event.frame
                middle = frame.data[frame.width * (frame.height // 2) + frame.width // 2]
                found += abs(middle - shade) < 12
                if found == 5:
                    return
    finally:
        await stream.aclose()
