"""What files with agents declare, learnt as a pool learns it: by a nursery that loads them, and ends."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from greenroom.errors import GreenroomError
from greenroom.pool._model import AgentSpec, Kind, Manifest
from greenroom.pool._wire import Load, Loaded, Loading, Quit, ShardSettings, encode, from_nursery
from greenroom.pool.discovery import Discovery, shown
from greenroom.reports import PoolSnapshot

_CHUNK: Final = 256 * 1024
_LENGTH: Final = 4
_LAST_LINES: Final = 5
_FAILED: Final = "failed"


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which agent a call goes to.

    :param sessions: how many each agent has.
    :param routes: whether the program has a router of its own.
    :param notes: what is not in service, in words.
    """

    agents: tuple[AgentSpec, ...]
    first_prefix: bool = False
    only_registered_rooms: bool = False
    routes: bool = False
    sessions: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()


def declared_by(told: Manifest | PoolSnapshot) -> Declared:
    """Return what files declare, or what a pool that runs tells of itself."""
    if isinstance(told, Manifest):
        return Declared(
            agents=told.agents,
            first_prefix=bool(told.options.first_prefix),
            only_registered_rooms=bool(told.options.only_registered_rooms),
            routes=told.options.routes,
            notes=tuple(
                f"not in service: {shown(Path(each.source), each.line)}: {each.message}" for each in told.failures
            ),
        )
    serving = [agent for agent in told.agents if agent.state != _FAILED]
    return Declared(
        agents=tuple(
            AgentSpec(
                name=agent.name,
                dispatch=agent.dispatch,
                kind=Kind(agent.kind),
                job_type=agent.job_type,
                capabilities=agent.capabilities,
            )
            for agent in serving
        ),
        first_prefix=told.first_prefix,
        only_registered_rooms=told.only_registered_rooms,
        routes=told.routes,
        sessions={agent.name: agent.sessions for agent in serving},
        notes=tuple(f"not in service: {agent.detail}" for agent in told.agents if agent.state == _FAILED),
    )


def agent_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files with agents that are named, or are in directories that are. Raises :class:`ConfigError`."""
    found: list[Path] = []
    for path in paths:
        discovery = Discovery(path)
        found += discovery.require_agents().agents if path.is_dir() else [path.resolve()]
    return list(dict.fromkeys(found))


def read_manifest(
    files: Sequence[Path], *, environment: Mapping[str, str] = os.environ, patience: float = 60.0
) -> Manifest:
    """Load files in a process of their own, which runs them as far as a pool does before any call. Blocks.

    :param patience: seconds until the next sign of life.
    :raises GreenroomError: when loading ends or hangs that process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, tempfile.TemporaryFile() as output:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                [sys.executable, "-m", "greenroom.pool.shard", "--socket", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        try:
            ours.sendall(encode(Load(paths=tuple(map(str, files)), shard=ShardSettings())))
            found = _loaded(ours, patience)
            if isinstance(found, Manifest):
                ours.sendall(encode(Quit()))
                return found
        except OSError:
            found = ""
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        what = f"Loading {found}" if found else "Loading the agents"
        raise GreenroomError(
            "\n".join([f"{what} ended or hung the process that loads agents", *lines]), fix="Mend the file"
        )


def _loaded(end: socket.socket, patience: float) -> Manifest | str:
    """Return what was loaded, or the file that was being loaded at last."""
    loading, buffer = "", bytearray()
    while True:
        readable, _, _ = select.select([end], [], [], patience)
        data = end.recv(_CHUNK) if readable else b""
        if not data:
            return loading
        buffer += data
        while len(buffer) >= _LENGTH and len(buffer) >= (size := _LENGTH + int.from_bytes(buffer[:_LENGTH], "big")):
            message = from_nursery.decode(bytes(buffer[_LENGTH:size]))
            del buffer[:size]
            if isinstance(message, Loaded):
                return message.manifest
            if isinstance(message, Loading):
                loading = message.source
