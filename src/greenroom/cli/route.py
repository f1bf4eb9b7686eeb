"""``greenroom route``: which agent a call would go to, and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from greenroom.cli._api import Api, ApiError, print_json
from greenroom.cli._configuration import Configuration, read_configuration
from greenroom.cli._options import RouteOptions
from greenroom.cli._paper import plain
from greenroom.cli._schema import PoolSection
from greenroom.cli._settings import ApiTarget, flags_of
from greenroom.errors import ConfigError, GreenroomError
from greenroom.pool.admission import (
    Offer,
    Refusal,
    Routed,
    Router,
    Step,
    TenantTable,
    configured,
    explain,
    may_use,
    tenant_of,
    tenants_of,
)
from greenroom.pool.manifest import Declared, agent_files, declared_by, read_manifest
from greenroom.pool.settings import TenantSettings, TenantsSettings
from greenroom.reports import PoolSnapshot

_FLAGS = {"first_prefix": "pool.first_prefix", "only_registered_rooms": "pool.only_registered_rooms"}
_PUBLISHER = 1


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints: exactly one of ``agent`` and ``refusal`` is there."""

    agent: str | None
    tenant: str | None
    rule: str
    refusal: Refusal | None
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def explain_command(
    paths: Sequence[Path],
    url: str | None,
    options: RouteOptions,
    *,
    as_json: bool,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Print the explanation; 0 when an agent takes the call, 1 when it is refused. Raises :class:`GreenroomError`."""
    offer = _offer(options)
    if url and paths:
        raise ConfigError("--url asks a pool that runs, which has its agents", fix="Pass either --url or files")
    said = read_configuration(options.config, environment, flags_of(options, _FLAGS))
    declared = _running(url) if url else _loaded(paths, said, environment)
    routed = Routed(number=0, agent=options.router_says) if options.router_says is not None else None
    router = Router(
        declared.agents,
        first_prefix=declared.first_prefix,
        only_registered_rooms=declared.only_registered_rooms,
    )
    routing = router.route(offer, routed, sessions=declared.sessions)
    tenant = tenant_of(offer)
    refusal = routing.refusal
    if routing.agent is not None:
        refusal = tenant if isinstance(tenant, Refusal) else _denied(tenant, routing.agent.name, None if url else said)
    notes = list(declared.notes)
    if declared.routes and routed is None:
        notes.append("the program has a router, which was not asked: say what it answers with --router-says")
    if as_json:
        print_json(
            Explanation(
                agent=None if refusal or routing.agent is None else routing.agent.name,
                tenant=tenant if isinstance(tenant, str) else None,
                rule=routing.rule,
                refusal=refusal,
                steps=routing.steps,
                notes=tuple(notes),
            )
        )
    else:
        lines = explain(routing)
        if routing.agent is not None:
            *lines, _ = lines
            lines.append(f"agent: {routing.agent.name} (by {routing.rule})")
            lines += [f"tenant: {tenant}"] if isinstance(tenant, str) else []
            lines.append(f"-> {routing.agent.name}" if refusal is None else f"-> refused: {refusal.message}")
        print(*map(plain, lines), sep="\n")
        print(*(f"note: {plain(note)}" for note in notes), sep="\n", end="\n" if notes else "", file=sys.stderr)
    return 0 if refusal is None else 1


def _offer(options: RouteOptions) -> Offer:
    attributes = {}
    for given in options.attribute or ():
        name, equals, value = given.partition("=")
        if not (name and equals):
            message = f"--attribute '{given}' is not usable"
            raise ConfigError(message, fix="For example: --attribute greenroom.agent=sales")
        attributes[name] = value
    return Offer(
        job_id="AJ_example",
        room=options.room,
        room_metadata=options.room_metadata,
        metadata=options.metadata,
        attributes=attributes,
        dispatch=options.agent_name,
        job_type=_PUBLISHER if options.publisher else 0,
    )


def _loaded(paths: Sequence[Path], said: Configuration, environment: Mapping[str, str]) -> Declared:
    section: Any = said.section("pool", PoolSection)
    files = agent_files([*paths] or [Path(path) for path in section.paths])
    if not files:
        raise ConfigError("No agents are named", fix="Pass a file or a directory, or set pool.paths")
    found = declared_by(read_manifest(files, environment=environment))
    return msgspec.structs.replace(
        found,
        agents=configured(found.agents, section.agents, section.placement),
        first_prefix=_first(section.first_prefix, found.first_prefix),
        only_registered_rooms=_first(section.only_registered_rooms, found.only_registered_rooms),
    )


def _running(url: str) -> Declared:
    try:
        snapshot = Api(ApiTarget(url=url.rstrip("/"))).get("/pool", PoolSnapshot)
    except ApiError as error:
        raise GreenroomError(
            f"No pool answers at {url}",
            fix="Name the HTTP port of a pool on this machine, for example --url http://127.0.0.1:8081",
            context={"problem": error.message},
        ) from None
    found = declared_by(snapshot)
    return msgspec.structs.replace(found, notes=(*found.notes, *_hindrances(snapshot)))


def _hindrances(snapshot: PoolSnapshot) -> list[str]:
    """Return why a pool that runs would refuse any call now. What agents and tenants may have it knows itself."""
    if snapshot.state != "serving":
        return [f"the pool is {snapshot.state}: it takes no call now"]
    taken = len(snapshot.sessions)
    if taken >= snapshot.max_sessions:
        return [f"the pool has {taken} of {snapshot.max_sessions} sessions: it takes no call now"]
    return []


def _denied(tenant: str, agent: str, said: Configuration | None) -> Refusal | None:
    """Return why a tenant does not get an agent, as far as files say; a running pool knows more, which is its own."""
    if said is None:
        return None
    section = said.section("tenants", TenantsSettings)
    table = TenantTable(section.known, strict=section.strict)
    if section.file is not None:
        try:
            table.replace_file(tenants_of(Path(section.file).read_bytes(), path=section.file))
        except OSError as error:
            raise ConfigError(
                f"The file of tenants {section.file} cannot be read: {error.strerror}", fix="Correct tenants.file"
            ) from None
    found: TenantSettings | Refusal = table.settle(tenant, table.find(tenant, 0.0))
    return found if isinstance(found, Refusal) else may_use(found, tenant, agent)


def _first(said: bool | None, code: bool) -> bool:
    return code if said is None else said
