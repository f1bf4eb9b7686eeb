"""One archive of a session: what was said, the audio, the trace, and the events of the log that prove it.

A tar stream in gzip, written as it is read, so that an hour of audio takes no memory. ``docs/sessions.md``.
"""

from __future__ import annotations

import contextlib
import tarfile
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from greenroom.eventlog import BlobMissingError, Blobs
from greenroom.sessions._projection import Sessions
from greenroom.sessions._spans import spans_of
from greenroom.sessions._step import SESSION
from greenroom.sessions._view import Session


async def archive(sessions: Sessions, session: str) -> AsyncIterator[bytes]:
    """Yield a ``.tar.gz`` of a session. Raises :class:`SessionNotFoundError` before anything is yielded."""
    found = await sessions.session(session)
    return _archive(sessions, found)


async def _archive(sessions: Sessions, found: Session) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    session = found.summary.id
    at = int(found.summary.ended_at or found.summary.started_at or 0)

    def member(name: str, content: bytes) -> bytes:
        return packer.compress(_header(f"{session}/{name}", len(content), at) + content + _padding(len(content)))

    yield member("session.json", _pretty(found))
    yield member("transcript.txt", transcript(found).encode())
    contents = [content async for content in contents_of(sessions.blobs, found, "spans")]
    yield member("trace.json", _pretty(await sessions.decode(lambda: spans_of(contents))))
    for signal in ("spans", "logs", "metrics"):
        number = 0
        async for content in contents_of(sessions.blobs, found, signal):
            yield member(f"otlp/{signal}-{number}.binpb.gz", content)
            number += 1
    for number, recording in enumerate(found.recordings):
        name = "recording.ogg" if number == 0 else f"recording-{number}.ogg"
        if not sessions.blobs.holds(recording.blob):
            continue
        yield packer.compress(_header(f"{session}/{name}", recording.size, at))
        async for part in sessions.blobs.open(recording.blob):
            yield packer.compress(part)
        yield packer.compress(_padding(recording.size))
    yield member("log.json", _pretty(await sessions.log.proof(f"{SESSION}{session}")))
    yield packer.compress(bytes(2 * tarfile.BLOCKSIZE))
    yield packer.flush()


def transcript(found: Session) -> str:
    """Return the conversation as lines to read."""
    lines = [f"Session {found.summary.id}", f"Agent   {found.summary.agent.name}", ""]
    for turn in found.turns:
        if turn.user is not None:
            lines.append(f"{_clock(turn.user.at)}  user   {turn.user.text or ''}")
        for tool in turn.tools:
            result = tool.result if tool.result is not None else "(no result)"
            lines.append(f"{_clock(tool.at)}  tool   {tool.name}({tool.arguments or ''}) -> {result}")
        for said in turn.agent:
            mark = " [interrupted]" if said.interrupted else ""
            lines.append(f"{_clock(said.at)}  agent  {said.text or ''}{mark}")
    return "\n".join(lines) + "\n"


async def contents_of(blobs: Blobs, found: Session, signal: str) -> AsyncIterator[bytes]:
    """Yield the stored batches of one signal; what has been deleted since is left out."""
    for ref in found.telemetry:
        if ref.signal == signal:
            with contextlib.suppress(BlobMissingError, FileNotFoundError):
                yield await blobs.read(ref.blob)


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _header(name: str, size: int, at: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, at, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _clock(at: float | None) -> str:
    return "--:--:--" if at is None else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
