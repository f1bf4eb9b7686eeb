"""An agent program whose sessions all say whose they are, in every way in which a program can say something."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import time

from livekit.agents import AgentServer, JobContext
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from greenroom.pool import context

server = AgentServer()
logger = logging.getLogger("voices")
ROUNDS = 20


class Spelled(SpanExporter):
    """Writes each span's name and scope as a line of its own."""

    def export(self, spans: list[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            words = " ".join(str((span.attributes or {}).get(f"greenroom.{key}")) for key in ("session", "tenant"))
            os.write(1, f"SPAN {span.name} {words}\n".encode())
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Spelled()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("voices")


@server.rtc_session(agent_name="voices")
async def entrypoint(ctx: JobContext) -> None:
    mine = ctx.job.id
    mode = ctx.job.metadata
    assert context.current_session_id() == mine
    assert context.current_agent_name() == "voices"
    if mode.startswith("burn"):
        await burn(ctx)
    elif mode == "hold":
        ctx.proc.userdata["held"] = bytearray(b"x") * (200 << 20)
        await asyncio.sleep(3600)
    elif mode == "idle":
        await asyncio.sleep(3600)
    elif mode == "block":
        time.sleep(1.5)  # noqa: ASYNC251 - it is what is looked for
    elif mode == "seize":
        logger.info("seizing")
        ctypes.PyDLL(None).usleep(30_000_000)
    await speak(mine)
    ctx.shutdown("said everything")


async def speak(mine: str) -> None:
    """Say one's own id on every way out there is."""
    loop = asyncio.get_running_loop()
    for _ in range(ROUNDS):
        logger.info("logged %s", mine, extra={"tenant": "nonsense"})
        sys.stdout.write(f"printed {mine} ")
        await asyncio.sleep(0)
        sys.stdout.write(f"{mine}\n")
        with tracer.start_as_current_span(mine):
            await asyncio.sleep(0.001)
        loop.call_soon(logger.info, "called %s", mine)
        await asyncio.to_thread(logger.info, "threaded %s", mine)
        await loop.run_in_executor(None, logger.info, "executed %s", mine)
        await asyncio.gather(*(asyncio.create_task(whisper(mine)) for _ in range(3)))


async def whisper(mine: str) -> None:
    await asyncio.sleep(0.001)
    logger.info("whispered %s %s", mine, context.current_tenant_id())


async def burn(ctx: JobContext) -> None:
    """Use half a core, in pieces that hold nobody up."""
    while True:
        until = time.thread_time() + 0.005
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.005)
