"""The packaged agent by voice: its stock worker and the official SDK, talking through the whole server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.server import Server
from support.sdk import Caller
from support.serving import running_server
from support.signal_client import token
from support.stock_worker import Program, stock_worker
from support.voice_caller import VoiceCaller, sound, understood, voice_caller

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("voice")]

FRONT_DESK = Path(__file__).parents[3] / "examples" / "agents" / "front_desk.py"
WHERE = "We are at 1 Harbour Street, across from the ferry."
# What an ear of its own listens for.
SPOKEN = (
    "[hello] this is the front desk of harbour clinic",
    "how can I help you",
    "we are at one harbour street across from the ferry",
    "I can hear you now",
    "I am sorry I can only book new appointments",
    "please ask the practice to change one",
    "what would suit you",
    "shall I book it",
    "what name shall I put",
)

Join = Callable[..., Awaitable[VoiceCaller]]


class House(NamedTuple):
    """A server and the agent's worker."""

    server: Server
    url: str
    worker: Program


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with (
        running_server(Str0mEngine(EngineConfig())) as (server, url),
        stock_worker(url, tmp_path_factory.mktemp("worker"), source=FRONT_DESK.read_text()) as worker,
    ):
        await worker.line("registered worker")
        yield House(server, url, worker)


@pytest_asyncio.fixture(loop_scope="module")
async def join(house: House) -> AsyncIterator[Join]:
    """Call the front desk."""
    async with AsyncExitStack() as stack:

        async def join(name: str, *, microphone: bool = True) -> VoiceCaller:
            caller = Caller()
            voice = await stack.enter_async_context(voice_caller(caller))
            stack.push_async_callback(caller.close)
            await caller.connect(house.url, token(name, name))
            if microphone:
                await voice.turn_microphone_on()
            # Others hear of a microphone with its first packet: it may be there before the agent, or after.
            house.server.agents.create_dispatch(name, agent_name="front-desk")
            return voice

        yield join


def agent_of(voice: VoiceCaller) -> str:
    (agent,) = voice.caller.room.remote_participants
    return agent


def recognisers(worker: Program) -> int:
    """Count the recogniser processes of the worker's calls."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            count += session == worker.process.pid and b"_stt_decoder" in (entry / "cmdline").read_bytes()
        except OSError:
            continue
    return count


async def test_who_types_is_written_to_until_the_microphone_comes(join: Join, house: House) -> None:
    voice = await join("alan", microphone=False)
    await voice.until(lambda: voice.history)
    agent = agent_of(voice)
    await voice.caller.me.send_text("Where are you?", topic="lk.chat")
    await voice.until(lambda: WHERE in voice.said(agent))
    assert sound(voice.heard) == 0
    assert recognisers(house.worker) == 0

    await voice.turn_microphone_on()
    await voice.until(lambda: len(voice.said(agent)) == 3)
    await voice.silence()
    assert recognisers(house.worker) == 1
    assert "I can hear you now" in await understood(voice.heard, *SPOKEN)
    position = voice.say("Cancel my appointment.")
    await voice.until(lambda: len(voice.said(agent)) == 4)
    await voice.silence()
    assert voice.said("alan")[0].startswith("cancel my appointment")
    assert "I can only book new appointments" in await understood(voice.heard[position:], *SPOKEN)


async def greeted(voice: VoiceCaller) -> str:
    """Wait until the agent has greeted aloud; return its identity."""
    await voice.hears(1.0)
    await voice.silence()
    return agent_of(voice)


async def test_it_greets_aloud_hears_a_question_and_answers_it(join: Join) -> None:
    voice = await join("ada")
    agent = await greeted(voice)
    assert "this is the front desk of harbour clinic" in (await understood(voice.heard, *SPOKEN)).lower()
    position = voice.say("How do I get there?")
    await voice.until(lambda: WHERE in voice.said(agent))
    await voice.silence()
    (question,) = voice.said("ada")
    assert question.startswith("how do I get there")
    assert voice.said(agent)[-1] == WHERE
    assert voice.history[-2:] == [
        ("user", question, False),
        ("assistant", WHERE, False),
    ]
    assert SPOKEN[2] in await understood(voice.heard[position:], *SPOKEN)


async def test_speaking_over_it_stops_it_and_only_what_was_heard_is_written(join: Join) -> None:
    voice = await join("grace")
    agent = await greeted(voice)
    asked = voice.say("What is free on Monday?")
    await voice.hears(1.5)
    interrupted = voice.say("How do I get there?")
    await voice.until(lambda: WHERE in voice.said(agent))
    await voice.silence()

    cut, where = voice.said(agent)[-2:]
    assert where == WHERE
    assert cut.startswith("On Monday")
    assert "What would suit you" not in cut
    remembered, last = [(text.strip(), broken) for role, text, broken in voice.history if role == "assistant"][-2:]
    assert last == (WHERE, False)
    assert remembered[1]
    # livekit-agents counts twice what was played, for the transcript and for the history: a word may lie between.
    shorter, longer = sorted((remembered[0], cut), key=len)
    assert longer.startswith(shorter)
    assert len(longer.split()) - len(shorter.split()) <= 1
    heard = await understood(voice.heard[asked:], *SPOKEN)
    assert SPOKEN[2] in heard
    assert "suit" not in heard
    # At least five seconds of the answer were left; the next answer is three seconds long.
    assert sound(voice.heard[interrupted:]) < 3 + 2.5
