"""Calls that a pool must not lose: an agent that remembers, people who go on asking, and a room for many of both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.protocol import agent

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import RoomDefaults, ServerConfig
from support.pool_supervised import PoolStage, pool_stage
from support.sdk import Caller, callers
from support.serving import KEY
from support.signal_client import token

#: ``make chaos`` asks for the long form.
LONG = os.environ.get("GREENROOM_CHAOS") == "long"
#: How much slower than a machine of its own this one may be: what a user is promised is held to times this.
SLOWNESS = float(os.environ.get("GREENROOM_SLOWNESS", "4"))
PATIENCE = 60.0

#: Talks by text alone, remembers what was said, and does what it is told to over RPC or by its job's metadata.
DESK = """
import asyncio
import json
import os
import signal
import time

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, AgentServer, AgentSession, APIStatusError, JobContext
from livekit.agents import function_tool, llm
from livekit.agents.voice.room_io import RoomOptions

VERSION = "{version}"
server = AgentServer()
TEXT = RoomOptions(audio_input=False, audio_output=False)
lag = 0.0


async def measure():
    global lag
    while True:
        due = time.monotonic() + 0.01
        await asyncio.sleep(0.01)
        lag = max(lag, time.monotonic() - due)


class Stream(llm.LLMStream):
    async def _run(self):
        said = getattr(self._chat_ctx.items[-1], "text_content", None) or ""
        if os.path.exists(os.environ.get("OUTAGE", "/nowhere")) and said.startswith("needs"):
            raise APIStatusError("out of order", status_code=400, retryable=False)
        if said == "use the tool":
            call = llm.FunctionToolCall(name="break_down", arguments="{{}}", call_id="1")
            delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        else:
            delta = llm.ChoiceDelta(role="assistant", content="you said " + said)
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class Parrot(llm.LLM):
    @property
    def provider(self):
        return "parrot"

    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Desk(Agent):
    def __init__(self):
        super().__init__(instructions="Say it again.")

    @function_tool
    async def break_down(self):
        "Fail."
        raise RuntimeError("the tool is broken")


def told(what):
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what.startswith("block"):
        time.sleep(float(what.split()[1]))  # the line that blocks


@server.rtc_session(agent_name="desk")
async def entry(ctx: JobContext):
    said = json.loads(ctx.job.metadata or "{{}}").get("do", "")
    if said == "raise":
        raise ValueError("as told")
    await ctx.connect()
    session = AgentSession(llm=Parrot())
    await session.start(Desk(), room=ctx.room, room_options=TEXT)
    me = ctx.room.local_participant
    ctx.measuring = asyncio.create_task(measure())

    @me.register_rpc_method("ping")
    async def ping(data):
        return json.dumps({{"pid": os.getpid(), "version": VERSION, "job": ctx.job.id}})

    @me.register_rpc_method("say")
    async def say(data):
        await session.run(user_input=data.payload)
        return ""

    @me.register_rpc_method("history")
    async def history(data):
        items = session.history.to_dict(exclude_timestamp=False)["items"]
        return json.dumps([item for item in items if item["type"] != "agent_config_update"])

    @me.register_rpc_method("lag")
    async def worst(data):
        global lag
        found, lag = lag, 0.0
        return json.dumps(found)

    @me.register_rpc_method("do")
    async def do(data):
        asyncio.get_running_loop().call_later(0.05, told, data.payload)
        return ""

    await me.set_attributes({{"pid": str(os.getpid()), "version": VERSION}})
    if said:
        await asyncio.sleep(0.2)
        told(said)
"""


def desk(path: Path, version: str = "one") -> Path:
    """Write the agent's program."""
    path.write_text(DESK.format(version=version))
    return path


