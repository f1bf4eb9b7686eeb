"""100,000 offers race for one place: through routing, tenants that are asked for, caps, breakers and filters."""

from __future__ import annotations

import asyncio
import random

import pytest

from greenroom.pool._model import AgentSpec, Kind
from greenroom.pool._settings import BreakerSettings, TenantSettings, TenantsSettings
from greenroom.pool._wire import TenantFound
from greenroom.pool.admission import Breakers, Caps, Desk, Offer, Place, Refusal, Router, Tenants, may_use, tenant_of

pytestmark = pytest.mark.chaos

OFFERS = 100_000
AT_ONCE = 500


class Rush:
    """Decides offers as the supervisor does, a pause wherever it would wait for somebody."""

    def __init__(self) -> None:
        self.dice = random.Random(20)
        self.router = Router([AgentSpec(name=name, kind=Kind.CLASS) for name in ("sales", "sales-eu", "desk")])
        self.desk = Desk(Caps(total=50, agents={"sales-eu": 1}))
        self.breakers = Breakers(BreakerSettings(samples=5, cooldown=50))
        self.asked = 0
        self.tenants = Tenants(TenantsSettings(lifetime=1e6), resolve=self.resolve)
        self.numbers = iter(range(OFFERS))
        self.live: set[str] = set()
        self.taken = self.most = self.decided = 0

    async def resolve(self, tenant: str) -> TenantFound:
        self.asked += 1
        await self.pause()
        return TenantFound(number=0, found={"max_sessions": 40} if tenant == "acme" else None)

    async def pause(self) -> None:
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)

    async def caller(self) -> None:
        for number in self.numbers:
            await self.offer(number)
            self.decided += 1

    async def offer(self, number: int) -> None:
        await self.pause()
        tenant = self.dice.choice(("acme", "globex", "initech"))
        job = f"AJ_{number}"
        offer = Offer(job_id=job, room=f"sales-eu-{number}", metadata=f'{{"tenant": "{tenant}"}}')
        agent = self.router.route(offer, sessions=self.desk.by_agent()).agent
        assert agent is not None
        assert agent.name == "sales-eu"
        assert tenant_of(offer) == tenant
        settings = await self.tenants.find(tenant)
        assert isinstance(settings, TenantSettings)
        assert may_use(settings, tenant, agent.name) is None
        place = self.desk.reserve(job, agent.name, tenant, self.decided, tenant_cap=settings.max_sessions)
        if isinstance(place, Refusal):
            return
        if self.breakers.begin(job, tenant, agent.name, ("llm",), self.decided) is not None:
            assert self.desk.release(job)
            return
        await self.pause()
        if self.dice.random() < 0.3:
            # Its filter refuses it, or LiveKit gives it to somebody else.
            assert self.desk.release(job)
            self.breakers.end(job)
            return
        await self.run(job, place)

    async def run(self, job: str, place: Place) -> None:
        assert self.desk.confirm(job)
        self.live.add(job)
        self.taken += 1
        self.most = max(self.most, len(self.live))
        assert self.live == {place.job_id}
        await self.pause()
        if self.dice.random() < 0.4:
            self.breakers.failed(job, "llm", self.decided)
        else:
            self.breakers.ok(job, "llm", self.decided)
        self.live.remove(job)
        self.breakers.end(job)
        assert self.desk.release(job)


async def test_of_100_000_racing_offers_one_runs_at_a_time_and_nothing_is_left_held() -> None:
    rush = Rush()
    await asyncio.gather(*(rush.caller() for _ in range(AT_ONCE)))
    assert rush.decided == OFFERS
    assert rush.most == 1
    assert rush.taken > 50
    assert rush.asked == 3
    assert (rush.desk.total, rush.desk.by_agent(), rush.desk.by_tenant()) == (0, {}, {})
    assert rush.breakers._calls == {}
