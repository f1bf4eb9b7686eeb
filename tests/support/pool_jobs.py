"""Jobs for a shard without a server: nobody connects, so nothing but the shard is tried."""

from __future__ import annotations

from typing import Any

from livekit.protocol import agent, models

from greenroom.pool import _wire as wire
from support.pool_nursery import Process

#: Notes to the file NOTES; what it does is the job's metadata.
PROGRAM = """
import asyncio, gc, logging, os, sys, time
from livekit.agents import AgentServer, JobContext, JobProcess

server = AgentServer()


def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        print(*words, file=file)


def counted():
    gc.collect()
    from livekit import rtc
    objects = gc.get_objects()
    return {
        "contexts": sum(isinstance(each, JobContext) for each in objects),
        "rooms": sum(isinstance(each, rtc.Room) for each in objects),
        "filters": sum(len(handler.filters) for handler in logging.getLogger().handlers),
        "handlers": len(logging.getLogger().handlers),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "temporary": len(os.listdir(os.environ["TMPDIR"])),
        "threads": len(os.listdir("/proc/self/task")),
        "resident": int(open("/proc/self/statm").read().split()[1]) * 4096,
    }


@server.rtc_session(agent_name="tried")
async def entrypoint(ctx: JobContext):
    what = ctx.job.metadata

    async def over(reason):
        note(ctx.job.id, "over", reason)

    ctx.add_shutdown_callback(over)
    if what == "raise":
        raise ValueError("as told")
    if what == "exit":
        sys.exit(3)
    if what == "task exits":
        async def leave():
            sys.exit(4)
        ctx.kept = asyncio.create_task(leave())
    if what == "thinks":
        ctx.kept = asyncio.create_task(asyncio.sleep(3600))
    if what == "count":
        note(counted())
        ctx.shutdown("counted")
    if what == "never ends":
        ctx.shutdown("soon")
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                note(ctx.job.id, "goes on")
    if what == "hangs on":
        async def hang(reason):
            await asyncio.Event().wait()
        ctx.add_shutdown_callback(hang)
    if what == "panic":
        import ctypes
        from livekit.rtc import _ffi_client
        event = _ffi_client.proto_ffi.FfiEvent()
        event.panic.message = "as told"
        data = event.SerializeToString()
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        _ffi_client.ffi_event_callback(buffer, len(data))
    if what == "crash":
        os.kill(os.getpid(), 11)
    if what == "stubborn":
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                note(ctx.job.id, "is asked to end")
                break
"""


def launch(shard: Process, job_id: str, what: str = "", agent_name: str = "tried", **more: Any) -> None:
    """Have a shard run a job whose room is never joined."""
    job = agent.Job(id=job_id, metadata=what, agent_name=agent_name, room=models.Room(name="r", sid=f"RM_{job_id}"))
    shard.say(
        wire.Launch(
            job_id=job_id,
            agent=agent_name,
            tenant="default",
            job=job.SerializeToString(),
            identity=f"agent-{job_id}",
            url="ws://127.0.0.1:1",
            token="none",
            worker_id="AW_1",
            **more,
        )
    )


async def started(shard: Process, job_id: str) -> wire.Started:
    """Wait until a job's entrypoint runs."""
    return await shard.next(wire.Started, lambda told: told.job_id == job_id)


async def ended(shard: Process, job_id: str) -> wire.Ended:
    """Wait for a job's end."""
    return await shard.next(wire.Ended, lambda told: told.job_id == job_id)
