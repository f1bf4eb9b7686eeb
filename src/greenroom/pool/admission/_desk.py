"""How many calls are taken: exact, since whoever asks holds a place from then on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from greenroom.pool._model import Manifest
from greenroom.pool._settings import DEFAULT_MAX_SESSIONS, PoolSettings
from greenroom.pool.admission._offer import Reason, Refusal


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """At once at most. An agent or tenant that is not named has no cap of its own."""

    total: int = DEFAULT_MAX_SESSIONS
    agents: Mapping[str, int] = {}
    tenants: Mapping[str, int] = {}


def caps_of(settings: PoolSettings, manifest: Manifest) -> Caps:
    """Return what holds for a pool: its settings before what its code says, what names one agent before a table."""
    code = manifest.options
    agents = {agent.name: agent.max_sessions for agent in manifest.agents if agent.max_sessions is not None}
    agents |= code.max_sessions_per_agent or {}
    agents |= settings.max_sessions_per_agent or {}
    agents |= {name: each.max_sessions for name, each in settings.agents.items() if each.max_sessions is not None}
    tenants = settings.max_sessions_per_tenant
    return Caps(
        total=settings.max_sessions or code.max_sessions or DEFAULT_MAX_SESSIONS,
        agents=agents,
        tenants=(code.max_sessions_per_tenant or {}) if tenants is None else tenants,
    )


class Place(msgspec.Struct, kw_only=True):
    """A place at the desk. ``confirmed`` once the call was assigned, not only offered."""

    job_id: str
    agent: str
    tenant: str
    since: float
    confirmed: bool = False


class Desk:
    """Gives out places and takes them back.

    :param patience: seconds that an unconfirmed place is held. LiveKit may never assign a job that it offered.
    """

    def __init__(self, caps: Caps, *, patience: float = 15.0) -> None:
        self._caps = caps
        self._patience = patience
        self._places: dict[str, Place] = {}
        self._agents: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()

    def apply(self, caps: Caps) -> None:
        """Take other caps. Who has a place keeps it; no more are given out while there are too many."""
        self._caps = caps

    def reserve(
        self, job_id: str, agent: str, tenant: str, now: float, *, tenant_cap: int | None = None
    ) -> Place | Refusal:
        """Give a job a place, or say why not. Asking again for the same changes nothing.

        A job that is offered again for another agent or tenant gives up the place it had, unless it was confirmed.

        :param tenant_cap: what is known of the tenant itself, besides the caps; the smaller one counts.
        """
        if held := self._places.get(job_id):
            if held.confirmed:
                return Refusal(reason=Reason.RUNNING, message="The job runs in this pool already.")
            if (held.agent, held.tenant) == (agent, tenant):
                return held
            self.release(job_id)
        refusal = self._refusal(agent, tenant, tenant_cap)
        if refusal is not None:
            return refusal
        place = Place(job_id=job_id, agent=agent, tenant=tenant, since=now)
        self._places[job_id] = place
        self._agents[agent] += 1
        self._tenants[tenant] += 1
        return place

    def confirm(self, job_id: str) -> bool:
        """Keep a place until it is released; false when it was given up meanwhile."""
        held = self._places.get(job_id)
        if held is None:
            return False
        held.confirmed = True
        return True

    def release(self, job_id: str) -> bool:
        """Take a place back; false when there was none."""
        held = self._places.pop(job_id, None)
        if held is None:
            return False
        for counts, name in ((self._agents, held.agent), (self._tenants, held.tenant)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        return True

    def expire(self, now: float) -> tuple[str, ...]:
        """Take back what was offered but never assigned, and return these jobs."""
        late = tuple(
            place.job_id
            for place in self._places.values()
            if not place.confirmed and now - place.since >= self._patience
        )
        for job_id in late:
            self.release(job_id)
        return late

    @property
    def caps(self) -> Caps:
        """What holds now."""
        return self._caps

    @property
    def total(self) -> int:
        """Places given out."""
        return len(self._places)

    @property
    def load(self) -> float:
        """The share of all places that is given out: what a worker tells LiveKit."""
        return min(1.0, len(self._places) / self._caps.total) if self._caps.total > 0 else 1.0

    @property
    def full(self) -> bool:
        """Whether there is no place for anybody."""
        return len(self._places) >= self._caps.total

    def by_agent(self) -> dict[str, int]:
        """Return how many places each agent has."""
        return dict(self._agents)

    def by_tenant(self) -> dict[str, int]:
        """Return how many places each tenant has."""
        return dict(self._tenants)

    def _refusal(self, agent: str, tenant: str, tenant_cap: int | None) -> Refusal | None:
        if len(self._places) >= self._caps.total:
            return Refusal(reason=Reason.FULL, message=f"The pool has all {self._caps.total} sessions that it may.")
        cap = self._caps.agents.get(agent)
        if cap is not None and self._agents[agent] >= cap:
            return Refusal(reason=Reason.FULL_AGENT, message=f"Agent '{agent}' has all {cap} sessions that it may.")
        caps = [each for each in (self._caps.tenants.get(tenant), tenant_cap) if each is not None]
        if caps and self._tenants[tenant] >= min(caps):
            return Refusal(
                reason=Reason.FULL_TENANT, message=f"Tenant '{tenant}' has all {min(caps)} sessions that it may."
            )
        return None
