"""Uploads over HTTP: what agents send ends in the log once, and what is wrong with one is said."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from livekit.agents.telemetry import traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from greenroom.config import ApiKey
from greenroom.ingest import IngestLimits
from support.otlp import (
    JOB,
    ROOM,
    Logs,
    Spans,
    as_protocol,
    authorization,
    conversation,
    form,
    metrics_upload,
    recording_upload,
)
from support.upload_desk import Desk, upload_desk

pytestmark = pytest.mark.conformance

WORDS = "word " * 20_000


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with upload_desk(tmp_path) as desk:
        yield desk


def refusal(content: bytes) -> Status:
    return Status.FromString(content)


async def types(desk: Desk) -> list[str]:
    return [record.type for record in await desk.log.read()]


async def test_each_upload_is_stored_and_named_by_an_event(desk: Desk) -> None:
    upload, headers = recording_upload()
    assert (await desk.send("spans", Spans().add("job_entrypoint").encode())).status_code == 200
    assert (await desk.send("logs", Logs().add("hello").encode())).status_code == 200
    assert (await desk.send("metrics", metrics_upload())).status_code == 200
    assert (await desk.send("recording", upload, **headers)).status_code == 200
    records = await desk.log.read_stream(f"session:{JOB}")
    assert [record.type for record in records] == [
        "telemetry.spans",
        "telemetry.logs",
        "telemetry.metrics",
        "session.report",
        "chat.history",
        "recording.stored",
    ]
    for record in records:
        ref = getattr(record.data, "blob", None)
        if ref is not None:
            assert len(await desk.log.blobs.read(ref.hash)) == ref.size


async def test_a_repeated_upload_is_stored_once(desk: Desk) -> None:
    batch = Spans().add("agent_turn")
    await desk.send("spans", gzip.compress(batch.request.SerializeToString(), mtime=1))
    first, headers = recording_upload()
    await desk.send("recording", first, **headers)
    head = await desk.log.head()
    again, headers = recording_upload(boundary="another")
    assert (await desk.send("spans", gzip.compress(batch.request.SerializeToString(), mtime=2))).status_code == 200
    assert (await desk.send("recording", again, **headers)).status_code == 200
    assert await desk.log.head() == head


async def test_an_upload_of_several_jobs_goes_to_their_sessions(desk: Desk) -> None:
    batch = (
        Spans().add("agent_turn", job="AJ_one111").add("agent_turn", job="AJ_two222").add("llm_node", job="AJ_one111")
    )
    await desk.send("spans", batch.encode())
    heads = await desk.log.streams("session")
    assert [head.stream for head in heads] == ["session:AJ_one111", "session:AJ_two222"]
    one = (await desk.get("/sessions/AJ_one111/spans")).json()["spans"]
    assert sorted(span["name"] for span in one) == ["agent_turn", "llm_node"]


async def test_what_names_no_job_is_counted_in_the_answer(desk: Desk) -> None:
    response = await desk.send("spans", Spans().add("agent_turn").add("stray", job="not a job").encode())
    told = ExportTraceServiceResponse.FromString(response.content)
    assert response.status_code == 200
    assert told.partial_success.rejected_spans == 1
    assert "job_id" in told.partial_success.error_message


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer nonsense"}, 401),
        (authorization(ApiKey(key="devkey", secret="another")), 401),
        (authorization(ApiKey(key="stranger", secret="secret")), 401),
        (authorization(write=False), 403),
    ],
    ids=["none", "malformed", "wrong secret", "unknown key", "no grant"],
)
async def test_only_a_token_with_the_grant_may_upload(desk: Desk, headers: dict[str, str], status: int) -> None:
    response = await desk.send("spans", Spans().add("agent_turn").encode(), **headers)
    assert response.status_code == status
    assert refusal(response.content).message
    assert await desk.log.head() == 0


async def test_switched_off_it_answers_so_that_agents_stop(tmp_path: Path) -> None:
    async with upload_desk(tmp_path, recording=False) as desk:
        response = await desk.send("logs", Logs().add("hello").encode())
        assert response.status_code == 401
        assert traces._UploadGate.is_disabled_response(response.status_code, response.content)
        assert await desk.log.head() == 0


async def test_too_many_uploads_of_a_key_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with upload_desk(tmp_path, limits=IngestLimits(rate=0.001, burst=1)) as desk:
        assert (await desk.send("logs", Logs().add("one").encode())).status_code == 200
        response = await desk.send("logs", Logs().add("two").encode())
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) > 0
        retry = RetryInfo()
        assert refusal(response.content).details[0].Unpack(retry)
        assert retry.retry_delay.seconds > 0


async def test_a_full_house_is_told_to_come_again(tmp_path: Path) -> None:
    limits = IngestLimits(uploads=1, queue=0.05)
    async with upload_desk(tmp_path, limits=limits) as desk:
        held = asyncio.Event()
        body, headers = recording_upload()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:20]
            await held.wait()
            yield body[20:]

        first = asyncio.create_task(desk.send("recording", slowly(), **headers))
        try:
            async with asyncio.timeout(20):
                while True:
                    response = await desk.send("recording", body, **headers)
                    if response.status_code == 503:
                        break
        finally:
            held.set()
        # As LiveKit's own uploader reads it.
        assert traces._parse_retry_delay(response.content) == 2.0
        assert (await first).status_code == 200
        assert "recording.stored" in await types(desk)


async def test_a_policy_of_the_key_is_kept(tmp_path: Path) -> None:
    async with upload_desk(tmp_path, keys=[ApiKey(key="devkey", secret="secret", agents=("back-*",))]) as desk:
        body, headers = recording_upload()
        assert (await desk.send("logs", Logs().add("hello").encode())).status_code == 403
        assert (await desk.send("recording", body, **headers)).status_code == 403
        assert await types(desk) == ["upload.refused", "upload.refused"]


async def test_the_same_refusal_is_logged_once_a_minute(desk: Desk) -> None:
    for _ in range(3):
        assert (await desk.send("spans", b"no gzip")).status_code == 400
    (record,) = await desk.log.read()
    assert (record.stream, record.type) == ("system:greenroom", "upload.refused")
    assert (record.data.route, record.data.code, record.data.api_key) == ("spans", "upload_invalid", "devkey")


async def test_what_becomes_of_uploads_is_counted(desk: Desk) -> None:
    await desk.send("spans", Spans().add("agent_turn").encode())
    await desk.send("spans", b"no gzip")
    await desk.send("logs", b"", authorization="")
    stats = desk.ingest.stats
    assert (stats.accepted, stats.under_way) == ({"spans": 1}, 0)
    assert stats.refused == {"upload_invalid": 1, "upload_unauthorized": 1}
    assert stats.accepted_at is not None


async def test_a_redacted_session_keeps_nothing_that_was_said(desk: Desk) -> None:
    body, headers = recording_upload(redacted=True)
    await desk.send("recording", body, **headers)
    secret = {
        "lk.redaction.enabled": True,
        "lk.speech_id": "speech_1",
        "lk.pii.response.text": "my number is",
        "lk.pii.room_name": "lobby",
        "lk.pii.user_input": "my number is",
        "gen_ai.input.messages": "my number is",
    }
    await desk.send("spans", Spans().add("agent_turn", attributes=secret, error="my number is").encode())
    item = {"message": {"id": "u9", "role": "USER", "content": [{"text": "my number is"}]}}
    await desk.send("logs", Logs().item(item, **{"lk.redaction.enabled": True}).encode())
    session = (await desk.get(f"/sessions/{JOB}")).json()
    assert session["summary"]["redacted"]
    assert session["summary"]["turns"] == 3
    assert not session["recordings"]
    assert all(not said["text"] for turn in session["turns"] for said in [*turn["agent"], turn["user"] or {"text": ""}])
    stored = [await desk.log.blobs.read(ref["blob"]) for ref in session["telemetry"]]
    texts = [str(record.data) for record in await desk.log.read()]
    assert not [text for text in texts if "my number is" in text or "Friday" in text or "lobby" in text]
    assert not [blob for blob in stored if b"my number is" in gzip.decompress(blob)]


async def test_audio_is_stored_as_it_was_sent_however_it_is_cut(desk: Desk) -> None:
    audio = bytes(range(256)) * 3000 + b"\r\n--greenroo\r\n--greenroom-not"
    body, headers = recording_upload(audio=audio)

    async def pieces() -> AsyncIterator[bytes]:
        step = 65_521
        for start in range(0, len(body), step):
            yield body[start : start + step]

    assert (await desk.send("recording", pieces(), **headers)).status_code == 200
    response = await desk.get(f"/sessions/{JOB}/recording")
    assert response.content == audio


async def test_a_session_without_audio_is_a_session(desk: Desk) -> None:
    body, headers = recording_upload(audio=None)
    assert (await desk.send("recording", body, **headers)).status_code == 200
    summary = (await desk.get("/sessions")).json()["sessions"][0]
    assert (summary["id"], summary["has_recording"], summary["turns"]) == (JOB, False, 2)
    assert (await desk.get(f"/sessions/{JOB}/recording")).status_code == 404


async def test_a_long_conversation_is_cut_into_events_that_fit(desk: Desk) -> None:
    long = [
        {
            "id": f"u{n}",
            "type": "message",
            "role": "user",
            "content": [f"{n} {WORDS}"],
            "created_at": float(n),
        }
        for n in range(20)
    ]
    body, headers = recording_upload(items=long)
    assert (await desk.send("recording", body, **headers)).status_code == 200
    assert (await types(desk)).count("chat.history") > 5
    turns = (await desk.get(f"/sessions/{JOB}/turns")).json()["turns"]
    assert [turn["user"]["text"].split()[0] for turn in turns] == [str(n) for n in range(20)]


async def test_the_header_has_to_come_first(desk: Desk) -> None:
    _, headers = recording_upload()
    response = await desk.send("recording", form([("audio", "audio/ogg", b"OggS")]), **headers)
    assert response.status_code == 400
    assert "header" in refusal(response.content).message
    assert await types(desk) == ["upload.refused"]


async def test_a_call_told_of_by_logs_and_recording_is_one_conversation(desk: Desk) -> None:
    logs = Logs()
    for item in conversation():
        logs.item(as_protocol(item))
    logs.add("session report", scope="chat_history", attributes={"agent_name": "front-desk", "sdk_version": "1.8.9"})
    logs.add("evaluation", scope="evaluations", attributes={"evaluation": {"name": "tone", "verdict": "pass"}})
    logs.add("tag", scope="evaluations", attributes={"tag": {"name": "booked", "metadata": {"slot": "a"}}})
    logs.add("outcome", scope="evaluations", attributes={"outcome": {"outcome": "success", "reason": "done"}})
    await desk.send("logs", logs.encode())
    before = (await desk.get(f"/sessions/{JOB}")).json()
    body, headers = recording_upload()
    await desk.send("recording", body, **headers)
    after = (await desk.get(f"/sessions/{JOB}")).json()
    assert len(after["turns"]) == len(before["turns"]) == 2
    assert [said["text"] for turn in after["turns"] for said in turn["agent"]] == [
        "Hello, how can I help?",
        "Friday is free.",
    ]
    assert after["summary"]["room"] == {"sid": ROOM, "name": "lobby"}
    assert after["summary"]["outcome"] == {"outcome": "success", "reason": "done"}
    assert after["evaluations"][0]["verdict"] == "pass"
    assert after["summary"]["tags"] == ["booked", "vip"]


async def test_a_hundred_uploads_at_once_are_all_stored(desk: Desk) -> None:
    async def one(number: int) -> int:
        body, headers = recording_upload(job=f"AJ_many{number:05}", audio=bytes([number]) * 200_000)
        spans = Spans().add("job_entrypoint", job=f"AJ_many{number:05}").encode()
        answers = await asyncio.gather(desk.send("recording", body, **headers), desk.send("spans", spans))
        return max(answer.status_code for answer in answers)

    async with asyncio.timeout(60):
        assert set(await asyncio.gather(*(one(number) for number in range(100)))) == {200}
    page = (await desk.get("/sessions", limit=200, recording="true")).json()
    assert len(page["sessions"]) == 100
