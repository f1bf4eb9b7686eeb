"""What an unmodified agent says of its task, by LiveKit's own means, reaches the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import ServerConfig
from greenroom.eventlog import EventLog
from greenroom.fleet import Fleet, FleetTask
from greenroom.ingest import LiveWatch, WatchSettings
from greenroom.link import LiveKit, ObservePolicy, Observer, When
from support.serving import KEY, running_server
from support.session_stage import PATIENCE
from support.stock_worker import stock_worker

pytestmark = pytest.mark.conformance

QUICK = WatchSettings(rest=0.05, states=0.1)

#: Knows nothing of Greenroom. It states by attributes what it begins with, and by texts how it goes on.
AGENT = """
import asyncio
import json

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer(host="127.0.0.1", port=0, num_idle_processes=1, load_threshold=100)


@server.rtc_session(agent_name="clerk")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    me = ctx.room.local_participant
    await me.set_attributes({
        "greenroom.task.title": "Move an appointment",
        "greenroom.task.progress": "20",
        "greenroom.task.priority": "high",
        "greenroom.integrations": "calendar, email",
        "greenroom.domain": "productivity",
    })

    async def report() -> None:
        while True:
            await me.send_text(json.dumps({"progress": 60, "description": "asks the clinic"}), topic="greenroom.status")
            await asyncio.sleep(0.2)

    ctx.reporting = asyncio.create_task(report())


if __name__ == "__main__":
    cli.run_app(server)
"""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet beside a server, with a call that its agent has begun."""
    settings = ServerConfig(keys=(KEY,), port=0, rtc_port=0)
    async with (
        running_server(Str0mEngine(EngineConfig()), settings) as (server, url),
        stock_worker(url, tmp_path, source=AGENT, development=False),
        await EventLog.open(tmp_path / "log.db") as log,
        Fleet(log) as opened,
    ):
        livekit = LiveKit(url, KEY)
        observer = Observer(livekit, log.append, ObservePolicy(when=When.ALWAYS))
        watch = LiveWatch(log, livekit, observer, settings=QUICK)
        await watch.start()
        server.agents.create_dispatch("lobby", agent_name="clerk")
        yield opened
        await watch.aclose()
        await observer.aclose()
        await livekit.aclose()


async def test_an_agent_states_its_task_by_attributes_and_texts(fleet: Fleet) -> None:
    told = asyncio.Event()
    fleet.listen(lambda _: told.set())
    async with asyncio.timeout(PATIENCE):
        while (task := only(fleet)) is None or task.progress != 60:
            told.clear()
            await told.wait()
    assert (task.title, task.description) == ("Move an appointment", "asks the clinic")
    assert (task.priority, task.domain, task.integrations) == ("high", "productivity", ("calendar", "email"))


def only(fleet: Fleet) -> FleetTask | None:
    return next((task for task in fleet.view().tasks if task.status == "in_progress"), None)
