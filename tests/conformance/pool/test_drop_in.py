"""Programs that OpenRTC would run, run by a pool, by livekit-agents' own command, and in a console."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.console import console_of
from support.pool_program import write_program
from support.pool_supervised import PoolStage, pool_stage
from support.sdk import Caller, callers
from support.serving import KEY
from support.signal_client import token

pytestmark = pytest.mark.conformance

PATIENCE = 30.0
POOL = """
async def tenants(tenant):
    return {"acme": {"llm": Parrot("acme's")}, "id": {"llm": "offline/llm"}}.get(tenant)


def router(metadata):
    return (metadata or {}).get("wanted")


pool = AgentPool(
    agent_name="cast",
    default_llm=Parrot(),
    default_greeting="Say hello.",
    observers=[Rude(), Witness()],
    router=router,
    tenant_config=tenants,
    deployment_version="v3",
)
pool.add("sales", Sales, room_options=TEXT)
pool.add("sales-eu", Support, room_options=TEXT, capabilities=["de"], greeting=None)
pool.add("support", Support, room_options=TEXT, llm=lambda: Parrot("support's"))

if __name__ == "__main__":
    pool.run()
"""


@dataclass
class Call:
    caller: Caller
    texts: asyncio.Queue[tuple[str, str, object]]

    async def hears(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.texts.get())[1]

    async def asks(self, text: str) -> str:
        await self.caller.me.send_text(text, topic="lk.chat")
        return await self.hears()


@contextlib.asynccontextmanager
async def calling(stage: PoolStage) -> AsyncIterator[object]:
    async with callers() as make:

        async def call(room: str, metadata: str = "", **said: object) -> Call:
            caller = await make().connect(stage.url, token("ada", room, key=KEY))
            call = Call(caller, caller.on_text("lk.transcription"))  # type: ignore[arg-type]
            stage.dispatch(room, "cast", metadata=metadata, **said)
            return call

        yield call


async def test_a_program_of_openrtc_is_routed_greets_and_is_observed(tmp_path: Path) -> None:
    program = write_program(tmp_path / "main.py", POOL)
    async with pool_stage(program, media=True) as stage, calling(stage) as call:
        snapshot = stage.pool.snapshot()
        assert [(each.name, each.dispatch, each.state) for each in snapshot.agents] == [
            ("sales", "cast", "ready"),
            ("sales-eu", "cast", "ready"),
            ("support", "cast", "ready"),
        ]
        first = await call("lobby", '{"key": 5}')
        assert await first.hears() == "parrot hears Say hello."
        assert await first.asks("how are you") == "parrot hears how are you"
        await stage.printed("enters sales default default True")
        await stage.printed("starts sales lobby default 5")

        by_router = await call("two", '{"wanted": "support", "tenant": "acme"}')
        assert await by_router.hears() == "acme's hears Say hello."
        await stage.printed("enters support acme acme True")
        by_name = await call("sales-eu-1")
        await stage.printed("starts sales-eu sales-eu-1 default None")
        assert await by_name.asks("hallo") == "parrot hears hallo"
        by_metadata = await call("three", '{"agent": "support"}')
        assert await by_metadata.hears() == "support's hears Say hello."

        await call("four", '{"agent": "nobody"}')
        await call("five", '{"tenant": "a b"}')
        await stage.until(lambda now: now.refused.get("unknown_agent") and now.refused.get("bad_tenant"))

        await stage.hang_up("lobby")
        await stage.printed("ends lobby success NoneType")
        assert not any("a b" in each.text for each in stage.output if "starts" in each.text)


async def test_each_end_of_a_session_is_told_once_and_truly(tmp_path: Path) -> None:
    tail = """
class Broken(Agent):
    def __init__(self):
        if context.current_scope() is not None:
            raise LookupError("no key")
        super().__init__(instructions="x")


pool = AgentPool(agent_name="cast", default_llm=Parrot(), default_greeting="Hi.", observers=[Witness()])
pool.add("sales", Sales, room_options=TEXT)
pool.add("broken", Broken, room_options=TEXT)
pool.add("draining", Sales, room_options=TEXT, userdata_factory=lambda ctx: pool.begin_drain())
pool.run()
"""
    program = write_program(tmp_path / "main.py", tail)
    async with pool_stage(program, media=True) as stage, calling(stage) as call:
        await call("broken-1")
        await stage.printed("ends broken-1 failed LookupError")
        taken = await call("taken")
        assert await taken.hears() == "parrot hears Hi."
        dispatches = stage.server.agents.list_dispatch("taken")
        (dispatch,) = [each.id for each in dispatches if each.agent_name == "cast"]
        await stage.server.agents.delete_dispatch("taken", dispatch)
        await stage.printed("ends taken cancelled NoneType")
        failing = await call("failing")
        assert await failing.hears() == "parrot hears Hi."
        for _ in range(4):
            await failing.caller.me.send_text("fail", topic="lk.chat")
        await stage.printed("closes failing error")
        await stage.hang_up("failing")
        line = (await stage.printed("ends failing")).text
        assert "ends failing failed ValueError" in line, line
        await call("draining-1")
        await stage.until(lambda now: now.state == "draining")
        await stage.hang_up("draining-1")
        async with asyncio.timeout(PATIENCE):
            await stage.pool.drained()
        ends = [each.text for each in stage.output if '"ends ' in each.text or each.text.startswith("ends ")]
        assert len(ends) == len(set(ends))


CONSOLE = """
pool = AgentPool(default_llm=Parrot(), default_tts="offline/flite", default_greeting="Say hello.")
pool.add("sales", Sales)
{tail}
"""
RUN = 'if __name__ == "__main__":\n    pool.run()'


@pytest.mark.parametrize(
    ("tail", "command"),
    [
        (RUN, ("{program}", "console")),
        ("server = pool.server\n" + RUN, ("-m", "livekit.agents", "console", "{program}")),
    ],
    ids=["main.py console", "livekit.agents console main.py"],
)
async def test_the_same_file_answers_a_console(tmp_path: Path, tail: str, command: tuple[str, ...]) -> None:
    program = write_program(tmp_path / "main.py", CONSOLE.format(tail=tail))
    arguments = [each.format(program=program) for each in command]
    async with console_of(sys.executable, *arguments) as console:
        assert await console.spoken() == "parrot hears Say hello."
        (answer,) = await console.run("good day")
        assert answer.message.content[0].text == "parrot hears good day"