@dataclass
class Person:
    """Somebody in a room with an agent.

    :ivar left: how often the agent was seen to leave.
    """

    caller: Caller
    room: str
    agent: str = ""

    async def ask(self, what: str, payload: str = "", within: float = 10.0) -> Any:
        """Have the agent do something, and return what it answers."""
        said = await self.caller.me.perform_rpc(
            destination_identity=self.agent, method=what, payload=payload, response_timeout=within
        )
        return json.loads(said) if said else None

    async def tells(self, words: str) -> None:
        """Say something, whether or not the agent lives to answer."""
        with contextlib.suppress(rtc.RpcError):
            await self.ask("say", words, within=30.0)

    async def reaches(self, besides: int = 0) -> Any:
        """Wait until the agent is there, not in the process ``besides``, and answers; return its answer."""
        async with asyncio.timeout(PATIENCE):
            while self.there():
                # Whoever asks somebody who is not there waits for long.
                await self.caller.sees(
                    self.agent, lambda agent: agent.attributes.get("pid", "") not in {"", str(besides)}
                )
                # It may be going over to another shard in this moment.
                with contextlib.suppress(rtc.RpcError):
                    return await self.ask("ping")
        raise ConnectionError(f"the caller in {self.room} is not connected any more")

    def there(self) -> bool:
        """Whether the person's connection has lasted without a break."""
        return self.caller.room.isconnected() and not self.caller.seen("reconnecting")


@dataclass
class Chaos(PoolStage):
    """A pool in front of a real server, with people in their rooms."""

    make: Callable[[], Caller] = Caller
    people: list[Person] = field(default_factory=list)

    async def comes(self, room: str, name: str = "desk", **said: Any) -> Person:
        """Let somebody join a room and be joined by an agent."""
        person = Person(await self.make().connect(self.url, token(f"p-{room}", room)), room)
        self.dispatch(room, name, **said)
        self.people.append(person)
        return person

    async def served_person(self, room: str, **said: Any) -> Person:
        """The same, and wait until the agent answers."""
        person = await self.comes(room, **said)
        job = await self.served(lambda: self.job(room))
        person.agent = job.state.participant_identity
        await person.reaches()
        return person

    def job(self, room: str, name: str = "desk") -> agent.Job | None:
        """Return the room's job once somebody has it."""
        return next((job for job in self.jobs(room, name) if job.state.participant_identity), None)

    async def crowd(self, count: int, prefix: str = "room") -> list[Person]:
        """Let so many people be served, each in a room of their own."""
        return list(await asyncio.gather(*(self.served_person(f"{prefix}-{n}") for n in range(count))))

    async def leaves(self, person: Person) -> None:
        """Let somebody hang up; return once the call has ended."""
        self.people.remove(person)
        await person.caller.close()
        await self.until(lambda now: all(each.room != person.room for each in now.sessions))

    def shard_of(self, person: Person) -> int:
        """Return the number of the shard that has a person's call."""
        return next(each.shard for each in self.pool.snapshot().sessions if each.room == person.room)

    def pid_of(self, shard: int) -> int:
        """Return a shard's process."""
        return next(each.pid for each in self.pool.snapshot().shards if each.number == shard)


@contextlib.asynccontextmanager
async def chaos_stage(*paths: Path, **settings: Any) -> AsyncIterator[Chaos]:
    """Run a server with real media, a pool of these files, and callers."""
    # An agent stays until its room ends, which is soon after the last person has left.
    config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, room=RoomDefaults(departure_timeout=1))
    async with (
        callers() as make,
        pool_stage(*paths, engine=Str0mEngine(EngineConfig()), config=config, **settings) as stage,
    ):
        yield Chaos(stage.server, stage.url, stage.pool, stage.output, stage.news, make=make)


async def remembered() -> None:
    """Return when the pool has surely been told what was said last, while nobody says more."""
    await asyncio.sleep(0.3)


async def gap(person: Person, since: float, old: int) -> float:
    """Return how long after ``since`` somebody is answered by another process than ``old``."""
    await person.reaches(besides=old)
    return time.monotonic() - since


def told_of(gaps: Iterable[float]) -> str:
    """Return the middle and the worst of some times, in words."""
    found = sorted(gaps)
    return f"p50 {statistics.median(found):.2f} s, max {found[-1]:.2f} s of {len(found)}"


def said(history: list[dict[str, object]]) -> list[object]:
    """Return what was said, and what each line is known by."""
    return [(item["id"], item["role"], item["content"]) for item in history if item["type"] == "message"]


def kill(pid: int, number: signal.Signals) -> float:
    """Send a signal; return when."""
    os.kill(pid, number)
    return time.monotonic()


async def all_of(works: Iterable[Awaitable[Any]]) -> list[Any]:
    """Wait for several things at once."""
    return list(await asyncio.gather(*works))
