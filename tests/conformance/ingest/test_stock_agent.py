"""An unmodified agent with one environment variable: its calls are in the log, live and whole, by text and by voice."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from livekit.protocol import agent_dispatch, room

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import RoomDefaults, ServerConfig, WebhookSettings
from greenroom.eventlog import Link, Record, broken_link
from greenroom.ingest import LiveWatch
from greenroom.link import LiveKit, ObservePolicy, Observer, When
from greenroom.sessions import SpansStored
from support.sdk import Caller
from support.serving import KEY, running_server
from support.signal_client import token
from support.stock_worker import stock_worker
from support.upload_desk import Desk, upload_desk
from support.voice_caller import voice_caller

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("stock-uploads"),
]

FRONT_DESK = Path(__file__).parents[3] / "examples" / "agents" / "front_desk.py"
GREETING = "Hello, this is the front desk of Harbour Clinic. How can I help you?"
WHERE = "We are at 1 Harbour Street, across from the ferry."
AGENTS = room.RoomConfiguration(agents=[agent_dispatch.RoomAgentDispatch(agent_name="front-desk")])
PATIENCE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Desk]]:
    """A server, what takes uploads and webhooks, an observer, and a stock worker told by its environment alone."""
    path = tmp_path_factory.mktemp("uploads")
    async with upload_desk(path, peaks=True) as desk:
        config = ServerConfig(
            keys=(KEY,),
            port=0,
            rtc_port=0,
            observability_url=desk.url,
            room=RoomDefaults(departure_timeout=1),
            webhook=WebhookSettings(urls=(f"{desk.url}/webhooks/livekit",), allow_private=True),
        )
        async with (
            running_server(Str0mEngine(EngineConfig()), config) as (_server, url),
            observing(url, desk),
            stock_worker(
                url, path, source=FRONT_DESK.read_text(), extra={"LIVEKIT_OBSERVABILITY_URL": desk.url}
            ) as worker,
        ):
            await worker.line("registered worker")
            yield url, desk


@contextlib.asynccontextmanager
async def observing(url: str, desk: Desk) -> AsyncIterator[None]:
    """Listen to every session beside."""
    livekit = LiveKit(url, KEY)
    observer = Observer(livekit, desk.log.append, ObservePolicy(when=When.ALWAYS))
    watch = LiveWatch(desk.log, livekit, observer)
    await watch.start()
    try:
        yield
    finally:
        await watch.aclose()
        await observer.aclose()
        await livekit.aclose()


async def until(desk: Desk, condition: Callable[[list[dict[str, Any]]], object], **search: str) -> dict[str, Any]:
    """Wait until the sessions that are found fit, looking whenever the log has grown; return the first."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for _ in desk.log.follow(0):
                found = (await desk.get("/sessions", **search)).json()["sessions"]
                if found and condition(found):
                    return found[0]
    everything = (await desk.get("/sessions")).json()["sessions"]
    raise AssertionError(f"it never came; {found} of {everything}")


async def peaks_of(desk: Desk, path: str) -> dict[str, Any]:
    changed = asyncio.Event()
    stop = desk.sessions.listen(lambda _: changed.set())
    async with asyncio.timeout(PATIENCE):
        while (response := await desk.get(f"{path}/peaks", buckets=50)).status_code == 202:
            await changed.wait()
            changed.clear()
    stop()
    return dict(response.json())


async def uploaded(desk: Desk, session: str) -> set[str]:
    return {record.type for record in await desk.log.read_stream(f"session:{session}")}


async def records(desk: Desk, session: str) -> AsyncIterator[Record]:
    """Yield the events of a session as they come, for as long as a test is patient."""
    async with asyncio.timeout(PATIENCE):
        async for record in desk.log.follow(0, streams=[f"session:{session}"]):
            yield record


async def complete(desk: Desk, **search: str) -> dict[str, Any]:
    """Wait until the agent has uploaded its report and the outermost span; return the session."""
    found = await until(desk, lambda found: found[0]["close_reason"], **search)
    async for record in records(desk, found["id"]):
        if isinstance(record.data, SpansStored) and record.data.job is not None:
            break
    return dict((await desk.get(f"/sessions/{found['id']}")).json())


