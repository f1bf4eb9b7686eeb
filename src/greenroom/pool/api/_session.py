"""One session of an agent that is a class, from its job to its end."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from greenroom.errors import GreenroomError
from greenroom.pool import context
from greenroom.pool._metrics import Metrics
from greenroom.pool._model import EndKind
from greenroom.pool.admission import Offer, Refusal, mapping_of, tenant_of
from greenroom.pool.api import _observing as observing
from greenroom.pool.api._config import PROVIDER_KINDS, AgentConfig
from greenroom.pool.api._observing import SessionInfo, SessionObserver, SessionOutcome, SessionStatus
from greenroom.pool.api._providers import OBJECT, provider
from greenroom.pool.api._tenants import TenantSource
from greenroom.pool.api._turns import drop_unused_detector, fill_userdata, session_options
from greenroom.pool.context import PROVIDERS

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentSession, CloseEvent, JobContext

_log = logging.getLogger("greenroom.pool")
_STATUS: Final = {
    EndKind.USER: SessionStatus.SUCCESS,
    EndKind.AGENT: SessionStatus.SUCCESS,
    EndKind.SETUP: SessionStatus.FAILED,
    EndKind.PROVIDER: SessionStatus.FAILED,
    EndKind.TOOL: SessionStatus.FAILED,
    EndKind.CODE: SessionStatus.FAILED,
    EndKind.POLICY: SessionStatus.CANCELLED,
    EndKind.DRAINED: SessionStatus.CANCELLED,
    EndKind.KILLED: SessionStatus.CANCELLED,
    EndKind.TERMINATED: SessionStatus.CANCELLED,
}
#: What livekit-agents' own runner says when its worker ends a job.
_STOCK_CANCELLED: Final = "parent process shutdown"


class Cast(Protocol):
    """What a session needs of its pool."""

    observers: list[SessionObserver]
    metrics: Metrics
    tenants: TenantSource | None

    @property
    def deployment_version(self) -> str | None:
        """The version that runs."""

    @property
    def observer_timeout(self) -> float:
        """How long an observer may take over an end, in seconds."""

    def get(self, name: str) -> AgentConfig:
        """Return an agent."""


@dataclass(slots=True)
class _Call:
    """One session and its end, which is told once."""

    cast: Cast
    info: SessionInfo
    error: BaseException | None = None
    closed: bool = False
    told: bool = False
    context: Context = field(default_factory=copy_context)

    def fail(self, error: BaseException) -> None:
        """Note what the session failed of; the first counts."""
        if self.error is None:
            self.error = error
            self.cast.metrics.session_failed(self.info.agent_name, error, self.info.tenant)

    def on_close(self, event: CloseEvent) -> None:
        """Note that the session has closed, and whether a provider was why."""
        self.closed = True
        problem = getattr(event.error, "error", None)
        if isinstance(problem, BaseException):
            self.fail(problem)

    async def end(self, status: SessionStatus | None) -> None:
        """Tell that the session is over; of one without a status, which goes on elsewhere, nobody is told."""
        if self.told:
            return
        self.told = True
        _calls.pop(self.info.job_id, None)
        self.cast.metrics.session_finished(self.info.agent_name, self.info.tenant)
        if status is None:
            return
        now = time.time()
        outcome = SessionOutcome(status, self.error, now, max(now - self.info.started_at, 0.0))
        await observing.tell_end(self.cast.observers, self.info, outcome, bound=self.cast.observer_timeout)


#: Those whose end was not told yet, by the ids of their jobs.
_calls: dict[str, _Call] = {}


async def concluded(job_id: str, kind: EndKind) -> None:
    """Tell the observers of a shard's session that it is over, and how: the shard knows, its job does not."""
    call = _calls.get(job_id)
    if call is not None:
        status = _STATUS.get(kind)
        await asyncio.get_running_loop().create_task(call.end(status), context=call.context)


def status_of(error: BaseException | None, reason: str) -> SessionStatus:
    """Return how a job ended that stock livekit-agents ran: of an error, or with the words of its shutdown."""
    if isinstance(error, Exception):
        return SessionStatus.FAILED
    return SessionStatus.CANCELLED if error is not None or reason == _STOCK_CANCELLED else SessionStatus.SUCCESS


def session_info(offer: Offer, agent: str, deployment: str | None) -> SessionInfo:
    """Return which session it is. Raises ``ValueError`` for a tenant that cannot be one."""
    tenant = context.current_tenant_id() or tenant_of(offer)
    if isinstance(tenant, Refusal):
        raise ValueError(tenant.message)  # noqa: TRY004 - the error of a value, not of a type
    said = {**mapping_of(offer.room_metadata), **mapping_of(offer.metadata)}
    return SessionInfo(
        agent_name=agent,
        room_name=offer.room,
        job_id=offer.job_id,
        metadata={**{str(key): str(value) for key, value in said.items()}, "tenant": tenant},
        started_at=time.time(),
        tenant=tenant,
        deployment_version=deployment,
    )


