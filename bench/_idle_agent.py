"""A plain LiveKit agent that joins, says so to the bench and does nothing else."""

from __future__ import annotations

import os
import socket

from livekit.agents import AgentServer, JobContext, JobProcess

_HOST, _, _PORT = os.environ.get("BENCH_REPORT", "").partition(":")


def report(text: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outlet:
        outlet.sendto(text.encode(), (_HOST, int(_PORT)))


def warm(_process: JobProcess) -> None:
    report("warm")


# A bench loads the machine on purpose; the worker must not refuse jobs for it.
server = AgentServer(setup_fnc=warm, load_threshold=float("inf"), host="127.0.0.1", port=0)


@server.rtc_session()
async def entrypoint(context: JobContext) -> None:
    report(f"job {context.job.room.name}")
    await context.connect()
