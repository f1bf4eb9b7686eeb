"""Uploads on their way into the log: decoded beside the event loop, stored by hash, named by events."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from greenroom.eventlog import BlobRef, BlobTooLargeError, EventLog, EventLogError, EventTooLargeError, NewEvent
from greenroom.grants import Grant
from greenroom.ingest._errors import UploadBusyError, UploadForbiddenError, UploadTooLargeError
from greenroom.ingest._facts import Told, logs_of, metrics_of, spans_of
from greenroom.ingest._ids import session_stream
from greenroom.ingest._limits import Allowance, IngestLimits
from greenroom.ingest._multipart import Part
from greenroom.ingest._otlp import Decoded, JobBatch, decode_logs, decode_metrics, decode_spans, inflate
from greenroom.ingest._recording import read_recording, told_by
from greenroom.ingest._redact import redact_logs, redact_spans
from greenroom.sessions import SessionReport, seconds

logger = logging.getLogger(__name__)

_NO_JOB: Final = "it names no LiveKit job (attribute job_id)"


class Signal(NamedTuple):
    """One of OTLP's three: how it is read, redacted, told and answered."""

    name: str
    decode: Callable[[bytes], Decoded]
    redact: Callable[[Any], bytes] | None
    told: Callable[[JobBatch, BlobRef], list[Told]]
    response: Callable[[int], Message]


def _traces_response(rejected: int) -> Message:
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = _NO_JOB
    return response


def _logs_response(rejected: int) -> Message:
    response = ExportLogsServiceResponse()
    if rejected:
        response.partial_success.rejected_log_records = rejected
        response.partial_success.error_message = _NO_JOB
    return response


def _metrics_response(rejected: int) -> Message:
    response = ExportMetricsServiceResponse()
    if rejected:
        response.partial_success.rejected_data_points = rejected
        response.partial_success.error_message = _NO_JOB
    return response


SPANS: Final = Signal("spans", decode_spans, redact_spans, spans_of, _traces_response)
LOGS: Final = Signal("logs", decode_logs, redact_logs, logs_of, _logs_response)
METRICS: Final = Signal("metrics", decode_metrics, None, metrics_of, _metrics_response)


class _Read(NamedTuple):
    """A batch ready to be stored."""

    batch: JobBatch
    content: bytes
    digest: str


class Uploads:
    """Takes what agents upload. Belongs to one event loop."""

    def __init__(self, log: EventLog, limits: IngestLimits) -> None:
        self._log = log
        self._limits = limits
        self._conversations = Allowance(limits.memory)
        # One at a time: decoding is the interpreter's work, and a batch under way takes several times its size.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="greenroom-ingest")

    async def close(self) -> None:
        """Let go of the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    async def batch(self, signal: Signal, grant: Grant, body: bytes, encoding: str) -> Message:
        """Store a batch; return OTLP's answer once everything in it is durable.

        :raises UploadError: when it is refused; then nothing of it, or all of some of its jobs, is stored, and sending
            it again stores the rest once.
        """
        work = asyncio.get_running_loop().run_in_executor
        reads, rejected = await work(self._thread, _read, signal, grant, body, encoding, self._limits.inflated)
        for read in reads:
            blob = await self._store(read.content)
            told = await work(self._thread, signal.told, read.batch, blob)
            await self._append(read.batch.job_id, told, f"{signal.name}:{read.digest}")
        return signal.response(rejected)

    async def recording(self, grant: Grant, parts: AsyncIterator[Part]) -> None:
        """Store what a session's end brings. Raises :class:`UploadError`."""
        with self._conversations.open() as hold:
            recording = await read_recording(parts, self._store_audio, hold=hold, max_history=self._limits.history)
            told = await asyncio.get_running_loop().run_in_executor(self._thread, told_by, recording)
            for each in told:
                if isinstance(each.data, SessionReport):
                    _check_policy(grant, each.data.agent_name, each.data.room_name)
            await self._append(recording.header.job_id, told, f"recording:{recording.digest}")

    async def _store_audio(self, data: AsyncIterator[bytes]) -> BlobRef:
        try:
            return await self._log.blobs.put(data, limit=self._limits.recording)
        except BlobTooLargeError:
            message = f"The recording exceeds {self._limits.recording} bytes"
            raise UploadTooLargeError(message, fix="Record less, or raise the limit") from None
        except EventLogError as error:
            raise _busy(error) from error

    async def _store(self, content: bytes) -> BlobRef:
        try:
            return await self._log.blobs.put_bytes(content)
        except EventLogError as error:
            raise _busy(error) from error

    async def _append(self, job_id: str, told: list[Told], key: str) -> None:
        # Keys are the hash of the content and a number: nobody's name.
        events = [NewEvent(each.data, at=seconds(each.at), key=f"{key}:{job_id}:{each.name}") for each in told]
        try:
            await self._log.append(session_stream(job_id), events)
        except EventTooLargeError as error:
            raise UploadTooLargeError("Something in the upload is too large", fix="Send less of it") from error
        except EventLogError as error:
            raise _busy(error) from error


def _read(signal: Signal, grant: Grant, body: bytes, encoding: str, limit: int) -> tuple[list[_Read], int]:
    content = inflate(body, encoding, limit)
    digest = sha256(content).hexdigest()
    decoded = signal.decode(content)
    alone = len(decoded.batches) == 1 and not decoded.rejected
    reads = []
    for batch in decoded.batches:
        _check_policy(grant, batch.agent_name)
        if batch.redacted and signal.redact is not None:
            stored = signal.redact(batch.request)
        else:
            stored = content if alone else batch.request.SerializeToString()
        reads.append(_Read(batch, gzip.compress(stored, compresslevel=1, mtime=0), digest))
    return reads, decoded.rejected


def _check_policy(grant: Grant, agent_name: str, room_name: str = "") -> None:
    fix = "Widen what the key may touch in the configuration"
    if not grant.allows_agent(agent_name):
        raise UploadForbiddenError(f"API key '{grant.key.key}' may not upload for this agent", fix=fix)
    if room_name and not grant.allows_room(room_name):
        raise UploadForbiddenError(f"API key '{grant.key.key}' may not upload for this room", fix=fix)


def _busy(error: EventLogError) -> UploadBusyError:
    logger.error("an upload could not be stored", extra={"code": error.code})
    return UploadBusyError(
        "The upload could not be stored", fix="Its sender tries again; free disk space if it fails on"
    )