async def test_a_call_by_text_is_there_with_turns_tools_usage_and_trace(house: tuple[str, Desk]) -> None:
    url, desk = house
    caller = Caller()
    said: asyncio.Queue[str] = asyncio.Queue()
    reading = set()

    def hear(reader: Any, _identity: str) -> None:
        async def read() -> None:
            said.put_nowait(await reader.read_all())

        reading.add(asyncio.create_task(read()))

    caller.room.register_text_stream_handler("lk.transcription", hear)
    async with asyncio.timeout(PATIENCE):
        await caller.connect(url, token("ada", "written", room_config=AGENTS))
        assert await said.get() == GREETING
        await caller.me.send_text("what is free on Friday?", topic="lk.chat")
        answer = await said.get()
    # While the call runs, the observer tells what is said, and spans do.
    live = await until(desk, lambda found: found[0]["status"] == "live", room="written", text="check_availability suit")
    async for record in records(desk, live["id"]):
        if isinstance(record.data, SpansStored) and record.data.heard:
            break
    (asked,) = [turn for turn in (await desk.get(f"/sessions/{live['id']}/turns")).json()["turns"] if turn["user"]]
    assert (asked["user"]["text"], asked["agent"][-1]["text"]) == ("what is free on Friday?", answer)
    assert asked["tools"][0]["result"] in answer
    await caller.close()

    session = await complete(desk, room="written")
    found = session["summary"]
    # Three sources have told of the same call.
    assert [turn["user"]["text"] for turn in session["turns"] if turn["user"]] == ["what is free on Friday?"]
    assert session["observed"]
    assert not session["provisional"]
    ada = next(each for each in found["participants"] if each["identity"] == "ada")
    assert ada["joined_at"]
    assert len(found["participants"]) == 2
    assert found["agent"]["name"] == "front-desk"
    assert "ada" in [each["identity"] for each in found["participants"]]
    assert found["close_reason"] == "participant_disconnected"
    asked = next(turn for turn in session["turns"] if turn["user"])
    assert asked["user"]["text"] == "what is free on Friday?"
    assert asked["agent"][-1]["text"] == answer
    (tool,) = asked["tools"]
    assert (tool["name"], tool["arguments"], tool["is_error"]) == ("check_availability", '{"day": "Friday"}', False)
    assert tool["result"] in answer
    assert tool["duration"] > 0
    assert asked["latency"]["llm_first_token"] > 0
    (line,) = [line for line in session["cost"]["lines"] if line["kind"] == "llm"]
    assert line["amounts"]["input_tokens"] > 0
    assert session["cost"]["amount"] == 0
    spans = (await desk.get(f"/sessions/{found['id']}/spans")).json()["spans"]
    names = {span["name"] for span in spans}
    assert {"job_entrypoint", "agent_turn", "llm_node", "function_tool"} <= names
    assert {span["parent"] for span in spans} - {span["id"] for span in spans} == {""}
    assert {"telemetry.spans", "telemetry.logs", "session.report", "chat.history"} <= await uploaded(desk, found["id"])
    await until(desk, lambda found: found, room="written", text="friday free")


async def test_a_call_by_voice_is_there_with_its_recording(house: tuple[str, Desk]) -> None:
    url, desk = house
    caller = Caller()
    async with voice_caller(caller) as voice:
        await caller.connect(url, token("grace", "spoken", room_config=AGENTS))
        await voice.turn_microphone_on()
        await voice.until(lambda: voice.history)
        (agent,) = caller.room.remote_participants
        voice.say("How do I get there?")
        await voice.until(lambda: WHERE in voice.said(agent))
        await voice.silence()
        await caller.close()

    session = await complete(desk, room="spoken")
    found = session["summary"]
    asked = next(turn for turn in session["turns"] if turn["user"])
    # What was heard is the recogniser's affair.
    assert asked["user"]["text"] in voice.said("grace")
    assert asked["agent"][-1]["text"] == WHERE
    for stage in ("stt", "end_of_turn", "llm_first_token", "tts_first_byte", "e2e"):
        assert asked["latency"][stage] >= 0, stage
    assert not asked["latency"]["e2e_derived"]
    assert {line["kind"] for line in session["cost"]["lines"]} >= {"llm", "stt", "tts"}

    (recording,) = session["recordings"]
    path = f"/sessions/{found['id']}"
    start = (await desk.client.get(f"/api{path}/recording", headers={"range": "bytes=0-3"})).content
    assert start == b"OggS"
    peaks = await peaks_of(desk, path)
    user, agent_side = peaks["channels"]
    assert max(user) > 0.05
    assert max(agent_side) > 0.05
    assert abs(peaks["duration"] - recording["duration"]) < 5
    exported = (await desk.get(f"{path}/export")).content
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        names = {Path(name).name for name in archive.getnames()}
        assert {"transcript.txt", "recording.ogg", "trace.json", "log.json", "session.json"} <= names
        audio = archive.extractfile(f"{found['id']}/recording.ogg")
        assert audio is not None
        assert len(audio.read()) == recording["size"]
        proof = archive.extractfile(f"{found['id']}/log.json")
        assert proof is not None
        links = msgspec.json.decode(proof.read(), type=list[Link])
    assert broken_link(links) is None
    forged = msgspec.structs.replace(links[1], payload="{}")
    assert broken_link([links[0], forged, *links[2:]]) is forged
    assert found["started_at"] < time.time()
