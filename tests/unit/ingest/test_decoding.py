"""Decoding uploads: bounded, sorted by job, and nothing of one job in the batch of another."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from greenroom.eventlog import BlobRef
from greenroom.ingest import UploadInvalidError, UploadTooLargeError
from greenroom.ingest._facts import logs_of, metrics_of, spans_of
from greenroom.ingest._multipart import FormReader, PartBegan, PartData
from greenroom.ingest._otlp import decode_logs, decode_metrics, decode_spans, inflate
from greenroom.sessions import LogsStored, MetricsStored, SpansStored
from support.otlp import JOB, START, Logs, Spans, form, metrics_upload, pairs

pytestmark = pytest.mark.unit

LIMIT = 1 << 20
BLOB = BlobRef(hash="a" * 64, size=1)
jobs = st.sampled_from(["AJ_one111", "AJ_two222", "AJ_three3"])


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(gzip.compress(b"hello"), "gzip"), (zlib.compress(b"hello"), "deflate"), (b"hello", ""), (b"hello", "identity")],
    ids=["gzip", "deflate", "none", "identity"],
)
def test_each_encoding_is_read(content: bytes, encoding: str) -> None:
    assert inflate(content, encoding, LIMIT) == b"hello"


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"hello" * 100)[:-9], gzip.compress(b"hello") + b"more", gzip.compress(b"x")[:5]],
    ids=["empty", "plain", "cut short", "more behind", "header only"],
)
def test_broken_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(UploadInvalidError):
        inflate(content, "gzip", LIMIT)


def test_another_encoding_is_refused() -> None:
    with pytest.raises(UploadInvalidError, match="zstd"):
        inflate(b"hello", "zstd", LIMIT)


def test_a_bomb_is_not_set_off() -> None:
    bomb = gzip.compress(bytes(256 * LIMIT), compresslevel=9)
    tracemalloc.start()
    try:
        with pytest.raises(UploadTooLargeError):
            inflate(bomb, "gzip", LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_exactly_the_limit_passes() -> None:
    assert len(inflate(gzip.compress(bytes(LIMIT)), "gzip", LIMIT)) == LIMIT
    with pytest.raises(UploadTooLargeError):
        inflate(gzip.compress(bytes(LIMIT + 1)), "gzip", LIMIT)


@given(st.lists(st.tuples(jobs, st.text(max_size=8)), max_size=30))
def test_every_span_is_in_the_batch_of_its_job_and_in_no_other(told: list[tuple[str, str]]) -> None:
    batch = Spans()
    for job, name in told:
        batch.add(name, job=job)
    decoded = decode_spans(batch.request.SerializeToString())
    assert decoded.rejected == 0
    found = {
        each.job_id: [span.name for r in each.request.resource_spans for s in r.scope_spans for span in s.spans]
        for each in decoded.batches
    }
    assert found == {job: [name for own, name in told if own == job] for job in dict.fromkeys(job for job, _ in told)}


def test_what_stands_around_spans_is_not_multiplied_without_bound() -> None:
    batch = Spans()
    batch.request.resource_spans[0].resource.attributes.extend(pairs({"large": "x" * LIMIT}))
    for number in range(100):
        batch.add("agent_turn", job=f"AJ_job{number:05}")
    with pytest.raises(UploadTooLargeError):
        decode_spans(batch.request.SerializeToString())


@pytest.mark.parametrize("decode", [decode_spans, decode_logs, decode_metrics])
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(decode: Any, content: bytes) -> None:
    with contextlib.suppress(UploadInvalidError):
        decode(content)


@pytest.mark.parametrize("job", ["", "AJ_", "ada", "AJ_../../etc", "AJ_" + "x" * 65, "fake-job", "AJ_a b"])
def test_what_names_no_job_of_livekit_is_rejected(job: str) -> None:
    assert decode_spans(Spans().add("x", job=job).request.SerializeToString()).rejected == 1


def test_spans_tell_of_people_tools_errors_and_the_job() -> None:
    batch = Spans()
    batch.add("wait", attributes={"lk.participant_id": "PA_1", "lk.participant_kind": "PARTICIPANT_KIND_SIP"})
    batch.add("user", attributes={"lk.participant_id": "PA_1", "lk.pii.participant_identity": "ada"})
    tool = {"lk.function_tool.id": "call_1", "lk.function_tool.name": "check", "lk.function_tool.is_error": True}
    batch.add("function_tool", 2.0, 2.5, attributes=tool)
    batch.add("tts_request", error="no answer", attributes={"error.type": "APIError"})
    batch.add("job_entrypoint", 0.0, 9.0, attributes={"lk.job.worker_id": "AW_1", "lk.job.accept_latency": 0.1})
    (decoded,) = decode_spans(batch.request.SerializeToString()).batches
    ((stored, _, _),) = spans_of(decoded, BLOB)
    assert isinstance(stored, SpansStored)
    assert [(each.identity, each.kind) for each in stored.participants] == [("ada", "sip")]
    assert [(each.call_id, each.duration, each.is_error) for each in stored.tools] == [("call_1", 0.5, True)]
    assert [(each.where, each.message, each.type) for each in stored.errors] == [
        ("tts_request", "no answer", "APIError")
    ]
    assert stored.job is not None
    assert (stored.job.ended_at, stored.job.worker_id, stored.job.latencies) == (START + 9, "AW_1", {"accept": 0.1})
    assert (stored.count, stored.first_at, stored.last_at) == (5, START, START + 9)


def test_logs_tell_of_errors_only_where_they_are_the_programs() -> None:
    logs = Logs().add("fine").add("broken", severity=17, attributes={"exception.type": "ValueError"})
    logs.add("chat item", scope="chat_history", severity=17)
    (decoded,) = decode_logs(logs.request.SerializeToString()).batches
    stored = logs_of(decoded, BLOB)[0].data
    assert isinstance(stored, LogsStored)
    assert [(each.message, each.type) for each in stored.errors] == [("broken", "ValueError")]


def test_metrics_tell_what_was_used() -> None:
    (decoded,) = decode_metrics(gzip.decompress(metrics_upload(tokens=7))).batches
    assert decoded.job_id == JOB
    stored = metrics_of(decoded, BLOB)[0].data
    assert isinstance(stored, MetricsStored)
    (usage,) = stored.usage
    assert (usage.kind, usage.provider, usage.model, usage.amounts) == (
        "llm",
        "openai",
        "gpt-4.1-mini",
        {"input_tokens": 7.0},
    )


def test_an_empty_batch_is_no_batch() -> None:
    assert decode_spans(ExportTraceServiceRequest().SerializeToString()) == ([], 0)


@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=20))
def test_parts_are_whole_however_the_form_is_cut(content: bytes, cuts: list[int]) -> None:
    body = form([("header", "a/b", b"first"), ("audio", "a/b", content)], "a-boundary-that-is-not-inside")
    reader = FormReader("multipart/form-data; boundary=a-boundary-that-is-not-inside")
    found: list[Any] = []
    start = 0
    for cut in [*cuts, len(body)]:
        found += reader.feed(body[start : start + cut])
        start += cut
    reader.close()
    names = [part.name for part in found if isinstance(part, PartBegan)]
    data = b"".join(part.data for part in found if isinstance(part, PartData))
    assert (names, data) == (["header", "audio"], b"first" + content)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_without_a_boundary_is_refused(kind: str) -> None:
    with pytest.raises(UploadInvalidError):
        FormReader(kind)


def test_a_form_that_ends_early_is_refused() -> None:
    reader = FormReader("multipart/form-data; boundary=greenroom")
    reader.feed(form([("header", "a/b", b"first")])[:-6])
    with pytest.raises(UploadInvalidError, match="ends before"):
        reader.close()
