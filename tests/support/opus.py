"""Audio as it comes out of a call: encoded and decoded with the real Opus."""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from livekit import rtc

RATE = 48_000
FRAME = RATE // 50


def through_opus(audio: bytes, rate: int, *, bits_per_second: int = 24_000) -> bytes:
    """Return 16-bit mono ``audio`` at ``RATE``, after a voice encoder and its decoder."""
    encoder = cast("Any", av.CodecContext.create("libopus", "w"))
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "mono", "s16", bits_per_second
    encoder.options = {"application": "voip", "frame_duration": "20"}
    encoder.open()
    decoder = cast("Any", av.CodecContext.create("libopus", "r"))
    decoder.sample_rate, decoder.layout = RATE, "mono"
    samples = _at_opus_rate(audio, rate)
    decoded = []
    for start in range(0, len(samples) - FRAME + 1, FRAME):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, start
        decoded += [made.to_ndarray()[0] for packet in encoder.encode(frame) for made in decoder.decode(packet)]
    return np.concatenate(decoded).astype(np.int16).tobytes()


def _at_opus_rate(audio: bytes, rate: int) -> np.ndarray:
    resampler = rtc.AudioResampler(rate, RATE, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH)
    frames = resampler.push(rtc.AudioFrame(audio, rate, 1, len(audio) // 2)) + resampler.flush()
    return np.frombuffer(b"".join(bytes(frame.data) for frame in frames), dtype=np.int16)
