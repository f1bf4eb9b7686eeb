"""Finished sessions on their way in: what one core takes of them, audio, traces and waveform included."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from livekit.protocol import metrics as metrics_pb
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from bench._figures import Figure, Options, percentile
from bench._process import KEY, PATIENCE, SECRET
from greenroom.config import ApiKey
from greenroom.grants import ObservabilityGrant, mint

SECONDS = 180
TURNS = 20
# The SDK exports spans and logs every five seconds and metrics every thirty, when there are any.
SPAN_BATCHES = 30
METRIC_BATCHES = 6
LOG_BATCHES = 6
SPANS_PER_TURN = 14
START = 1_795_000_000
RATE = 48_000
AT_ONCE = 4
CROWD = 100
PATHS = {name: f"/observability/{name}/otlp/v0" for name in ("traces", "logs", "metrics")}
RECORDING = "/observability/recordings/v0"
WORDS = "I am sorry, that hour is taken. On Friday these times are free, nine o'clock, ten o'clock and three o'clock. "


@dataclass
class Serving:
    """A process that takes uploads."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time of it and of the process that decodes audio."""
        return sum(_cpu(pid) for pid in [self.pid, *_children(self.pid)])

    def peak_memory(self) -> float:
        """Return the most it ever held, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1000 * 1.024


async def run(options: Options) -> list[Figure]:
    """Send sessions a few at a time, then the ends of a hundred at once."""
    count = options.count(60, least=6)
    audio = recording()
    async with serving() as server, aiohttp.ClientSession() as client:
        sessions = [_Session(client, server.url, f"AJ_bench{number:06}", audio) for number in range(count)]
        await _Session(client, server.url, "AJ_warmup000", audio).send()
        await _Session(client, server.url, "AJ_warmup000", audio).drawn()
        cpu, started = server.cpu_seconds(), time.perf_counter()
        waits = await _send_all(sessions)
        acknowledged = time.perf_counter() - started
        for session in sessions:
            await session.drawn()
        wall, used = time.perf_counter() - started, server.cpu_seconds() - cpu
        crowd = [_Session(client, server.url, f"AJ_crowd{number:06}", audio) for number in range(CROWD)]
        before = server.peak_memory()
        await asyncio.gather(*(session.finish() for session in crowd))
        memory = server.peak_memory()
    what = (
        f"{count} sessions of {SECONDS} s, each {SPAN_BATCHES + LOG_BATCHES + METRIC_BATCHES} batches with "
        f"{TURNS * SPANS_PER_TURN} spans and a recording of {len(audio) / 1e6:.1f} MB; waveform drawn"
    )
    return [
        Figure(
            "ingest, sessions a minute on one core", 60 * count / used, "/min", 100, higher_is_better=True, note=what
        ),
        Figure("ingest, processor time of a session", used / count * 1000, "ms"),
        Figure("ingest, sessions a minute, until drawn", 60 * count / wall, "/min", note=f"{AT_ONCE} at once"),
        Figure("ingest, sessions a minute, until acknowledged", 60 * count / acknowledged, "/min"),
        Figure("ingest, last acknowledgement to complete p95", percentile(waits, 0.95), "s", 2.0),
        Figure("ingest, memory before the crowd", before, "MB"),
        Figure("ingest, most memory with a crowd", memory, "MB", note=f"{CROWD} recordings at once"),
    ]


class _Session:
    """Uploads of one session, as LiveKit's SDK makes them."""

    def __init__(self, client: aiohttp.ClientSession, url: str, job: str, audio: bytes) -> None:
        self._client = client
        self._url = url
        self._job = job
        # Players skip what follows the last page; with it, no two sessions have the same audio.
        self._audio = audio + job.encode()
        token = mint(ApiKey(key=KEY, secret=SECRET), observability=ObservabilityGrant(write=True))
        self._headers = {"Authorization": f"Bearer {token}"}

    async def send(self) -> float:
        """Send everything; return how long it was from the last acknowledgement to the complete record."""
        for batch in range(SPAN_BATCHES - 1):
            await self._batch("traces", spans(self._job, batch))
        for batch in range(LOG_BATCHES):
            await self._batch("logs", logs(self._job, batch))
        for batch in range(METRIC_BATCHES):
            await self._batch("metrics", metrics(self._job, batch))
        await self.finish()
        await self._batch("traces", spans(self._job, SPAN_BATCHES - 1))
        acknowledged = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            while not await self._complete():  # noqa: ASYNC110 - a page would be told; a bench asks
                await asyncio.sleep(0.005)
        return time.perf_counter() - acknowledged

    async def finish(self) -> None:
        """Send the recording."""
        form = aiohttp.MultipartWriter("form-data")
        parts = (("header", header(self._job)), ("chat_history", history(self._job)), ("audio", self._audio))
        for name, content in parts:
            form.append(content).set_content_disposition("form-data", name=name, filename=name)
        async with self._client.post(self._url + RECORDING, data=form, headers=self._headers) as response:
            response.raise_for_status()

    async def drawn(self) -> None:
        """Wait for the waveform."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self._client.get(f"{self._url}/api/sessions/{self._job}/peaks?buckets=10") as response:
                    response.raise_for_status()
                    if response.status == 200:
                        return
                await asyncio.sleep(0.5)

    async def _batch(self, kind: str, content: bytes) -> None:
        headers = {**self._headers, "Content-Encoding": "gzip", "Content-Type": "application/x-protobuf"}
        async with self._client.post(self._url + PATHS[kind], data=content, headers=headers) as response:
            response.raise_for_status()

    async def _complete(self) -> bool:
        async with self._client.get(f"{self._url}/api/sessions/{self._job}") as response:
            if response.status != 200:
                return False
            found = await response.json()
        summary = found["summary"]
        return bool(summary["turns"] == TURNS and summary["has_recording"] and summary["agent"]["worker_id"])


async def _send_all(sessions: list[_Session]) -> list[float]:
    waits: list[float] = []
    left = iter(sessions)

    async def sender() -> None:
        for session in left:
            waits.append(await session.send())  # noqa: PERF401 - senders share the sessions that are left

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return waits


@asynccontextmanager
async def serving() -> AsyncIterator[Serving]:
    """Run a log, its uploads and its sessions in a process of their own."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.ingest", folder), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                url = (await process.stdout.readline()).decode().strip()
            yield Serving(url, process.pid)
        finally:
            process.terminate()
            await process.wait()


