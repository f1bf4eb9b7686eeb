"""Answers offers: routed, admitted and placed before they are accepted; what is refused can be offered elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec
from livekit.protocol import agent as agent_pb

from greenroom.pool._model import AgentSpec
from greenroom.pool._settings import PoolSettings, TenantSettings
from greenroom.pool._wire import Answer
from greenroom.pool.admission import Offer as Wanted
from greenroom.pool.admission import Reason, Refusal, Router, Tenants, may_use, tenant_of
from greenroom.pool.supervisor._advice import Advice
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._devlink import JobInfo
from greenroom.pool.supervisor._link import Link
from greenroom.pool.supervisor._links import Links
from greenroom.pool.supervisor._messages import Post, participant_attributes, renewed
from greenroom.pool.supervisor._offers import Acceptance, Consider, Effect, Offer, Offers, Refused, Release, Reply, Run
from greenroom.pool.supervisor._parts import Parts
from greenroom.pool.supervisor._runs import Hold, Runs, launch_of

_log = logging.getLogger("greenroom.pool")

#: Refused jobs of which it is known that the log has told.
_REMEMBERED: Final = 1000


class House(Protocol):
    """What answering offers needs of the pool around it."""

    @property
    def cast(self) -> Cast:
        """What is in service."""
        ...

    @property
    def router(self) -> Router:
        """Routes by it."""
        ...

    def is_draining(self) -> bool:
        """Whether the pool takes no more calls."""
        ...

    def link(self, number: int) -> Link | None:
        """Return a registration."""

    def advice(self) -> Advice | None:
        """Return who answers for the program."""

    def changed(self) -> None:
        """The snapshot has changed, and perhaps the load."""


class Front:
    """Every offer, from LiveKit's question to the run or the refusal.

    :ivar refused: offers by why they were refused.
    """

    def __init__(
        self,
        settings: PoolSettings,
        house: House,
        parts: Parts,
        *,
        runs: Runs,
        tenants: Tenants,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._settings = settings
        self._house = house
        self._runs = runs
        self._shards = parts.shards
        self._generations = parts.generations
        self._desk = parts.desk
        self._breakers = parts.breakers
        self._tenants = tenants
        self._clock = parts.clock
        self._wall = parts.wall
        self._offers = Offers(settings.offer_timeout)
        self._holds: dict[str, tuple[Offer, Hold]] = {}
        self._told: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """How many offers are accepted and do not run yet."""
        return self._offers.accepted

    def received(self, link: Link, message: agent_pb.ServerMessage) -> None:
        """LiveKit says something over a registration."""
        kind = message.WhichOneof("message")
        if kind == "availability":
            job = message.availability.job
            running = job.id in self._runs.calls.running
            self._run(self._offers.offered(link.number, job, self._clock(), running=running))
        elif kind == "assignment":
            self._run(self._offers.assigned(link.number, message.assignment))
        elif kind == "termination":
            self._run(self._offers.terminated(message.termination.job_id))
            self._runs.terminated(message.termination.job_id)

    def lost(self, link: Link) -> None:
        """A registration's connection is gone."""
        self._run(self._offers.lost(link.number))

    async def restore(self, info: JobInfo, links: Links) -> None:
        """Go on with a job that another worker of the same project ran until now."""
        job = agent_pb.Job.FromString(info.job)
        link = links.for_post(Post(dispatch=job.agent_name, job_type=job.type))
        if link is None or job.id in self._runs.calls.running:
            return
        now, wall = self._clock(), self._wall()
        offer = Offer(link.number, job, now, now)
        decision = await self._decide(offer)
        if not isinstance(decision, Answer) or not decision.accepted:
            self._let_go(offer)
            _log.warning("a call of the worker before cannot go on here", extra={"job_id": job.id})
            return
        _, hold = self._holds.pop(job.id)
        launch = launch_of(
            job,
            hold,
            url=info.url or self._settings.url,
            token=renewed(info.token, self._settings.key, wall),
            worker_id=info.worker_id,
            identity=info.accept_identity,
            name=info.accept_name,
            metadata=info.accept_metadata,
            received_at=wall,
            accepted_at=wall,
            assigned_at=wall,
            fake=info.mock_job,
        )
        self._runs.launch(launch, hold, room=job.room.name, link=link.number)

    async def close(self) -> None:
        """Decide nothing more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self._apply(effect)
        self._arm()

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Consider(offer):
                task = asyncio.get_running_loop().create_task(self._consider(offer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Reply(worker, response):
                link = self._house.link(worker)
                if link is not None:
                    link.send(agent_pb.WorkerMessage(availability=response))
            case Run(offer, assignment):
                self._launch(offer, assignment)
            case Release(offer, why):
                _log.warning("an accepted job does not run here", extra={"job_id": offer.id, "why": why})
                self._let_go(offer)
            case Refused(offer, reason, detail):
                self.refused[reason] += 1
                extra = {"job_id": offer.id, "room": offer.job.room.name, "reason": reason, "detail": detail}
                _log.log(self._level(offer.id, reason), "offer refused", extra=extra)
                self._house.changed()

    def _level(self, job_id: str, reason: str) -> int:
        """Return how loudly a refusal is told: a server that offers a job again and again is told of once."""
        if self._told.get(job_id) == reason:
            return logging.DEBUG
        self._told[job_id] = reason
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return logging.INFO

    async def _consider(self, offer: Offer) -> None:
        try:
            decision = await self._decide(offer)
        except Exception:
            _log.exception("an offer could not be decided", extra={"job_id": offer.id})
            decision = Refusal(reason=Reason.FILTER, message="The decision failed.")
        if isinstance(decision, Refusal):
            self._let_go(offer)
            self._run(self._offers.refuse(offer, decision.reason, decision.message))
        elif not decision.accepted:
            self._let_go(offer)
            detail = decision.problem or "the agent's own filter refused it"
            self._run(self._offers.refuse(offer, Reason.FILTER, detail, terminate=decision.terminate))
        else:
            self._run(self._offers.accept(offer, self._acceptance(offer, decision), self._clock()))
            self._house.changed()

    async def _decide(self, offer: Offer) -> Answer | Refusal:
        if self._house.is_draining():
            return Refusal(reason=Reason.DRAINING, message="The pool is draining.")
        wanted = self._wanted(offer)
        options, advice = self._house.cast.options, self._house.advice()
        job = offer.job.SerializeToString()
        said = await advice.route(job) if options.routes and advice is not None else None
        routing = self._house.router.route(wanted, said, sessions=self._desk.by_agent())
        if routing.agent is None:
            return routing.refusal or Refusal(reason=Reason.NO_AGENT, message="No agent was chosen.")
        tenant = tenant_of(wanted)
        if isinstance(tenant, Refusal):
            return tenant
        settings = await self._tenants.find(tenant)
        if isinstance(settings, Refusal):
            return settings
        refusal = self._admit(offer, routing.agent, tenant, settings)
        if refusal is not None:
            return refusal
        answer = Answer(number=0, accepted=True)
        if routing.agent.asks or options.filters:
            if advice is None:
                return Refusal(reason=Reason.FILTER, message="There is no process that answers for the program.")
            answer = await advice.accepts(routing.agent.name, job)
        if self._house.is_draining():
            return Refusal(reason=Reason.DRAINING, message="The pool is draining.")
        return answer

    def _admit(self, offer: Offer, agent: AgentSpec, tenant: str, settings: TenantSettings) -> Refusal | None:
        """Hold a place for an offer; without waiting for anything, so that a burst cannot take one twice."""
        now = self._clock()
        if offer.id in self._holds:
            # It was offered before, and the decision about that one has not come yet.
            self._let_go(self._holds[offer.id][0])
        refusal = may_use(settings, tenant, agent.name)
        if refusal is not None:
            return refusal
        place = self._desk.reserve(offer.id, agent.name, tenant, now, tenant_cap=settings.max_sessions)
        if isinstance(place, Refusal):
            return place
        member = self._house.cast.member(agent.name)
        labels = {**agent.providers, **{kind: _label(value) for kind, value in settings.providers.items()}}
        refusal = self._breakers.begin(offer.id, tenant, agent.name, filter(None, labels.values()), now)
        if refusal is not None or member is None:
            self._desk.release(offer.id)
            return refusal or Refusal(reason=Reason.NO_AGENT, message="The agent has just left service.")
        shard = self._generations.place(member.generation, agent, tenant)
        if isinstance(shard, str):
            self._desk.release(offer.id)
            self._breakers.end(offer.id)
            return Refusal(reason=Reason.NO_SHARD, message=shard)
        self._generations.taken(shard, offer.id)
        hold = Hold(agent=agent, tenant=tenant, settings=settings, generation=member.generation, shard=shard.number)
        self._holds[offer.id] = (offer, hold)
        return None

    def _wanted(self, offer: Offer) -> Wanted:
        wanted = Wanted.of(offer.job)
        link = self._house.link(offer.worker)
        if link is None:
            return wanted
        # What a registration is for is known better here than by the job, which need not say it.
        return msgspec.structs.replace(wanted, dispatch=link.post.dispatch, job_type=link.post.job_type)

    def _acceptance(self, offer: Offer, answer: Answer) -> Acceptance:
        link = self._house.link(offer.worker)
        dispatch = link.post.dispatch if link is not None else ""
        return Acceptance(
            identity=answer.identity or f"agent-{offer.id}",
            name=answer.name,
            metadata=answer.metadata,
            attributes=participant_attributes(dispatch, answer.attributes),
        )

    def _launch(self, offer: Offer, assignment: agent_pb.JobAssignment) -> None:
        _, hold = self._holds.pop(offer.id)
        link = self._house.link(offer.worker)
        accepted = offer.acceptance
        assert accepted is not None
        wall, now = self._wall(), self._clock()
        launch = launch_of(
            # As upstream does: the room and its sid are what the offer said.
            offer.job,
            hold,
            url=assignment.url or self._settings.url,
            token=assignment.token,
            worker_id=link.worker_id if link is not None else "",
            identity=accepted.identity,
            name=accepted.name,
            metadata=accepted.metadata,
            attributes=dict(accepted.attributes),
            received_at=wall - (now - offer.received_at),
            accepted_at=wall - (now - offer.accepted_at),
            assigned_at=wall,
        )
        self._runs.launch(launch, hold, room=offer.job.room.name, link=offer.worker)

    def _let_go(self, offer: Offer) -> None:
        owner, hold = self._holds.get(offer.id, (None, None))
        if owner is not offer or hold is None:
            return
        del self._holds[offer.id]
        self._desk.release(offer.id)
        self._breakers.end(offer.id)
        self._shards.release(hold.shard, offer.id)
        self._house.changed()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._offers.next_wakeup()
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._run(self._offers.wake(self._clock()))


def _label(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("id", "")
    return value if isinstance(value, str) else ""
