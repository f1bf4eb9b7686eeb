"""Hostile and broken uploads: each is answered with what is wrong, and nothing that was stored is lost."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from greenroom.ingest import IngestLimits
from support.otlp import JOB, Spans, authorization, form, recording_upload
from support.upload_desk import PATHS, Desk, upload_desk

pytestmark = pytest.mark.chaos

LIMITS = IngestLimits(batch=100_000, inflated=1_000_000, recording=1_000_000, history=10_000, idle=0.2)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with upload_desk(tmp_path, limits=LIMITS) as desk:
        yield desk
        # Whatever happened before: a good upload is taken, and what was half stored is gone.
        assert (await desk.send("spans", Spans().add("agent_turn", job="AJ_afterwards").encode())).status_code == 200
        assert not list((tmp_path / "blobs" / "incoming").iterdir())


def why(response: httpx.Response) -> str:
    return Status.FromString(response.content).message


async def test_a_gzip_bomb_is_refused(desk: Desk) -> None:
    response = await desk.send("spans", gzip.compress(bytes(50_000_000)))
    assert (response.status_code, "decompressed" in why(response)) == (413, True)


async def test_an_oversized_batch_is_refused_declared_or_not(desk: Desk) -> None:
    large = os.urandom(200_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    for body in (large, pieces()):
        response = await desk.send("spans", body)
        assert (response.status_code, "100000 bytes" in why(response)) == (413, True)


async def test_an_oversized_recording_is_refused_and_nothing_of_it_kept(desk: Desk, tmp_path: Path) -> None:
    body, headers = recording_upload(audio=bytes(1_000_001))
    response = await desk.send("recording", body, **headers)
    assert (response.status_code, "1000000 bytes" in why(response)) == (413, True)
    assert not [file for file in (tmp_path / "blobs").glob("??/*") if file.stat().st_size > 1000]
    assert await desk.log.read_stream(f"session:{JOB}") == []


async def test_an_oversized_conversation_is_refused(desk: Desk) -> None:
    items = [{"id": "u1", "type": "message", "role": "user", "content": ["word " * 5000]}]
    body, headers = recording_upload(items=items)
    response = await desk.send("recording", body, **headers)
    assert (response.status_code, "chat_history" in why(response)) == (413, True)


@pytest.mark.parametrize("cut", [0, 1, 30, 200, 700, 1500, -3, -5])
async def test_a_recording_cut_short_is_refused_whole(desk: Desk, cut: int) -> None:
    body, headers = recording_upload(audio=bytes(1000))
    response = await desk.send("recording", body[:cut], **headers)
    assert response.status_code == 400
    assert why(response)
    assert await desk.log.read_stream(f"session:{JOB}") == []


async def test_garbage_is_refused_everywhere(desk: Desk) -> None:
    _, headers = recording_upload()
    for kind in ("spans", "logs", "metrics"):
        for body in (os.urandom(500), gzip.compress(b"\xff" * 500), b""):
            assert (await desk.send(kind, body)).status_code == 400, (kind, body[:8])
    for parts in (
        [("header", "a/b", b"\xff\xff\xff")],
        [("header", "a/b", b"")],
        [("nothing", "a/b", b"")] * 100,
        [],
    ):
        assert (await desk.send("recording", form(parts), **headers)).status_code == 400


async def test_a_conversation_that_is_no_json_is_refused(desk: Desk) -> None:
    body, headers = recording_upload()
    response = await desk.send("recording", body.replace(b'{"items"', b'{"items'), **headers)
    assert (response.status_code, "chat_history" in why(response)) == (400, True)


async def test_a_header_nested_without_end_is_refused(desk: Desk) -> None:
    body, headers = recording_upload(options="PLACE")
    nested = b"[" * 7
    response = await desk.send("recording", body.replace(b'"PLACE"', nested), **headers)
    assert response.status_code == 400


async def test_an_upload_that_is_broken_off_leaves_nothing(desk: Desk) -> None:
    body, _ = recording_upload(audio=bytes(500_000))
    parts = urlsplit(desk.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = [f"POST {PATHS['recording']} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in authorization().items()]
    head += ["content-type: multipart/form-data; boundary=greenroom", "", ""]
    writer.write("\r\n".join(head).encode() + body[:300_000])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    whole, headers = recording_upload(audio=bytes(500_000))
    assert (await desk.send("recording", whole, **headers)).status_code == 200
    assert [record.type for record in await desk.log.read_stream(f"session:{JOB}")].count("recording.stored") == 1


async def test_an_upload_that_stalls_is_given_up(desk: Desk) -> None:
    body, headers = recording_upload()
    never = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield body[:100]
        await never.wait()

    sending = asyncio.create_task(desk.send("recording", stalling(), **headers))
    try:
        async with asyncio.timeout(20):
            async for record in desk.log.follow(0):
                if record.type == "upload.refused":
                    assert "stalled" in record.data.message
                    break
    finally:
        never.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_what_cannot_be_stored_now_is_asked_for_again(tmp_path: Path) -> None:
    async with upload_desk(tmp_path) as desk:
        # A file where the directory of blobs should be: as with a full disk, nothing can be written.
        (tmp_path / "blobs").write_bytes(b"")
        batch = Spans().add("agent_turn").encode()
        recording, headers = recording_upload()
        for response in (await desk.send("spans", batch), await desk.send("recording", recording, **headers)):
            assert response.status_code == 503
            assert Status.FromString(response.content).details[0].Unpack(RetryInfo())
        assert await desk.log.head() == 0
        (tmp_path / "blobs").unlink()
        assert (await desk.send("spans", batch)).status_code == 200
        assert (await desk.send("recording", recording, **headers)).status_code == 200
        assert (await desk.get("/sessions")).json()["sessions"][0]["has_recording"]


async def test_audio_that_is_no_audio_is_kept_and_said_to_have_no_waveform(tmp_path: Path) -> None:
    async with upload_desk(tmp_path, peaks=True) as desk:
        changed = asyncio.Event()
        desk.sessions.listen(lambda _: changed.set())
        body, headers = recording_upload(audio=b"OggS" + os.urandom(5000))
        await desk.send("recording", body, **headers)
        async with asyncio.timeout(60):
            while (response := await desk.get(f"/sessions/{JOB}/peaks")).status_code == 202:
                await changed.wait()
                changed.clear()
        assert (response.status_code, response.json()["code"]) == (422, "peaks_failed")
        assert (await desk.get(f"/sessions/{JOB}/recording")).status_code == 200
