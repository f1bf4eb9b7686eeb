"""The command line of a program that ends with ``pool.run()``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from greenroom.config import DEV_KEY, DEV_SECRET, is_loopback
from greenroom.errors import ConfigError, GreenroomError

if TYPE_CHECKING:
    from greenroom.pool.api._options import PoolOptions
    from greenroom.pool.api._pool import AgentPool

_FAILED: Final = 2
_USAGE: Final = """\
Usage: python {program} COMMAND [OPTIONS]

  start            Run the pool: greenroom agents {program} [OPTIONS].
  dev              Run it for development: saved files come into service. --no-reload leaves that out.
  console          One call in this terminal; with --connect-addr HOST:PORT for lk agent console.
  connect          One call in a room: --room ROOM [--participant-identity IDENTITY].
  download-files   Fetch the files that installed LiveKit plugins need.

The options of start and dev are those of greenroom agents: greenroom agents --help.
"""


def main(pool: AgentPool, arguments: Sequence[str] | None = None) -> None:
    """Do what the arguments of this program say; for a command that runs on, this process becomes another.

    :param arguments: those of the process by default.
    :raises SystemExit: with 2 and a line on stderr for what the person can mend.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _main(pool, given)
    except GreenroomError as error:
        print(f"greenroom: {error}", file=sys.stderr)
        raise SystemExit(_FAILED) from None


def _main(pool: AgentPool, given: list[str]) -> None:
    command, *rest = given or ["--help"]
    if command in {"--help", "-h", "help"}:
        print(_USAGE.format(program=Path(sys.argv[0]).name or "main.py"), end="")
    elif command in {"start", "dev"}:
        _become("-m", "greenroom", *pool_command(_own_file(), command, rest, pool.options))
    elif command == "download-files":
        _become("-m", "livekit.agents", "download-files", *rest)
    elif command == "console" and (address := option("--connect-addr", rest)):
        _tcp_console(pool, address, record="--record" in rest)
    elif command in {"console", "connect"}:
        _stock(pool)
    else:
        raise ConfigError(f"There is no command '{command}'", fix="Use start, dev, console, connect or download-files")


def pool_command(file: str, command: str, rest: Sequence[str], options: PoolOptions) -> list[str]:
    """Return the arguments of ``greenroom`` that run a program's pool.

    What is left of the program's own arguments goes on to it, so that it is told there what it does not know.
    """
    told = ["agents", file]
    flags = [each for each in rest if each not in {"--reload", "--no-reload"}]
    if command == "dev":
        told.append("--dev")
        if "--no-reload" in rest:
            told.append("--no-watch")
    elif options.hot_reload:
        told.append("--watch")
    return told + flags


def option(name: str, arguments: Sequence[str]) -> str:
    """Return the value of an option, written either way; empty when it is not there."""
    for place, argument in enumerate(arguments):
        if argument == name and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return ""


def _own_file() -> str:
    file = getattr(sys.modules["__main__"], "__file__", None)
    if not file:
        raise ConfigError("A pool can only be run from a file", fix="Save the program, then: python main.py dev")
    return str(Path(file).resolve())


def _become(*arguments: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing of the program may stay in the process that supervises it.
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - our own interpreter


def _tcp_console(pool: AgentPool, address: str, *, record: bool) -> None:
    from livekit.agents.__main__ import main as stock  # noqa: PLC0415

    from greenroom.pool.api import _console  # noqa: PLC0415

    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ConfigError(f"'{address}' is no address of a console", fix="Pass --connect-addr HOST:PORT")
    _console.server = pool.server
    raise SystemExit(
        stock(["console", _console.__file__, "--connect-addr", address, *(["--record"] if record else [])])
    )


def _stock(pool: AgentPool) -> None:
    """Let livekit-agents read the arguments; its own command line is called deprecated, this call is not."""
    _name_server()
    from livekit.agents import cli  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cli.run_app(pool.server)


def _name_server() -> None:
    """Fill in what ``greenroom agents`` takes for granted: a server on this machine, with the development key."""
    said = os.environ
    url = said.setdefault("LIVEKIT_URL", "ws://127.0.0.1:7880")
    if said.get("LIVEKIT_API_KEY") and said.get("LIVEKIT_API_SECRET"):
        return
    if not is_loopback(urlsplit(url).hostname or ""):
        raise ConfigError(
            f"There is no API key for {url}", fix="Set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, both of that server"
        )
    said["LIVEKIT_API_KEY"], said["LIVEKIT_API_SECRET"] = DEV_KEY, DEV_SECRET
