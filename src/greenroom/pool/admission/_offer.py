"""What LiveKit offers, and what it asks for: read, never trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from greenroom.pool._model import DEFAULT_TENANT, TENANT_ATTRIBUTE

_TENANT: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SHOWN: Final = 128


class Reason(StrEnum):
    """Why an offer is refused. These are the keys of ``PoolSnapshot.refused``."""

    NO_AGENT = "no_agent"
    """The pool has no agent for this dispatch name and job type."""
    UNKNOWN_AGENT = "unknown_agent"
    NOT_OURS = "not_ours"
    """Only registered rooms are taken, and nothing in this offer names an agent of the pool."""
    ROUTER = "router"
    """The program's router failed, or named an agent that the pool does not have."""
    CAPABILITY = "capability"
    """No agent has all capabilities that were asked for."""
    BAD_TENANT = "bad_tenant"
    UNKNOWN_TENANT = "unknown_tenant"
    TENANT_UNAVAILABLE = "tenant_unavailable"
    """The tenant's settings could not be read in time."""
    TENANT_AGENT = "tenant_agent"
    """The tenant may not use this agent."""
    FULL = "full"
    FULL_AGENT = "full_agent"
    FULL_TENANT = "full_tenant"
    RUNNING = "running"
    """The same job runs here already."""
    BREAKER = "breaker"
    NO_SHARD = "no_shard"
    DRAINING = "draining"
    FILTER = "filter"
    """The agent's own request filter refused it, failed or was too slow."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why an offer is refused. ``message`` is for a log line; nothing a caller said stands in it."""

    reason: Reason
    message: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A job as decisions see it. ``dispatch`` is the ``agent_name`` that it was dispatched to."""

    job_id: str = ""
    room: str = ""
    room_metadata: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = {}
    dispatch: str = ""
    job_type: int = 0

    @classmethod
    def of(cls, job: Any) -> Offer:
        """Return a ``livekit.protocol.agent.Job`` as an offer."""
        return cls(
            job_id=job.id,
            room=job.room.name,
            room_metadata=job.room.metadata,
            metadata=job.metadata,
            attributes=dict(job.attributes),
            dispatch=job.agent_name,
            job_type=int(job.type),
        )


def mapping_of(metadata: str) -> Mapping[str, object]:
    """Return metadata that is a JSON object; anything else says nothing."""
    text = metadata.strip()
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def shown(name: str) -> str:
    """Return what somebody named as it may stand in a message: short, and nothing in it that a terminal obeys."""
    safe = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return safe if len(safe) <= _SHOWN else f"{safe[:_SHOWN]}…"


def is_tenant(name: str) -> bool:
    """Return whether a name can be a tenant's."""
    return _TENANT.fullmatch(name) is not None


def tenant_of(offer: Offer) -> str | Refusal:
    """Return whose call an offer is: the attribute says it, else the job's metadata, else the room's.

    A blank or a null says nothing. A number counts as its digits. Anything else that cannot be a tenant's name is a
    refusal: to take another tenant instead would run the call with somebody else's keys.
    """
    said: tuple[tuple[str, object], ...] = (
        (f"attribute {TENANT_ATTRIBUTE}", offer.attributes.get(TENANT_ATTRIBUTE)),
        ("job metadata", mapping_of(offer.metadata).get("tenant")),
        ("room metadata", mapping_of(offer.room_metadata).get("tenant")),
    )
    for source, value in said:
        if isinstance(value, int) and not isinstance(value, bool):
            name = str(value) if value < 10**128 else "?"
        elif isinstance(value, str):
            name = value.strip()
        elif value is None:
            continue
        else:
            name = "?"
        if not name:
            continue
        if is_tenant(name):
            return name
        return Refusal(
            reason=Reason.BAD_TENANT,
            message=f"The tenant in {source} must be 1-128 of A-Z, a-z, 0-9, '-' and '_'.",
        )
    return DEFAULT_TENANT
