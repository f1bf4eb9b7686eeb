"""OTLP uploads, decoded with the official messages: bytes in, one batch for each job out.

One upload may carry several jobs, since a worker's threads share an exporter. The job stands on each span, record
or data point, and else on the resource; what has none is counted, not guessed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from greenroom.ingest._errors import UploadInvalidError, UploadTooLargeError
from greenroom.ingest._ids import is_job_id
from greenroom.sessions import attributes, plain

_Request = TypeVar("_Request", bound=Message)
_REDACTED: Final = "lk.redaction.enabled"
_MAX_COPIED: Final = 64 * 1024 * 1024


class Entry(NamedTuple):
    """A span, a log record or a data point.

    :param shared: the attributes of its resource, and of its scope where that is a log's.
    :param metric: the metric a data point belongs to.
    """

    item: Any
    scope: str
    shared: dict[str, Any]
    metric: Any = None

    def attributes(self) -> dict[str, Any]:
        """Return its own attributes; made anew, since a batch's would take many times its size."""
        return attributes(self.item.attributes)


class JobBatch(NamedTuple):
    """What one upload says of one job.

    :param request: an official export request with nothing else in it.
    """

    job_id: str
    room_id: str
    agent_name: str
    redacted: bool
    request: Any
    entries: list[Entry]


class Decoded(NamedTuple):
    """An upload: its batches, and how much of it names no job."""

    batches: list[JobBatch]
    rejected: int


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Return an upload's content.

    :param encoding: the ``Content-Encoding``; ``gzip``, ``deflate`` or nothing.
    :raises UploadTooLargeError: past ``limit`` bytes; what lies beyond is never decompressed.
    :raises UploadInvalidError: for another encoding, or content that is cut short or broken.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise UploadInvalidError(f"Content-Encoding '{encoding[:32]}' is not supported", fix="Use gzip")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error:
        raise UploadInvalidError("The upload is not valid gzip", fix="Send it again, whole") from None
    if len(content) > limit or stream.unconsumed_tail:
        raise UploadTooLargeError(f"The upload exceeds {limit} bytes once decompressed", fix="Send smaller batches")
    if not stream.eof or stream.unused_data:
        raise UploadInvalidError("The upload's gzip does not end where the upload does", fix="Send it again, whole")
    return content


def decode_spans(content: bytes) -> Decoded:
    """Read an ``ExportTraceServiceRequest``. Raises :class:`UploadInvalidError`."""
    request = _parse(ExportTraceServiceRequest, content)
    sorting = _Sorting(ExportTraceServiceRequest, _place_span)
    for resource in request.resource_spans:
        shared = attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                sorting.add(resource, scope, Entry(span, scope.scope.name, shared))
    return sorting.done(request)


def decode_logs(content: bytes) -> Decoded:
    """Read an ``ExportLogsServiceRequest``. Raises :class:`UploadInvalidError`."""
    request = _parse(ExportLogsServiceRequest, content)
    sorting = _Sorting(ExportLogsServiceRequest, _place_log)
    for resource in request.resource_logs:
        around = attributes(resource.resource.attributes)
        for scope in resource.scope_logs:
            shared = {**around, **attributes(scope.scope.attributes)}
            for record in scope.log_records:
                sorting.add(resource, scope, Entry(record, scope.scope.name, shared))
    return sorting.done(request)


def decode_metrics(content: bytes) -> Decoded:
    """Read an ``ExportMetricsServiceRequest``. Raises :class:`UploadInvalidError`."""
    request = _parse(ExportMetricsServiceRequest, content)
    sorting = _Sorting(ExportMetricsServiceRequest, _place_point)
    for resource in request.resource_metrics:
        shared = attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    sorting.add(resource, scope, Entry(point, scope.scope.name, shared, metric))
    return sorting.done(request)


def _parse(kind: type[_Request], content: bytes) -> _Request:
    try:
        return kind.FromString(content)
    except DecodeError:
        raise UploadInvalidError("The upload is not the OTLP message of this address", fix="Send OTLP/HTTP") from None


