"""The process that decodes recordings: a path a line in, peaks out.

Decoders of uploaded media stay out of the process that holds keys. This one has neither secrets nor a listening
socket, a bounded memory, and ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, Final

RATE: Final = 50
_MEMORY: Final = 1024 * 1024 * 1024
# Peaks that are made together; and how many times, for a day.
_BLOCK: Final = 200
_LONGEST: Final = 24 * 60 * 60 * RATE // _BLOCK


def peaks(path: str) -> bytes:
    """Return the peaks of an audio file: two bytes of header (channels, format 1), then a byte a channel and 20 ms."""
    import av  # noqa: PLC0415 - the extra 'recordings'
    import numpy as np  # noqa: PLC0415

    loudest: list[Any] = []
    with av.open(path, "r", format="ogg") as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        count = stream.codec_context.channels
        size = stream.codec_context.sample_rate // RATE
        # Joined before they become arrays: frames are many and small.
        waiting = av.AudioFifo()
        for frame in container.decode(stream):
            frame.pts = None
            waiting.write(frame)
            if waiting.samples >= size * _BLOCK:
                loudest.append(_loudest(waiting.read(size * _BLOCK), count, size, np))
            if len(loudest) > _LONGEST:
                raise ValueError("it is longer than a day")
        rest = waiting.read() if waiting.samples else None
        if rest is not None:
            loudest.append(_loudest(rest, count, size, np))
    values = np.concatenate(loudest, axis=1) if loudest else np.zeros((count, 0), dtype=np.uint8)
    return bytes((count, 1)) + bytes(values.T.tobytes())


def _loudest(frame: Any, count: int, size: int, np: Any) -> Any:
    samples = frame.to_ndarray()
    if samples.shape[0] != count:
        samples = samples.reshape(-1, count).T
    samples = np.pad(samples, ((0, 0), (0, -samples.shape[1] % size))).reshape(count, -1, size)
    full = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    top = np.maximum(samples.max(axis=2).astype(np.float32), -samples.min(axis=2).astype(np.float32))
    return np.clip(np.rint(top * (255.0 / full)), 0, 255).astype(np.uint8)


def main() -> None:
    """Answer until the other side goes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.nice(5)
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        try:
            word, body = b"ok", peaks(json.loads(line))
        except Exception as error:
            word, body = b"no", f"{type(error).__name__}: {error}"[:500].encode()
        # Nine bytes say which it is and how long it is.
        out.write(word + b" " + f"{len(body):06x}".encode() + body)
        out.flush()


if __name__ == "__main__":
    main()
