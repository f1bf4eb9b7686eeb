"""Runs calls: launches them, follows what happens in them, saves them when their shard dies, ends them by rule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from livekit.protocol import agent as agent_pb

from greenroom.pool._model import AgentSpec, EndKind
from greenroom.pool._settings import PoolSettings, TenantSettings
from greenroom.pool._wire import Beat, Checkpoint, End, Ended, Fact, Launch, Move, Started
from greenroom.pool.admission import Fate, Policies, PolicyWatch, RescueBudget, policies_of
from greenroom.pool.supervisor._calls import STARTING, Call, Calls, Waiting, again
from greenroom.pool.supervisor._cast import Cast
from greenroom.pool.supervisor._messages import job_status, renewed
from greenroom.pool.supervisor._parts import Parts
from greenroom.pool.supervisor._shards import Shard

_log = logging.getLogger("greenroom.pool")

_FAILURES: Final = frozenset({EndKind.SETUP, EndKind.PROVIDER, EndKind.TOOL, EndKind.CODE, EndKind.KILLED})
#: How long after a rescue LiveKit may still take the job away because the agent of before has left its room.
_ECHO: Final = 5.0
#: How long a call without a shard waits for one: a nursery that died is being replaced.
_HOMELESS: Final = 10.0
#: How much of what was raised stands in the log's line of an end; all of it stands in the traceback before.
_ERROR: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What is held for an offer until it runs, or does not."""

    agent: AgentSpec
    tenant: str
    settings: TenantSettings
    generation: int
    shard: int


class Office(Protocol):
    """What running calls needs of the pool around it."""

    @property
    def cast(self) -> Cast:
        """What is in service."""
        ...

    def tell(self, link: int, message: agent_pb.WorkerMessage) -> None:
        """Send a message over a registration."""

    def changed(self) -> None:
        """The snapshot has changed, and perhaps the load."""


