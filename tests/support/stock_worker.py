"""An unmodified ``livekit-agents`` worker: a program file, run as its users run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from greenroom.config import ApiKey
from support.agent_worker import KEY
from support.program import Program

#: Joins, says that it is there and echoes what it is told. Declines "busy", wants nobody in "never".
ECHO_AGENT = """
import asyncio

from livekit.agents import AgentServer, JobContext, JobRequest, cli

server = AgentServer()


async def on_request(request: JobRequest) -> None:
    if request.room.name in {"busy", "never"}:
        await request.reject(terminate=request.room.name == "never")
    else:
        await request.accept(name="Echo", metadata="m", attributes={"kind": "echo"})


@server.rtc_session(agent_name="echo", on_request=on_request)
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    me = ctx.room.local_participant
    tasks = set()

    async def answer(reader, sender):
        await me.send_text(f"{ctx.job.metadata} {await reader.read_all()}", topic="echo")

    def on_text(reader, sender):
        task = asyncio.create_task(answer(reader, sender))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    ctx.room.register_text_stream_handler("say", on_text)
    await me.set_attributes({"ready": "yes"})


if __name__ == "__main__":
    cli.run_app(server)
"""


@contextlib.asynccontextmanager
async def stock_worker(
    url: str,
    path: Path,
    *,
    key: ApiKey = KEY,
    source: str = ECHO_AGENT,
    development: bool = True,
    extra: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """Run the program from ``path``; its whole process group is killed afterwards.

    :param extra: what its environment holds beside.
    """
    file = path / "echo_agent.py"
    file.write_text(source)
    command = [sys.executable, "-W", "ignore", "-m", "livekit.agents", "start", str(file)]
    if development:
        command.append("--dev")
    environment = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "livekit.agents",
            "start",
            str(file),
            *(["--dev"] if development else []),
        ),
        cwd=path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **environment,
            "LIVEKIT_URL": url,
            "LIVEKIT_API_KEY": key.key,
            "LIVEKIT_API_SECRET": key.secret,
            "PYTHONUNBUFFERED": "1",
            **(extra or {}),
        },
        start_new_session=True,
    )
    program = Program(process)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await program.ended()
