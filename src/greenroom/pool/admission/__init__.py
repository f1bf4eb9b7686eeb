"""Decisions of a pool, without I/O: routing, admission, placement, breakers, policies, the watchdog.

Nothing here reads a clock: ``now`` is seconds on one that never goes back. Only :class:`Tenants` does I/O.
"""

from greenroom.pool._wire import Routed
from greenroom.pool.admission._agents import configured
from greenroom.pool.admission._breaker import Breakers, BreakerState
from greenroom.pool.admission._desk import Caps, Desk, Place, caps_of
from greenroom.pool.admission._hot import hot_applied
from greenroom.pool.admission._offer import Offer, Reason, Refusal, is_tenant, mapping_of, tenant_of
from greenroom.pool.admission._placement import (
    NeedShard,
    NoPlace,
    Placed,
    PlacementLimits,
    ShardKind,
    ShardState,
    ShardView,
    WaitFor,
    kind_for,
    place,
)
from greenroom.pool.admission._policies import Policies, Policy, PolicyEnd, PolicyWatch, policies_of
from greenroom.pool.admission._rescue import Fate, Rescue, RescueBudget
from greenroom.pool.admission._routing import Router, Routing, Rule, Step, asked_capabilities, explain
from greenroom.pool.admission._tenant_source import Tenants
from greenroom.pool.admission._tenants import Found, Known, TenantTable, answer_of, may_use, tenants_of
from greenroom.pool.admission._watchdog import Kill, Resume, Say, StopPlacing, Watchdog

__all__ = [
    "BreakerState",
    "Breakers",
    "Caps",
    "Desk",
    "Fate",
    "Found",
    "Kill",
    "Known",
    "NeedShard",
    "NoPlace",
    "Offer",
    "Place",
    "Placed",
    "PlacementLimits",
    "Policies",
    "Policy",
    "PolicyEnd",
    "PolicyWatch",
    "Reason",
    "Refusal",
    "Rescue",
    "RescueBudget",
    "Resume",
    "Routed",
    "Router",
    "Routing",
    "Rule",
    "Say",
    "ShardKind",
    "ShardState",
    "ShardView",
    "Step",
    "StopPlacing",
    "TenantTable",
    "Tenants",
    "WaitFor",
    "Watchdog",
    "answer_of",
    "asked_capabilities",
    "caps_of",
    "configured",
    "explain",
    "hot_applied",
    "is_tenant",
    "kind_for",
    "mapping_of",
    "may_use",
    "place",
    "policies_of",
    "tenant_of",
    "tenants_of",
]
