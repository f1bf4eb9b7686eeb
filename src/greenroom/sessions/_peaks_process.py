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
_LONGEST: Final = 24 * 60 * 60


def peaks(path: str) -> bytes:
    """Return the peaks of an audio file: two bytes of header (channels, format 1), then a byte a channel and 20 ms."""
    import av  # noqa: PLC0415 - the extra 'recordings'
    import numpy as np  # noqa: PLC0415

    with av.open(path, "r", format="ogg") as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        count = stream.codec_context.channels
        size = stream.codec_context.sample_rate // RATE
        loudest: list[Any] = []
        rest = np.zeros((count, 0), dtype=np.float32)
        block: list[Any] = []
        held = 0
        for frame in container.decode(stream):
            block.append(_samples(frame, count, np))
            held += block[-1].shape[1]
            if held < size * RATE:
                continue
            whole = np.concatenate([rest, *block], axis=1)
            edge = whole.shape[1] // size * size
            loudest.append(_loudest(whole[:, :edge], size, np))
            rest, block, held = whole[:, edge:], [], 0
            if len(loudest) > _LONGEST:
                raise ValueError("it is longer than a day")
        whole = np.concatenate([rest, *block], axis=1)
        if whole.shape[1]:
            loudest.append(_loudest(np.pad(whole, ((0, 0), (0, -whole.shape[1] % size))), size, np))
    values = np.concatenate(loudest, axis=1) if loudest else np.zeros((count, 0), dtype=np.uint8)
    return bytes((count, 1)) + bytes(values.T.tobytes())


def _samples(frame: Any, count: int, np: Any) -> Any:
    found = frame.to_ndarray()
    if found.dtype != np.float32:
        found = found.astype(np.float32) / 32768.0
    return found if found.shape[0] == count else found.reshape(-1, count).T


def _loudest(samples: Any, size: int, np: Any) -> Any:
    shaped = samples.reshape(samples.shape[0], -1, size)
    top = np.maximum(shaped.max(axis=2), -shaped.min(axis=2))
    return np.clip(np.rint(top * 255.0), 0, 255).astype(np.uint8)


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
