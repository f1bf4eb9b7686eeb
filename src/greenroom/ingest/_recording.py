"""The upload at a session's end: a header, the conversation, and the audio, which goes straight to the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError
from livekit.protocol import metrics

from greenroom.eventlog import BlobRef
from greenroom.ingest._errors import UploadInvalidError, UploadTooLargeError
from greenroom.ingest._facts import Told, history_of, tags_of, usage_of
from greenroom.ingest._ids import is_job_id
from greenroom.ingest._multipart import FormEnded, Part, PartBegan, PartData, PartEnded
from greenroom.ingest._values import bounded, word
from greenroom.sessions import RecordingStored, SessionReport, item_of, number, seconds, without_content

MAX_HEADER: Final = 1024 * 1024
_REASON: Final = "CR_"


class Recording(msgspec.Struct, kw_only=True):
    """What was read of one upload. ``audio`` has been stored; ``digest`` is the same for the same content."""

    header: metrics.MetricsRecordingHeader
    history: bytes = b""
    audio: BlobRef | None = None
    digest: str = ""


async def read_recording(
    parts: AsyncIterator[Part],
    store: Callable[[AsyncIterator[bytes]], Awaitable[BlobRef]],
    *,
    hold: Callable[[int], None],
    max_history: int,
) -> Recording:
    """Read the upload of a session's end.

    The header comes first, as LiveKit's SDKs send it, since it may say that the audio must not be kept.

    :param store: keeps the audio; is given its bytes as they arrive.
    :param hold: is told of memory before it is taken.
    :raises UploadInvalidError: for a part that is missing, misplaced or unreadable.
    :raises UploadTooLargeError: for a header or a conversation past its limit.
    """
    recording: Recording | None = None
    digest = sha256()
    ended = False
    async for part in parts:
        match part:
            case PartBegan("header") if recording is None:
                raw = await _whole(parts, "header", MAX_HEADER, hold)
                digest.update(raw)
                recording = Recording(header=_header(raw))
            case PartBegan("chat_history") if recording is not None:
                recording.history = await _whole(parts, "chat_history", max_history, hold)
                digest.update(recording.history)
            case PartBegan("audio") if recording is not None and recording.audio is None:
                if recording.header.redaction_enabled:
                    await _skip(parts)
                else:
                    recording.audio = await store(_data(parts))
                    digest.update(recording.audio.hash.encode())
            case PartBegan("chat_history" | "audio"):
                raise UploadInvalidError("The upload's header does not come first", fix="Send the header first")
            case PartBegan():
                await _skip(parts)
            case FormEnded():
                ended = True
    if recording is None or not ended:
        raise UploadInvalidError("The upload has no header", fix="Send the part 'header' first")
    recording.digest = digest.hexdigest()
    return recording


def told_by(recording: Recording) -> list[Told]:
    """Return what a recording tells. Raises :class:`UploadInvalidError` for a conversation that is not JSON."""
    header = recording.header
    report = _report(header)
    at = report.reported_at
    told = [Told(report, at, "report"), *history_of(_items(recording))]
    if recording.audio is not None:
        started = header.start_time.ToMilliseconds() / 1000 if header.HasField("start_time") else 0.0
        stored = RecordingStored(
            blob=recording.audio,
            started_at=started or None,
            duration=header.duration / 1000 if header.duration else None,
        )
        told.append(Told(stored, at, "audio"))
    return told


def _header(raw: bytes) -> metrics.MetricsRecordingHeader:
    try:
        header = metrics.MetricsRecordingHeader.FromString(raw)
    except DecodeError:
        raise UploadInvalidError("The upload's header is not a MetricsRecordingHeader", fix="Send it again") from None
    if not is_job_id(header.job_id):
        raise UploadInvalidError("The upload's header names no job", fix="Set job_id to the id of a LiveKit job")
    return header


def _items(recording: Recording) -> list[Any]:
    if not recording.history:
        return []
    raw = _json(recording.history, "chat_history")
    listed = raw.get("items") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise UploadInvalidError("The upload's chat_history has no items", fix="Send it as LiveKit's SDKs do")
    items = [item for one in listed if isinstance(one, Mapping) and (item := item_of(one)) is not None]
    return [without_content(item) for item in items] if recording.header.redaction_enabled else items


def _report(header: metrics.MetricsRecordingHeader) -> SessionReport:
    summary = _json(header.session_summary.encode(), "session_summary") if header.session_summary else {}
    found: dict[str, Any] = summary if isinstance(summary, dict) else {}
    turns = found.get("user_turns")
    duration = number(found.get("duration_ms"))
    return SessionReport(
        room_id=header.room_id[:256],
        room_name="" if header.redaction_enabled else word(found, "room"),
        agent_name=word(found, "agent_name"),
        sdk_version=word(found, "sdk_version"),
        reported_at=seconds(found.get("timestamp")),
        duration=None if duration is None else duration / 1000,
        options=bounded(found.get("options")),
        usage=usage_of(found.get("usage")),
        tags=tags_of(found.get("tags")),
        user_turns=turns if _is_count(turns) else None,
        errors=_counts(found.get("errors")),
        close_reason=word(found, "close_reason").removeprefix(_REASON).lower(),
        simulated=header.simulated,
        redacted=header.redaction_enabled,
    )


def _counts(raw: Any) -> dict[str, int]:
    if not isinstance(raw, Mapping):
        return {}
    return {str(key)[:64]: count for key, count in list(raw.items())[:32] if _is_count(count)}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _json(raw: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UploadInvalidError(f"The upload's {name} is not JSON", fix="Send it again") from None


async def _data(parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    async for part in parts:
        match part:
            case PartData(data):
                yield data
            case PartEnded():
                return


async def _whole(parts: AsyncIterator[Part], name: str, limit: int, hold: Callable[[int], None]) -> bytes:
    found = bytearray()
    async for data in _data(parts):
        hold(len(data))
        found += data
        if len(found) > limit:
            raise UploadTooLargeError(f"The part '{name}' exceeds {limit} bytes", fix="Send less of it")
    return bytes(found)


async def _skip(parts: AsyncIterator[Part]) -> None:
    async for _ in _data(parts):
        pass