def spans(job: str, batch: int) -> bytes:
    """Return a batch of spans; the last one holds the job's own."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(
        _pairs({"service.name": "livekit-agents", "job_id": job, "room_id": "RM_bench"})
    )
    scope = resource.scope_spans.add()
    names = ["llm_request_run", "llm_request", "llm_node", "tts_node", "agent_speaking", "agent_turn", "user_turn"]
    count = TURNS * SPANS_PER_TURN // SPAN_BATCHES
    for number in range(count):
        _span(scope, job, names[number % len(names)], batch * count + number)
    if batch == SPAN_BATCHES - 1:
        _span(scope, job, "job_entrypoint", 999_999)
    return gzip.compress(request.SerializeToString())


def _span(scope: Any, job: str, name: str, number: int) -> None:
    span = scope.spans.add(name=name, trace_id=b"0" * 16, span_id=(number + 1).to_bytes(8, "big"))
    span.start_time_unix_nano = int((START + number % SECONDS) * 1e9)
    span.end_time_unix_nano = span.start_time_unix_nano + 500_000_000
    more = {
        "llm_node": {"lk.pii.chat_ctx": json.dumps([WORDS] * 8)},
        "job_entrypoint": {"lk.job.worker_id": "AW_bench", "lk.pii.room_name": "bench"},
    }.get(name, {})
    about = {
        "job_id": job,
        "room_id": "RM_bench",
        "gen_ai.conversation.id": "RM_bench",
        "lk.agent_name": "bench",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "lk.participant_id": "PA_bench",
        "lk.pii.participant_identity": "ada",
    }
    span.attributes.extend(_pairs({**about, **more}))


def logs(job: str, batch: int) -> bytes:
    """Return a batch of log records; the last one holds the conversation."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    own = resource.scope_logs.add()
    own.scope.name = "bench"
    for number in range(20):
        record = own.log_records.add(time_unix_nano=(START + batch * 30 + number) * 10**9, severity_number=9)
        record.body.string_value = "something has happened that is worth a line"
        record.attributes.extend(_pairs({"job_id": job, "room_id": "RM_bench", "code.line.number": number}))
    if batch == LOG_BATCHES - 1:
        told = resource.scope_logs.add()
        told.scope.name = "chat_history"
        for item in _items():
            record = told.log_records.add(time_unix_nano=int(item["created_at"] * 1e9))
            record.body.string_value = "chat item"
            chat = {"message": {**item, "role": item["role"].upper(), "content": [{"text": item["content"][0]}]}}
            record.attributes.extend(_pairs({"chat.item": chat, "job_id": job, "room_id": "RM_bench"}))
    return gzip.compress(request.SerializeToString())


