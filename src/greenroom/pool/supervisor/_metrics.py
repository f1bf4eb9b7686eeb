"""A pool's figures in Prometheus' text format. Names of rooms and jobs stand in none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from greenroom.reports import PoolSnapshot

_Labels: TypeAlias = tuple[tuple[str, str], ...]


def metrics_of(snapshot: PoolSnapshot, ended: Mapping[tuple[str, str, str], int], seconds: float, lag: float) -> str:
    """Return the figures.

    :param ended: sessions by agent, tenant and how they ended.
    :param seconds: that all ended sessions took together.
    :param lag: of the supervisor's own event loop at worst lately, in seconds.
    """
    lines: list[str] = []

    def add(name: str, kind: str, what: str, values: Iterable[tuple[_Labels, float]]) -> None:
        lines.append(f"# HELP greenroom_pool_{name} {what}")
        lines.append(f"# TYPE greenroom_pool_{name} {kind}")
        lines.extend(f"greenroom_pool_{name}{_written(labels)} {value:.10g}" for labels, value in values)

    sessions = Counter((session.agent, session.tenant) for session in snapshot.sessions)
    add("up", "gauge", "Whether the pool takes calls.", [((), float(snapshot.state == "serving"))])
    add("load", "gauge", "Share of all places that is taken.", [((), snapshot.load)])
    add("max_sessions", "gauge", "Places.", [((), snapshot.max_sessions)])
    add("generation", "gauge", "Of the code in service.", [((), snapshot.generation)])
    add("sessions", "gauge", "Sessions that run.", _two(sessions))
    add("sessions_started_total", "counter", "Sessions begun.", [((), snapshot.started)])
    add("sessions_rescued_total", "counter", "Times a session went on in another shard.", [((), snapshot.rescued)])
    add(
        "sessions_ended_total",
        "counter",
        "Sessions ended, by how; rescued and moved are ends of a stay in one shard.",
        [
            ((("agent", agent), ("tenant", tenant), ("kind", kind)), count)
            for (agent, tenant, kind), count in ended.items()
        ],
    )
    add("session_seconds_total", "counter", "What all ended sessions took.", [((), seconds)])
    add(
        "offers_refused_total",
        "counter",
        "Offers refused, by why.",
        [((("reason", reason),), count) for reason, count in snapshot.refused.items()],
    )
    add("breakers_open", "gauge", "Providers of tenants that are kept from calls.", [((), len(snapshot.breakers))])
    add("loop_lag_seconds", "gauge", "The supervisor's event loop at worst.", [((), lag)])
    add("shards", "gauge", "Shards, by state.", [((("state", state),), count) for state, count in _states(snapshot)])
    for name, what, field in (
        ("shard_sessions", "Sessions of a shard.", "sessions"),
        ("shard_loop_lag_seconds", "A shard's event loop at worst.", "lag"),
        ("shard_cpu", "Share of one core.", "cpu"),
        ("shard_rss_bytes", "Resident memory, shared parts in full.", "rss"),
        ("shard_pss_bytes", "Resident memory, shared parts in proportion.", "pss"),
        ("shard_uss_bytes", "Memory that is the shard's own.", "uss"),
    ):
        values = [((("shard", str(shard.number)),), getattr(shard, field)) for shard in snapshot.shards]
        add(name, "gauge", what, [(labels, value) for labels, value in values if value is not None])
    return "\n".join([*lines, ""])


def _two(counts: Mapping[tuple[str, str], int]) -> list[tuple[_Labels, float]]:
    return [((("agent", agent), ("tenant", tenant)), count) for (agent, tenant), count in counts.items()]


def _states(snapshot: PoolSnapshot) -> list[tuple[str, int]]:
    return sorted(Counter(shard.state for shard in snapshot.shards).items())


def _written(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