_Found: TypeAlias = tuple[Any, Any, Entry]
_Place: TypeAlias = Callable[[Any, Any, Any, Entry, dict[int, Any]], None]


class _Sorting:
    """Sorts the entries of an upload by job."""

    def __init__(self, kind: type[Any], place: _Place) -> None:
        self._kind = kind
        self._place = place
        self._by_job: dict[str, list[_Found]] = {}
        self._rejected = 0

    def add(self, resource: Any, scope: Any, entry: Entry) -> None:
        job_id = _lookup(entry, "job_id")
        if isinstance(job_id, str) and is_job_id(job_id):
            self._by_job.setdefault(job_id, []).append((resource, scope, entry))
        else:
            self._rejected += 1

    def done(self, request: Any) -> Decoded:
        if len(self._by_job) == 1 and not self._rejected:
            ((job_id, found),) = self._by_job.items()
            return Decoded([_batch(job_id, request, found)], 0)
        self._check_copies()
        batches = [_batch(job_id, self._copy(found), found) for job_id, found in self._by_job.items()]
        return Decoded(batches, self._rejected)

    def _copy(self, found: list[_Found]) -> Any:
        """Build a request of only these entries, with a copy of what stands around them."""
        request = self._kind()
        places: dict[int, Any] = {}
        for resource, scope, entry in found:
            self._place(request, resource, scope, entry, places)
        return request

    def _check_copies(self) -> None:
        # What stands around the entries of many jobs is copied for each: a small upload must not become a large one.
        around = 0
        for found in self._by_job.values():
            once = {id(part): part for resource, scope, _ in found for part in (resource.resource, scope.scope)}
            once |= {id(entry.metric): entry.metric for *_, entry in found if entry.metric is not None}
            around += sum(part.ByteSize() for part in once.values())
        if around > _MAX_COPIED:
            raise UploadTooLargeError("The upload repeats too much for too many jobs", fix="Send smaller batches")


def _lookup(entry: Entry, key: str) -> Any:
    for pair in entry.item.attributes:
        if pair.key == key:
            return plain(pair.value)
    return entry.shared.get(key)


def _batch(job_id: str, request: Any, found: list[_Found]) -> JobBatch:
    entries = [entry for _, _, entry in found]

    def first(key: str) -> str:
        named = (_lookup(entry, key) for entry in entries)
        return next((name[:256] for name in named if isinstance(name, str) and name), "")

    redacted = any(_lookup(entry, _REDACTED) is True for entry in entries)
    return JobBatch(job_id, first("room_id"), first("lk.agent_name"), redacted, request, entries)


def _place_span(request: Any, resource: Any, scope: Any, entry: Entry, places: dict[int, Any]) -> None:
    around = places.get(id(scope))
    if around is None:
        own = request.resource_spans.add(resource=resource.resource, schema_url=resource.schema_url)
        around = places[id(scope)] = own.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
    around.spans.append(entry.item)


def _place_log(request: Any, resource: Any, scope: Any, entry: Entry, places: dict[int, Any]) -> None:
    around = places.get(id(scope))
    if around is None:
        own = request.resource_logs.add(resource=resource.resource, schema_url=resource.schema_url)
        around = places[id(scope)] = own.scope_logs.add(scope=scope.scope, schema_url=scope.schema_url)
    around.log_records.append(entry.item)


def _place_point(request: Any, resource: Any, scope: Any, entry: Entry, places: dict[int, Any]) -> None:
    points = places.get(id(entry.metric))
    if points is None:
        around = places.get(id(scope))
        if around is None:
            own = request.resource_metrics.add(resource=resource.resource, schema_url=resource.schema_url)
            around = places[id(scope)] = own.scope_metrics.add(scope=scope.scope, schema_url=scope.schema_url)
        metric = around.metrics.add()
        metric.CopyFrom(entry.metric)
        points = getattr(metric, metric.WhichOneof("data")).data_points
        del points[:]
        places[id(entry.metric)] = points
    points.append(entry.item)