def metrics(job: str, batch: int) -> bytes:
    """Return a batch of counters."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for name in ("llm_input_tokens", "llm_output_tokens", "tts_characters", "stt_audio_duration"):
        metric = scope.metrics.add(name=f"lk.agents.usage.{name}")
        point = metric.sum.data_points.add(as_int=100, time_unix_nano=(START + 30 * batch) * 10**9)
        point.attributes.extend(
            _pairs({"job_id": job, "room_id": "RM_bench", "model_name": "m", "model_provider": "p"})
        )
    return gzip.compress(request.SerializeToString())


def header(job: str) -> bytes:
    """Return what stands before a recording."""
    summary = {
        "job_id": job,
        "room": "bench",
        "agent_name": "bench",
        "timestamp": START + SECONDS,
        "sdk_version": "1.8.9",
    }
    found = metrics_pb.MetricsRecordingHeader(
        room_id="RM_bench", job_id=job, duration=SECONDS * 1000, session_summary=json.dumps(summary)
    )
    found.start_time.FromSeconds(START)
    return found.SerializeToString()


def history(_job: str) -> bytes:
    """Return the conversation."""
    return json.dumps({"items": _items()}).encode()


def _items() -> list[dict[str, Any]]:
    items = []
    for turn in range(TURNS):
        at = START + 9.0 * turn
        for role, later, measured in (
            ("user", 0.0, {"transcription_delay": 0.2, "end_of_turn_delay": 0.5}),
            ("assistant", 1.0, {"llm_node_ttft": 0.4, "tts_node_ttfb": 0.2, "e2e_latency": 1.1}),
        ):
            said = {"id": f"item_{turn}_{role}", "type": "message", "role": role, "content": [WORDS]}
            items.append({**said, "metrics": measured, "created_at": at + later})
    return items


def recording() -> bytes:
    """Return three minutes of a call as the SDK's recorder makes them: Opus, the user left, the agent right."""
    spoken = _speech()
    file = io.BytesIO()
    with av.open(file, mode="w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="stereo")
        for second in range(SECONDS):
            part = np.zeros((2, RATE), dtype=np.float32)
            # The one speaks, then the other, then both are silent for a moment.
            side = second // 4 % 2
            if second % 4 < 3:
                start = second * RATE % (len(spoken) - RATE)
                part[side] = spoken[start : start + RATE]
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, second * RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _speech() -> Any:
    if shutil.which("flite") is None:
        times = np.arange(30 * RATE) / RATE
        return (0.2 * np.sin(2 * np.pi * 220 * times) * np.sin(2 * np.pi * 3 * times)).astype(np.float32)
    command = ["flite", "-voice", "slt", "-t", WORDS * 4, "-o", "/dev/stdout"]
    said = subprocess.run(command, capture_output=True, check=True).stdout[44:]
    samples = np.frombuffer(said, dtype=np.int16).astype(np.float32) / 32768
    return np.repeat(samples, 3)


def _pairs(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    found = AnyValue()
    if isinstance(value, str):
        found.string_value = value
    elif isinstance(value, int):
        found.int_value = value
    elif isinstance(value, float):
        found.double_value = value
    elif isinstance(value, list):
        found.array_value.values.extend(_value(each) for each in value)
    else:
        found.kvlist_value.values.extend(_pairs(value))
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    threads = [task.joinpath("schedstat").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(thread[0]) for thread in threads or [fields]) / 1e9


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in task.joinpath("children").read_text().split()]
    return found


async def _serve(folder: Path) -> None:
    from starlette.applications import Starlette  # noqa: PLC0415 - only the process that serves needs it
    from starlette.routing import Mount  # noqa: PLC0415

    from greenroom.config import Limits  # noqa: PLC0415
    from greenroom.eventlog import EventLog  # noqa: PLC0415
    from greenroom.ingest import Ingest  # noqa: PLC0415
    from greenroom.server import listen, serve, url_of  # noqa: PLC0415
    from greenroom.sessions import Sessions, routes  # noqa: PLC0415

    log = await EventLog.open(folder / "log.db")
    sessions = await Sessions.open(log, folder / "sessions.db")
    ingest = Ingest(log, [ApiKey(key=KEY, secret=SECRET)])
    app = Starlette(routes=[*ingest.routes(), Mount("/api", routes=routes(sessions))])
    opened = listen("127.0.0.1", 0)

    async def stopped() -> None:
        pass

    await serve(
        app,
        opened,
        limits=Limits(),
        on_ready=lambda: print(url_of(opened), flush=True),
        on_stop=stopped,
        stop=asyncio.Event(),
    )


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
