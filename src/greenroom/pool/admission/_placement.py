"""In which process a call runs."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from greenroom.pool._model import AgentSpec, Placement


class ShardKind(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a shard is: everybody, one tenant, or one call."""

    placement: Placement = Placement.SHARED
    tenant: str = ""


class ShardState(StrEnum):
    """What a shard can do. Only one that is ready gets calls; one that starts can be waited for."""

    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    RETIRING = "retiring"


class ShardView(msgspec.Struct, frozen=True, kw_only=True):
    """A shard as placement sees it.

    :param sessions: that it has, including those on their way to it.
    :param used: whether it ever had one; a dedicated shard serves one call.
    :param lag: of its loop at worst lately, seconds.
    :param limited: whether it holds as much memory as it may.
    """

    number: int
    kind: ShardKind = ShardKind()
    generation: int = 0
    state: ShardState = ShardState.READY
    sessions: int = 0
    used: bool = False
    lag: float = 0.0
    limited: bool = False


class PlacementLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What there may be at most.

    :param shared: shards for everybody, of one generation.
    :param processes: shards of all kinds together, those that retire not counted; 0 is any number.
    :param capacity: sessions in one shard; 0 is any number.
    """

    shared: int = 1
    processes: int = 0
    capacity: int = 0


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A shard takes the call now."""

    number: int


class WaitFor(msgspec.Struct, frozen=True, kw_only=True):
    """A shard takes the call as soon as it has started."""

    number: int


class NeedShard(msgspec.Struct, frozen=True, kw_only=True):
    """A shard of this kind has to be forked, which then takes the call."""

    kind: ShardKind


class NoPlace(msgspec.Struct, frozen=True, kw_only=True):
    """No shard takes the call."""

    why: str


def kind_for(agent: AgentSpec, tenant: str) -> ShardKind:
    """Return which kind of shard a call needs."""
    of_tenant = agent.placement is Placement.TENANT
    return ShardKind(placement=agent.placement, tenant=tenant if of_tenant else "")


def place(
    shards: Iterable[ShardView], kind: ShardKind, limits: PlacementLimits
) -> Placed | WaitFor | NeedShard | NoPlace:
    """Return which shard takes a call: the newest code first, then the fewest sessions, then the least lag."""
    alive = [each for each in shards if each.state is not ShardState.RETIRING]
    own = [each for each in alive if each.kind == kind]
    free = [each for each in own if _has_room(each, limits)]
    ready = [each for each in free if each.state is ShardState.READY]
    starting = [each for each in free if each.state is ShardState.STARTING]
    if ready:
        return Placed(number=min(ready, key=_order).number)
    newest = max((each.generation for each in alive), default=0)
    wanted = limits.shared if kind.placement is Placement.SHARED else 0
    current = sum(each.generation == newest for each in own)
    if starting:
        return WaitFor(number=min(starting, key=_order).number)
    if wanted and current >= wanted:
        return NoPlace(why=_why(own, limits))
    if limits.processes and len(alive) >= limits.processes:
        return NoPlace(why=f"all {limits.processes} processes that the pool may have are there")
    return NeedShard(kind=kind)


def _has_room(shard: ShardView, limits: PlacementLimits) -> bool:
    if shard.limited or shard.state is ShardState.STALLED:
        return False
    if shard.kind.placement is Placement.DEDICATED:
        return not shard.used and not shard.sessions
    return not limits.capacity or shard.sessions < limits.capacity


def _order(shard: ShardView) -> tuple[int, int, float, int]:
    return -shard.generation, shard.sessions, shard.lag, shard.number


def _why(own: list[ShardView], limits: PlacementLimits) -> str:
    counts = {
        "stalled": sum(each.state is ShardState.STALLED for each in own),
        "at their memory limit": sum(each.limited for each in own),
        "full": sum(bool(limits.capacity) and each.sessions >= limits.capacity for each in own),
    }
    return "shards: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)