class Runs:
    """Every call of the pool.

    :param cost_of: the price in USD of LiveKit's usage by model, ``None`` when unknown.
    """

    def __init__(
        self,
        settings: PoolSettings,
        office: Office,
        parts: Parts,
        *,
        cost_of: Callable[[Mapping[str, Any]], float | None] | None,
    ) -> None:
        self.calls = Calls()
        self._settings = settings
        self._office = office
        self._shards = parts.shards
        self._generations = parts.generations
        self._desk = parts.desk
        self._breakers = parts.breakers
        self._metrics = parts.metrics
        self._clock = parts.clock
        self._wall = parts.wall
        self._cost_of = cost_of
        self._budget = RescueBudget()
        self._closing: tuple[EndKind, str] | None = None

    def apply(self, settings: PoolSettings) -> None:
        """Take other settings; calls that run are held to other policies, too."""
        self._settings = settings
        for call in self.calls.running.values():
            call.watch.apply(self._policies(call.launch.agent, call.tenant))

    def _policies(self, agent: str, tenant: TenantSettings) -> Policies:
        said = self._settings.agents.get(agent)
        return policies_of(self._settings.policies, said.policies if said else None, tenant.policies)

    # Begin

    def launch(self, launch: Launch, hold: Hold, *, room: str, link: int) -> None:
        """Run a job that LiveKit has given to the pool."""
        now = self._clock()
        self._desk.confirm(launch.job_id)
        call = Call(
            launch=launch,
            room=room,
            link=link,
            shard=hold.shard,
            generation=hold.generation,
            fingerprint=hold.agent.fingerprint,
            tenant=hold.settings,
            watch=PolicyWatch(self._policies(hold.agent.name, hold.settings), now),
            began_at=now,
            started_at=self._wall(),
        )
        self.calls.add(call)
        self._metrics.session_started(launch.agent, launch.tenant)
        self._office.tell(link, job_status(call.id, agent_pb.JS_RUNNING))
        shard = self._shards.get(hold.shard)
        if shard is None or shard.doomed or call.id not in shard.jobs:
            self._relaunch(call, launch, alone=False, then=_nothing)
        else:
            shard.send(launch)
        _log.info("call begins", extra={**_fields(call), "shard": call.shard})
        if self._closing is not None:
            self.end(call, *self._closing)
        self._office.changed()

    # What shards tell

    def said(self, shard: Shard, message: Started | Fact | Checkpoint | Ended) -> None:
        """A shard tells of one of its calls."""
        call = self.calls.running.get(message.job_id)
        if call is None or call.shard != shard.number:
            return
        match message:
            case Started():
                self._office.changed()
            case Fact():
                self._fact(call, message)
            case Checkpoint(memo=memo):
                call.memo = memo
            case Ended():
                self._ended(call, message)

    def spent(self, beat: Beat) -> None:
        """A shard tells what its calls cost."""
        for each in beat.sessions:
            call = self.calls.running.get(each.job_id)
            if call is not None:
                call.cpu, call.memory = each.cpu, each.memory

    def _fact(self, call: Call, fact: Fact) -> None:
        now = self._clock()
        call.watch.fact(fact.kind, fact.value, now)
        match fact.kind:
            case "connected":
                call.state = "connected"
            case "agent_state":
                call.state = str(fact.value)
            case "provider_ok":
                self._breakers.ok(call.id, str(fact.value), now)
            case "provider_error":
                self._provider_failed(call, str(fact.value), recoverable=fact.recoverable)
            case "usage" if call.watch.limits_cost and isinstance(fact.value, Mapping):
                cost = self._cost_of(fact.value) if self._cost_of is not None else None
                if cost is not None:
                    call.watch.fact("cost", cost, now)
        self._enforce(call, now)
        if fact.kind in {"connected", "agent_state"}:
            self._office.changed()

    def _provider_failed(self, call: Call, provider: str, *, recoverable: bool) -> None:
        if self._breakers.failed(call.id, provider, self._clock(), recoverable=recoverable):
            _log.warning(
                "a provider of a tenant fails, its calls are refused for a while",
                extra={"tenant": call.launch.tenant, "provider": provider},
            )

    def _ended(self, call: Call, ended: Ended) -> None:
        call.memo = ended.memo or call.memo
        if ended.provider:
            self._provider_failed(call, ended.provider, recoverable=False)
        if ended.kind is EndKind.MOVED and call.ending is None:
            self._shards.release(call.shard, call.id)
            call.moving = False
            self.calls.count(call, EndKind.MOVED)
            self._relaunch(call, again(call, token=self._renewed(call)), alone=False, then=lambda: self._moved(call))
            self._office.changed()
            return
        self._finish(call, ended.kind, ended.reason or ended.error, ok=ended.ok, error=ended.error)

    def _moved(self, call: Call) -> None:
        # LiveKit has ended the job of the agent that left, or will.
        self._office.tell(call.link, job_status(call.id, agent_pb.JS_RUNNING))
        _log.info("call goes on with newer code", extra={**_fields(call), "shard": call.shard})

    # The end

    def _finish(self, call: Call, kind: EndKind, reason: str, *, ok: bool, error: str = "") -> None:
        self._shards.release(call.shard, call.id)
        self.calls.end(call, kind, self._clock())
        self._desk.release(call.id)
        self._breakers.end(call.id)
        self._budget.forget(call.id)
        status = agent_pb.JS_SUCCESS if ok else agent_pb.JS_FAILED
        told = reason if not ok or kind in {EndKind.POLICY, EndKind.DRAINED} else ""
        if not call.handed_over:
            self._office.tell(call.link, job_status(call.id, status, told))
        if kind in _FAILURES:
            self._metrics.session_failed(call.launch.agent, error or f"{kind}: {reason}", call.launch.tenant)
        self._metrics.session_finished(call.launch.agent, call.launch.tenant)
        level = logging.WARNING if kind in _FAILURES else logging.INFO
        seconds = round(self._clock() - call.began_at, 1)
        extra = {**_fields(call), "kind": kind, "reason": reason, "seconds": seconds}
        if error and kind in _FAILURES and error != reason:
            extra["error"] = error[:_ERROR]
        _log.log(level, "call ended", extra=extra)
        self._office.changed()

    def end(self, call: Call, kind: EndKind, reason: str) -> None:
        """End a call in good order. The first reason counts."""
        if call.ending is not None:
            return
        call.ending = (kind, reason)
        if call.waits is not None:
            self._finish(call, kind, reason, ok=True)
            return
        shard = self._shards.get(call.shard)
        if shard is not None:
            shard.send(End(job_id=call.id, kind=kind, reason=reason))

    def end_all(self, kind: EndKind, reason: str) -> None:
        """End every call in good order, those too that begin from now on: they were accepted before."""
        self._closing = (kind, reason)
        for call in list(self.calls.running.values()):
            self.end(call, kind, reason)

    def terminated(self, job_id: str) -> None:
        """LiveKit has taken a job away."""
        call = self.calls.running.get(job_id)
        if call is None:
            return
        now = self._clock()
        if (call.moving or call.waits is not None) and call.ending is None:
            # Its agent has left the room to come back: with newer code, or in another shard.
            return
        if call.relaunched_at is not None and now - call.relaunched_at < _ECHO:
            # LiveKit ends a job whose agent has left the room; that was the one of before. Should the room itself
            # be gone, the agent that comes now finds that out.
            call.relaunched_at = None
            call.doubted_at = now
            self._office.tell(call.link, job_status(call.id, agent_pb.JS_RUNNING))
            return
        self.end(call, EndKind.TERMINATED, "LiveKit has taken the job away")

    def tick(self) -> None:
        """End what a policy ends now, and look again for a shard for those that wait for one."""
        now = self._clock()
        for call in list(self.calls.running.values()):
            if call.waits is not None:
                self._look_again(call, call.waits, now)
            if call.id in self.calls.running:
                self._enforce(call, now)

    def _enforce(self, call: Call, now: float) -> None:
        if call.doubted_at is not None and now - call.doubted_at >= _ECHO:
            call.doubted_at = None
            if call.state == STARTING:
                self.end(call, EndKind.TERMINATED, "LiveKit has taken the job away")
        due = call.watch.due(now) if call.ending is None else None
        if due is not None:
            _log.info("a policy ends a call", extra={**_fields(call), "policy": due.policy, "reason": due.reason})
            self.end(call, EndKind.POLICY, f"{due.policy}: {due.reason}")

    # Going on elsewhere

    def hand_over(self) -> list[Any]:
        """Return every call as another worker goes on with it. LiveKit is told nothing of their ends here."""
        from livekit.protocol.agent_pb import agent_dev  # noqa: PLC0415 - only where there is such a worker

        found = []
        for call in self.calls.running.values():
            call.handed_over = True
            launch = call.launch
            found.append(
                agent_dev.RunningAgentJobInfo(
                    job=launch.job,
                    accept_name=launch.name,
                    accept_identity=launch.identity,
                    accept_metadata=launch.metadata,
                    url=launch.url,
                    token=launch.token,
                    worker_id=launch.worker_id,
                    mock_job=launch.fake,
                )
            )
        return found

    def leave_handed_over(self) -> None:
        """End the calls that another worker goes on with."""
        for call in list(self.calls.running.values()):
            if call.handed_over:
                self.end(call, EndKind.MOVED, "another worker goes on with it")

    def move(self, agents: Iterable[str], generation: int) -> None:
        """Let the calls of some agents go over to another generation, each between two turns."""
        wanted = set(agents)
        for call in self.calls.running.values():
            shard = self._shards.get(call.shard)
            older = call.launch.agent in wanted and call.generation != generation
            if older and not call.moving and call.ending is None and shard is not None:
                call.moving = True
                shard.send(Move(job_id=call.id))

    def shard_gone(self, shard: Shard, why: str, culprit: str) -> None:
        """A shard has died: its calls go on elsewhere, at once."""
        calls = [self.calls.running[job] for job in sorted(shard.jobs) if job in self.calls.running]
        mine = [call for call in calls if call.shard == shard.number]
        plans = {
            plan.job_id: plan for plan in self._budget.plan([call.id for call in mine], self._clock(), culprit=culprit)
        }
        for call in mine:
            plan = plans[call.id]
            ending = call.ending or self._closing
            if ending is not None:
                self._finish(call, *ending, ok=True)
            elif plan.fate is Fate.GIVE_UP:
                self._finish(call, EndKind.KILLED, f"its shard died ({why}); {plan.why}", ok=False)
            else:
                self._rescue(call, why, alone=plan.fate is Fate.ALONE)

    def _rescue(self, call: Call, why: str, *, alone: bool) -> None:
        call.rescues += 1
        call.moving = False

        def saved() -> None:
            self.calls.rescued += 1
            self.calls.count(call, EndKind.RESCUED)
            remembered = call.memo is not None
            extra = {**_fields(call), "shard": call.shard, "why": why, "alone": alone, "remembered": remembered}
            _log.warning("call goes on in another shard", extra=extra)
            self._office.changed()

        self._relaunch(call, again(call, token=self._renewed(call)), alone=alone, then=saved)

    def _relaunch(self, call: Call, launch: Launch, *, alone: bool, then: Callable[[], None]) -> None:
        """Go on with a call, as soon as there is a shard for it; do ``then`` once it goes on."""
        why = self._placed(call, launch, alone=alone)
        if not why:
            then()
            return
        call.state = STARTING
        call.waits = Waiting(since=self._clock(), launch=launch, alone=alone, then=then)
        _log.warning("call waits for a shard", extra={**_fields(call), "why": why})

    def _look_again(self, call: Call, waits: Waiting, now: float) -> None:
        why = self._placed(call, waits.launch, alone=waits.alone)
        if not why:
            call.waits = None
            waits.then()
        elif now - waits.since >= _HOMELESS:
            self._finish(call, EndKind.KILLED, f"no shard takes it: {why}", ok=False)

    def _placed(self, call: Call, launch: Launch, *, alone: bool) -> str:
        """Launch a call in a shard that takes it; return why none does, or nothing."""
        member = self._office.cast.member(call.launch.agent)
        agent = member.spec if member is not None else AgentSpec(name=call.launch.agent)
        generations = dict.fromkeys([member.generation if member else call.generation, call.generation])
        why = ""
        for number in generations:
            found = self._generations.place(number, agent, call.launch.tenant, alone=alone)
            if isinstance(found, str):
                why = found
                continue
            self._generations.taken(found, call.id)
            call.shard, call.generation = found.number, number
            call.fingerprint = agent.fingerprint or call.fingerprint
            call.state = STARTING
            call.launches += 1
            call.relaunched_at = self._clock()
            call.watch.moved()
            found.send(launch)
            return ""
        return why

    def _renewed(self, call: Call) -> str:
        return renewed(call.launch.token, self._settings.key, self._wall())


def _nothing() -> None:
    pass


def launch_of(
    job: agent_pb.Job, hold: Hold, *, url: str, token: str, worker_id: str, identity: str, **times: Any
) -> Launch:
    """Return how a job is run; ``times`` are further fields of :class:`Launch`."""
    return Launch(
        job_id=job.id,
        agent=hold.agent.name,
        tenant=hold.tenant,
        job=job.SerializeToString(),
        identity=identity,
        url=url,
        token=token,
        worker_id=worker_id,
        providers=hold.settings.providers,
        environment=hold.settings.environment,
        **times,
    )


def _fields(call: Call) -> dict[str, object]:
    return {"job_id": call.id, "agent": call.launch.agent, "tenant": call.launch.tenant, "room": call.room}
