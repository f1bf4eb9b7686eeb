"""``greenroom console PATH --connect-addr``: an agent for the console of LiveKit's CLI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from greenroom.cli.agents import require_livekit_agents
from greenroom.errors import ConfigError


def console_command(path: str | None, address: str, *, record: bool) -> NoReturn:
    """Become livekit-agents' own console client, which connects to ``address``. Raises :class:`GreenroomError`."""
    if not path or not Path(path).is_file():
        what = f"'{path}' is no file" if path else "No file is named"
        raise ConfigError(what, fix="For example: greenroom console agent.py --connect-addr 127.0.0.1:8775")
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"--connect-addr '{address}' is not HOST:PORT", fix="It is where lk agent console listens")
    require_livekit_agents("greenroom console")
    arguments = ["-m", "livekit.agents", "console", path, "--connect-addr", address, *(["--record"] if record else [])]
    # In place of this program: whoever started it stops it by the same id.
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - the arguments are the user's own
