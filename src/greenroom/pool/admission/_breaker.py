"""Keeps calls away from a provider that fails: per tenant, since keys and quotas are a tenant's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias

import msgspec

from greenroom.pool._settings import BreakerSettings
from greenroom.pool.admission._offer import Reason, Refusal, shown

_Key: TypeAlias = tuple[str, str]


class BreakerState(StrEnum):
    """What a breaker lets through: every call, none, or one to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class _Sample(msgspec.Struct):
    at: float
    failed: bool


class _Breaker:
    """One provider of one tenant. A call counts once, with its latest outcome; a failure of it is never undone."""

    def __init__(self) -> None:
        self.samples: dict[str, _Sample] = {}
        self.opened_at: float | None = None
        self.probe: str | None = None
        self.probed_at = 0.0

    def state(self, settings: BreakerSettings, now: float) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now - self.opened_at < settings.cooldown else BreakerState.HALF_OPEN

    def lets(self, settings: BreakerSettings, job_id: str, now: float) -> bool:
        state = self.state(settings, now)
        if state is BreakerState.HALF_OPEN:
            # A probe that has used its provider for nothing all the while proves nothing.
            idle = self.probe is None or now - self.probed_at >= settings.cooldown
            return idle or self.probe == job_id
        return state is BreakerState.CLOSED

    def note(self, job_id: str, *, failed: bool, now: float) -> None:
        sample = self.samples.pop(job_id, None)
        self.samples[job_id] = _Sample(now, failed or (sample is not None and sample.failed))

    def prune(self, settings: BreakerSettings, now: float) -> None:
        for job_id in [job_id for job_id, each in self.samples.items() if now - each.at >= settings.window]:
            del self.samples[job_id]

    def broken(self, settings: BreakerSettings) -> bool:
        total = len(self.samples)
        failed = sum(each.failed for each in self.samples.values())
        return total >= settings.samples and (failed > total * settings.failures or failed == total)

    def open(self, now: float) -> None:
        self.opened_at = now
        self.probe = None
        self.samples.clear()


class _Call(msgspec.Struct):
    tenant: str
    agent: str
    declared: frozenset[str]
    seen: set[str]


class Breakers:
    """All breakers of a pool.

    Which providers a call will use is what it declares and what the last call of the same agent and tenant used, as
    long as that declared the same: a tenant that was given another provider is not kept waiting for the former.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._breakers: dict[_Key, _Breaker] = {}
        self._calls: dict[str, _Call] = {}
        self._learnt: dict[tuple[str, str], _Call] = {}

    def apply(self, settings: BreakerSettings) -> None:
        """Take other settings; what was observed stays, unless there are to be no breakers."""
        self._settings = settings
        if not settings.enabled:
            self._breakers.clear()
            self._calls.clear()

    def begin(self, job_id: str, tenant: str, agent: str, providers: Iterable[str], now: float) -> Refusal | None:
        """Let a call through, or say which provider is broken. Whoever was let through calls :meth:`end` one day."""
        if not self._settings.enabled:
            return None
        declared = frozenset(providers)
        last = self._learnt.get((tenant, agent))
        labels = declared | last.seen if last is not None and last.declared == declared else declared
        found = [
            (label, self._breakers[tenant, label]) for label in sorted(labels) if (tenant, label) in self._breakers
        ]
        for label, breaker in found:
            if not breaker.lets(self._settings, job_id, now):
                message = f"Provider '{shown(label)}' of tenant '{shown(tenant)}' fails."
                return Refusal(reason=Reason.BREAKER, message=message)
        for _, breaker in found:
            if breaker.state(self._settings, now) is BreakerState.HALF_OPEN:
                breaker.probe, breaker.probed_at = job_id, now
        self._calls.setdefault(job_id, _Call(tenant, agent, declared, set()))
        return None

    def ok(self, job_id: str, provider: str, now: float) -> None:
        """Take that a provider answered in a call."""
        if found := self._of(job_id, provider):
            key, breaker = found
            state = breaker.state(self._settings, now)
            if state is BreakerState.HALF_OPEN and breaker.probe == job_id:
                del self._breakers[key]
            elif state is BreakerState.CLOSED:
                breaker.note(job_id, failed=False, now=now)
                breaker.prune(self._settings, now)

    def failed(self, job_id: str, provider: str, now: float, *, recoverable: bool = False) -> bool:
        """Take that a provider failed in a call; one that will be tried again is not counted.

        :returns: whether it opened its breaker.
        """
        found = None if recoverable else self._of(job_id, provider)
        if found is None:
            return False
        _, breaker = found
        state = breaker.state(self._settings, now)
        if state is BreakerState.HALF_OPEN and breaker.probe == job_id:
            breaker.open(now)
            return True
        if state is not BreakerState.CLOSED:
            return False
        breaker.note(job_id, failed=True, now=now)
        breaker.prune(self._settings, now)
        if breaker.broken(self._settings):
            breaker.open(now)
            return True
        return False

    def end(self, job_id: str) -> None:
        """Forget a call, which ended or never came. A probe that proved nothing makes room for another."""
        call = self._calls.pop(job_id, None)
        if call is None:
            return
        if call.seen:
            self._learnt[call.tenant, call.agent] = call
        for (tenant, _), breaker in self._breakers.items():
            if tenant == call.tenant and breaker.probe == job_id:
                breaker.probe = None

    def forget_agent(self, agent: str) -> None:
        """Forget which providers an agent used: its code is another now."""
        for key in [key for key in self._learnt if key[1] == agent]:
            del self._learnt[key]

    def states(self, now: float) -> dict[str, BreakerState]:
        """Return those that are not closed: ``tenant/provider`` to its state."""
        return {
            f"{tenant}/{provider}": state
            for (tenant, provider), breaker in self._breakers.items()
            if (state := breaker.state(self._settings, now)) is not BreakerState.CLOSED
        }

    def tidy(self, now: float) -> None:
        """Drop what no longer says anything."""
        for key, breaker in list(self._breakers.items()):
            breaker.prune(self._settings, now)
            if breaker.opened_at is None and not breaker.samples:
                del self._breakers[key]

    def _of(self, job_id: str, provider: str) -> tuple[_Key, _Breaker] | None:
        call = self._calls.get(job_id)
        if call is None or not provider:
            return None
        call.seen.add(provider)
        key = call.tenant, provider
        return key, self._breakers.setdefault(key, _Breaker())
