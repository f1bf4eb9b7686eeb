"""``greenroom list``: the agents in some files, and what their calls take of a machine, about."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from greenroom.cli._api import print_json
from greenroom.cli._paper import Paper, plain
from greenroom.errors import ConfigError
from greenroom.pool.discovery import shown
from greenroom.pool.manifest import agent_files, declared_by, read_manifest
from greenroom.pool.settings import AgentSpec, Placement

#: MB, measured on 2 cores with livekit-agents 1.8.9: docs/pool-api.md says how.
POOL_MB: Final = 149.0
SHARD_MB: Final = 10.0
CALL_MB: Final = 2.0
_ESTIMATE: Final = (
    f"Estimated: an idle pool with one shard {POOL_MB:g} MB, each further shard {SHARD_MB:g} MB, each call "
    f"{CALL_MB:g} MB with LiveKit's voice activity. What providers and the agent's own code hold comes on top."
)


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent takes, estimated. ``call_mb`` is of one call more, ``source_bytes`` is the size of its file."""

    source_bytes: int | None
    call_mb: float


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as ``--json`` prints it."""

    name: str
    kind: str
    dispatch: str
    source: str
    placement: str
    capabilities: tuple[str, ...]
    providers: dict[str, str]
    max_sessions: int | None
    resources: Resources | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints. The figures of the pool are there with ``--resources``."""

    agents: tuple[Listed, ...]
    notes: tuple[str, ...]
    pool_mb: float | None = None
    shard_mb: float | None = None
    estimated: bool = False


def list_command(
    paths: Sequence[Path],
    *,
    resources: bool,
    as_json: bool,
    as_plain: bool,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Print the agents; 1 when there is none. Raises :class:`GreenroomError`."""
    if as_json and as_plain:
        raise ConfigError("--json and --plain exclude each other", fix="Pass one of them")
    files = agent_files(paths or [Path()])
    declared = declared_by(read_manifest(files, environment=environment)) if files else None
    found = [listed(each, resources=resources) for each in declared.agents] if declared else []
    notes = declared.notes if declared else ()
    if as_json:
        said = Listing(agents=tuple(found), notes=notes)
        if resources:
            said = msgspec.structs.replace(said, pool_mb=POOL_MB, shard_mb=SHARD_MB, estimated=True)
        print_json(said)
    else:
        lines = lines_of(found, Paper() if as_plain else Paper.here(), as_plain=as_plain)
        print(*lines, sep="\n", end="\n" if lines else "")
        if resources and found and not as_plain:
            print(_ESTIMATE)
        for note in notes:
            print(f"note: {plain(note)}", file=sys.stderr)
    if not found and not as_json:
        print("no agents", file=sys.stderr)
    return 0 if found else 1


def listed(agent: AgentSpec, *, resources: bool) -> Listed:
    """Return an agent as it is printed."""
    return Listed(
        name=agent.name,
        kind=str(agent.kind),
        dispatch=agent.dispatch,
        source=agent.source,
        placement=str(agent.placement),
        capabilities=agent.capabilities,
        providers=agent.providers,
        max_sessions=agent.max_sessions,
        resources=footprint(agent) if resources else None,
    )


def footprint(agent: AgentSpec) -> Resources:
    """Return what an agent takes, estimated by where its calls are placed."""
    try:
        size = Path(agent.source).stat().st_size
    except OSError:
        size = None
    own = SHARD_MB if agent.placement is Placement.DEDICATED else 0.0
    return Resources(source_bytes=size, call_mb=CALL_MB + own)


def lines_of(agents: Sequence[Listed], paper: Paper, *, as_plain: bool) -> list[str]:
    """Return a table; or, plain, a line for each agent with tabs between what is known of it."""
    rows = [_row(each) for each in agents]
    if as_plain:
        return ["\t".join(row) for row in rows]
    head = ["AGENT", "KIND", "DISPATCH", "PLACEMENT", "PROVIDERS", "FILE"]
    if any(each.resources for each in agents):
        head += ["SIZE", "MB A CALL"]
    return paper.table(head, rows) if rows else []


def _row(each: Listed) -> list[str]:
    providers = " ".join(f"{kind}={label}" for kind, label in each.providers.items()) or "-"
    dispatch = each.dispatch or "(every room)"
    row = [each.name, each.kind, dispatch, each.placement, providers, shown(Path(each.source))]
    if each.resources is not None:
        size = each.resources.source_bytes
        row += ["?" if size is None else f"{size / 1024:.1f} KiB", f"{each.resources.call_mb:g}"]
    return [plain(cell) for cell in row]