async def run_session(cast: Cast, ctx: JobContext, name: str) -> None:
    """Be the entrypoint of an agent: connect, start, tell, greet.

    Connected before it is started, so that ``on_enter`` finds the room. What lasts after the greeting is LiveKit's
    own runner's; the end is told once the room is left.
    """
    config = cast.get(name)
    call = _Call(cast, session_info(Offer.of(ctx.job), config.name, cast.deployment_version))
    _calls[call.info.job_id] = call
    cast.metrics.session_started(config.name, call.info.tenant)

    async def end(reason: str) -> None:
        await call.end(status_of(call.error, reason))

    if context.current_scope() is None:
        ctx.add_shutdown_callback(end)
    try:
        await _begin(call, config, ctx)
    except BaseException as error:
        if not (call.closed and call.error is None and isinstance(error, RuntimeError)):
            call.fail(error)
            raise
        # Who hangs up while being greeted has had a call.
        _log.debug("the session closed while it began", extra={"job_id": call.info.job_id})


async def _begin(call: _Call, config: AgentConfig, ctx: JobContext) -> None:
    cast, info = call.cast, call.info
    session = await _make_session(cast, config, ctx, info.tenant)
    session.on("close", call.on_close)
    session.tenant_id = info.tenant  # type: ignore[attr-defined]
    await ctx.connect(**config.connect_options)
    agent = await _make_agent(config, ctx)
    if config.session_factory is None:
        drop_unused_detector(session, agent)
    options = dict(config.start_options)
    if config.room_options is not None:
        options["room_options"] = config.room_options
    await session.start(agent, room=ctx.room, **options)
    bound = min(cast.observer_timeout, observing.START_TIMEOUT)
    await observing.tell_start(cast.observers, info, session, bound=bound)
    if config.greeting is not None and not context.resumed() and not call.closed:
        await session.generate_reply(instructions=config.greeting)


async def _make_session(cast: Cast, config: AgentConfig, ctx: JobContext, tenant: str) -> AgentSession[Any]:
    from livekit.agents import AgentSession  # noqa: PLC0415

    fill_userdata(ctx.proc)
    if config.session_factory is not None:
        made: AgentSession[Any] = await _made(config.session_factory, ctx)
        return made
    said = await _providers(cast, config, tenant)
    options = {
        key: provider("vad", value) if key == "vad" and value is not None else value
        for key, value in config.session_kwargs.items()
    }
    if said.get("vad") is not None:
        options["vad"] = provider("vad", said["vad"])
    if config.userdata_factory is not None:
        options["userdata"] = await _made(config.userdata_factory, ctx)
    chosen = {kind: provider(kind, value) for kind in PROVIDER_KINDS if (value := said.get(kind)) is not None}
    return AgentSession(**chosen, **session_options(options, ctx.proc, llm=chosen.get("llm"), stt=chosen.get("stt")))


async def _make_agent(config: AgentConfig, ctx: JobContext) -> Agent:
    if config.agent_factory is not None:
        made: Agent = await _made(config.agent_factory, ctx)
        return made
    return config.agent_cls()  # type: ignore[call-arg]


async def _made(factory: Callable[[JobContext], Any], ctx: JobContext) -> Any:
    made = factory(ctx)
    return await made if inspect.isawaitable(made) else made


async def _providers(cast: Cast, config: AgentConfig, tenant: str) -> dict[str, Any]:
    """Return what stands in the record, under what replaces it for the tenant."""
    own = {kind: getattr(config, kind) for kind in PROVIDER_KINDS}
    if context.current_scope() is None:
        # Nobody asked for the tenant before: stock livekit-agents runs the session.
        return own | (await cast.tenants.providers(tenant) if cast.tenants else {})
    told: Mapping[str, Any] = PROVIDERS.get()
    if not any(value == OBJECT for value in told.values()):
        return own | dict(told)
    here = await cast.tenants.providers(tenant) if cast.tenants else {}
    lacking = [kind for kind, value in told.items() if value == OBJECT and kind not in here]
    if lacking:
        raise GreenroomError(
            f"The program has no longer a {lacking[0]} for the tenant '{tenant}'",
            fix="Let tenant_config answer the same in every process",
        )
    return own | {kind: here[kind] if value == OBJECT else value for kind, value in told.items()}
