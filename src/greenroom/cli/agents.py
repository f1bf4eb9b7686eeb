"""``greenroom agents``: a pool of agents on any LiveKit server."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.cli._costs import cost_so_far
from greenroom.cli._options import PoolOptions, PoolWays
from greenroom.cli._pool_settings import pool_configuration, pool_settings
from greenroom.cli._reread import Reread
from greenroom.cli._run import announce_ready, begin_log, run
from greenroom.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from greenroom.pool.supervisor import Output

_log = logging.getLogger("greenroom.pool")
_agents = logging.getLogger("agents")


def agents_command(paths: Sequence[Path], options: PoolOptions, ways: PoolWays, *, watch: bool | None) -> int:
    """Run until told to stop; 0 after a drain, 2 when nothing can run. Raises :class:`GreenroomError`."""
    said = pool_configuration(paths, options, ways, watch=watch)
    begin_log(said)
    settings = pool_settings(said, options)
    reread = Reread(said, paths, options, ways, watch=watch)
    require_paths(settings.paths)
    require_livekit_agents("greenroom agents")
    # What comes next takes seconds.
    _log.info("starting", extra={"paths": [str(path) for path in settings.paths], "url": settings.url})
    from greenroom.pool.supervisor import run_pool  # noqa: PLC0415 - mistakes are told before

    return run(run_pool(settings, announce_ready, on_output=tell, cost_of=cost_so_far, reread=reread))


def require_paths(paths: Sequence[Path]) -> None:
    """Check that there is something to run. Raises :class:`ConfigError`."""
    if not paths:
        raise ConfigError("No agents are named", fix="Pass a file or a directory, or set pool.paths")
    for path in paths:
        if not path.exists():
            raise ConfigError(f"'{path}' does not exist", fix="Name an agent's file, or a directory that holds agents")
        if path.is_file() and path.suffix != ".py":
            raise ConfigError(f"'{path}' is not a Python file", fix="Name an agent's .py file, or a directory")


def tell(output: Output) -> None:
    """Write what a process of the pool printed to the log."""
    where = {} if output.shard is None else {"shard": output.shard}
    record = output.record
    if record is None or not isinstance(record.get("message"), str):
        if output.text.strip():
            _agents.info("%s", output.text.rstrip(), extra={"fields": where})
        return
    named = logging.getLevelName(str(record.get("level", "INFO")).upper())
    level = named if isinstance(named, int) else logging.INFO
    if level <= logging.INFO and str(record.get("logger", "")).partition(".")[0] == "livekit":
        # What livekit-agents says of its ordinary doings is detail here: the pool tells of its calls.
        level = logging.DEBUG
    fields = {name: value for name, value in record.items() if name not in _HIDDEN and not name.startswith("code.")}
    if fields.get("tenant") == "default":
        del fields["tenant"]
    source = str(record.get("agent") or "agents")
    _agents.log(level, "%s", record["message"], extra={"source": source, "fields": fields | where})


_HIDDEN = frozenset({"message", "level", "name", "timestamp", "at", "pid", "agent", "source", "fields"})


def require_livekit_agents(command: str) -> None:
    """Check that the packages are there. Raises :class:`MissingExtraError`."""
    try:
        found = importlib.util.find_spec("livekit.agents")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError(command, "agents")
