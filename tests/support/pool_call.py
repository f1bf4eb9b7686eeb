"""Two calls to agents that a pool hosts, one typed and one spoken: server, pool and caller, each a process of its own.

``python -m support.pool_call DIRECTORY`` prints one JSON object about them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import wave
from pathlib import Path

from support.program import greenroom
from support.talking import talk
from support.voice_call import RATE, spoken

_ROOT = Path(__file__).parents[2]
_FRONT_DESK = _ROOT / "examples" / "agents" / "front_desk.py"
_KEY = "devkey:secret"
#: Leaves to livekit-agents how turns end: with its own models for voice activity and for the end of a turn.
_FERRY = """
from greenroom import offline, plugins
from livekit.agents import Agent, AgentServer, AgentSession, JobContext

server = AgentServer()
RULES = [offline.Rule("where are you", "We are at the ferry.")]


@server.rtc_session(agent_name="ferry")
async def entry(ctx: JobContext) -> None:
    session = AgentSession(
        stt=plugins.resolve("stt", "offline/pocketsphinx", rules=RULES),
        llm=plugins.resolve("llm", "offline/llm", rules=RULES),
        tts=plugins.resolve("tts", "offline/flite"),
    )
    await session.start(Agent(instructions=""), room=ctx.room)
    await session.generate_reply(instructions='Greet the caller with: "Hello."')
"""


def outside() -> str:
    """Return what comes of an attempt to leave this machine."""
    try:
        with socket.create_connection(("192.0.2.1", 443), timeout=1):
            return "connected"
    except OSError as error:
        return error.strerror or str(error)


async def calls(directory: Path) -> dict[str, object]:
    """Call both agents; return what the caller's terminal showed, and what the pool told."""
    with wave.open(str(directory / "question.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(spoken("Where are you?", "kal16"))
    ferry = directory / "ferry.py"
    ferry.write_text(_FERRY)
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=directory) as server:
        at = ("--url", (await server.ready()).replace("http", "ws", 1), "--key", _KEY)
        paths = (str(_FRONT_DESK), str(ferry))
        async with greenroom("agents", *paths, *at, "--port", "0", "--shards", "1", cwd=directory) as pool:
            await pool.ready()
            typed = await talk("front-desk", *at, cwd=directory, lines="Where are you?\n")
            audio = ("--microphone", "question.wav", "--speaker", "none")
            said = await talk("ferry", *audio, *at, cwd=directory)
            # The rooms outlive their caller by a while; the second Ctrl-C does not wait for that.
            pool.process.send_signal(signal.SIGINT)
            await pool.line("draining")
            ended = await pool.interrupt()
    return {"outside": outside(), "typed": typed, "said": said, "pool": ended, "told": pool.lines}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(calls(Path(sys.argv[1])))))
