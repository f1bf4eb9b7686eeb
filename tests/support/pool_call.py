"""One spoken call to the packaged agent, hosted by a pool: server, pool and caller, each a process of its own.

``python -m support.pool_call DIRECTORY`` prints one JSON object about it.
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
_AGENT = _ROOT / "examples" / "agents" / "front_desk.py"
_KEY = "devkey:secret"


def outside() -> str:
    """Return what comes of an attempt to leave this machine."""
    try:
        with socket.create_connection(("192.0.2.1", 443), timeout=1):
            return "connected"
    except OSError as error:
        return error.strerror or str(error)


async def call(directory: Path) -> dict[str, object]:
    """Ask a question by voice; return what the caller's terminal showed, and what the pool told of its state."""
    with wave.open(str(directory / "question.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(spoken("Where are you?", "kal16"))
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=directory) as server:
        url = (await server.ready()).replace("http", "ws", 1)
        pool_options = ("--url", url, "--key", _KEY, "--port", "0", "--shards", "1")
        async with greenroom("agents", str(_AGENT), *pool_options, cwd=directory) as pool:
            await pool.ready()
            audio = ("--microphone", "question.wav", "--speaker", "none")
            status, out, err = await talk("front-desk", *audio, "--url", url, "--key", _KEY, cwd=directory)
            # The room outlives the caller by a while; the second Ctrl-C does not wait for that.
            pool.process.send_signal(signal.SIGINT)
            await pool.line("draining")
            ended = await pool.interrupt()
    return {"outside": outside(), "status": status, "out": out, "err": err, "pool": ended, "told": pool.lines}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(call(Path(sys.argv[1])))))
