"""The ``AgentServer`` of a pool: for ``python -m livekit.agents`` and ``lk``, which know of no pool."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from greenroom.errors import MissingExtraError
from greenroom.pool._wire import Routed
from greenroom.pool.admission import Offer, Router
from greenroom.pool.api._host_face import ask_router, specs
from greenroom.pool.api._session import run_session
from greenroom.pool.api._turns import fill_userdata

if TYPE_CHECKING:
    from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest

    from greenroom.pool.api._pool import AgentPool

_log = logging.getLogger("greenroom.pool")


def make_server(pool: AgentPool) -> AgentServer:
    """Return a server whose one entrypoint finds the agent of each job itself.

    Its jobs run in threads of one process: what a pool holds need not be copied to another. It is the pool of
    ``greenroom agents`` that isolates calls, rescues them and keeps to limits.
    """
    try:
        from livekit.agents import AgentServer, JobExecutorType  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("An agent pool", "agents") from error

    def setup(process: JobProcess) -> None:
        if not pool.list_agents():
            raise RuntimeError("Register at least one agent before calling run().")
        fill_userdata(process)

    async def entrypoint(ctx: JobContext) -> None:
        await run_session(pool, ctx, await agent_for(pool, Offer.of(ctx.job), ctx.job))

    options: dict[str, Any] = {} if pool.port is None else {"port": pool.port}
    server = AgentServer(
        job_executor_type=JobExecutorType.THREAD,
        drain_timeout=pool.drain_timeout,
        job_memory_warn_mb=pool.memory_warn_mb,
        job_memory_limit_mb=pool.memory_limit_mb,
        setup_fnc=setup,
        **options,
    )
    server.rtc_session(entrypoint, agent_name=pool.agent_name or "", on_request=_filter(pool))
    return server


async def agent_for(pool: AgentPool, offer: Offer, job: Any, *, only_registered: bool = False) -> str:
    """Return which agent a job is for that no supervisor has routed.

    :raises RuntimeError: when the pool is empty.
    :raises ValueError: when the job names an agent that is not there, or the program's router fails.
    """
    if not pool.list_agents():
        raise RuntimeError("No agents are registered in the pool.")
    said = None
    if pool.router is not None:
        try:
            said = Routed(number=0, agent=await ask_router(pool, job))
        except Exception as error:
            raise ValueError(f"Custom router raised while resolving the agent for job '{offer.job_id}'.") from error
    # All agents of the pool are behind the one name that this server was dispatched to.
    here = [msgspec.structs.replace(each, dispatch=offer.dispatch, job_type=offer.job_type) for each in specs(pool)]
    router = Router(here, first_prefix=pool.options.first_prefix, only_registered_rooms=only_registered)
    routing = router.route(offer, said)
    if routing.agent is None:
        raise ValueError(routing.refusal.message if routing.refusal else "No agent of the pool takes the job.")
    _log.info("agent resolved", extra={"agent": routing.agent.name, "rule": str(routing.rule)})
    return routing.agent.name


def _filter(pool: AgentPool) -> Any:
    async def owned(request: JobRequest) -> None:
        try:
            await agent_for(pool, Offer.of(request.job), request.job, only_registered=True)
        except ValueError as error:
            _log.info("job is not ours", extra={"job_id": request.job.id, "problem": str(error)})
            await request.reject()
        else:
            await request.accept()

    return owned if pool.options.only_registered_rooms else pool.request_fnc
