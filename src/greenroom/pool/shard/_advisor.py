"""The advisor: answers what only user code can. It has no sessions that a slow answer could hold up."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Protocol

from greenroom.pool._wire import (
    Answer,
    Ask,
    AskRouter,
    AskTenant,
    Beat,
    Ready,
    Retire,
    Routed,
    ShardSettings,
    TenantFound,
    ToShard,
    to_shard,
)
from greenroom.pool.shard._loop import finish, new_loop, run_through
from greenroom.pool.shard._pipe import LoopPipe
from greenroom.pool.shard._program import Catalog
from greenroom.pool.shard._upstream_server import ask

logger = logging.getLogger("greenroom.pool")


class Advice(Protocol):
    """What programs with an ``AgentPool`` decide themselves."""

    async def route(self, job: bytes) -> str | None:
        """Return the agent that a router names; ``None`` leaves the choice open."""

    async def tenant(self, tenant: str) -> dict[str, Any] | None:
        """Return what a resolver says of a tenant, ``None`` for an unknown one."""


class Advisor:
    """Answers questions, several at a time, each by a task of its own."""

    def __init__(self, catalog: Catalog, settings: ShardSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._catalog = catalog
        self._settings = settings
        self._loop = loop
        self._over = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._pipe: LoopPipe[ToShard] | None = None

    async def run(self, end: socket.socket) -> None:
        """Serve until retired, or until the supervisor is gone."""
        self._pipe = LoopPipe(end, to_shard, self._loop, self._hear, self._over.set)
        self._pipe.send(Ready())
        beating = self._loop.create_task(self._beat(self._pipe))
        await self._over.wait()
        beating.cancel()
        for task in self._answering:
            task.cancel()
        self._pipe.close()

    async def _beat(self, pipe: LoopPipe[ToShard]) -> None:
        while True:
            pipe.send(Beat())
            await asyncio.sleep(self._settings.beat)

    def _hear(self, message: ToShard) -> None:
        match message:
            case Ask():
                self._start(self._ask(message))
            case AskRouter():
                self._start(self._route(message))
            case AskTenant():
                self._start(self._tenant(message))
            case Retire():
                self._over.set()
            case _:
                logger.error("the advisor was told what only others do", extra={"told": type(message).__name__})

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _tell(self, message: Answer | Routed | TenantFound) -> None:
        if self._pipe is not None:
            self._pipe.send(message)

    async def _ask(self, question: Ask) -> None:
        program = self._catalog.programs.get(question.agent)
        if program is None or program.asks is None:
            known = program is not None
            problem = "" if known else f"there is no agent '{question.agent}'"
            self._tell(Answer(number=question.number, accepted=known, problem=problem))
            return
        told = False

        def tell(**decision: Any) -> None:
            nonlocal told
            if not told:
                told = True
                self._tell(Answer(number=question.number, **decision))

        try:
            await ask(question.job, program.asks, tell)
        except Exception as error:
            logger.exception("an agent's request filter failed", extra={"agent": question.agent})
            tell(accepted=False, problem=f"its request filter failed: {type(error).__name__}: {error}")
        # As upstream has it: refused, and others may be asked.
        tell(accepted=False, problem="its request filter gave no answer")

    async def _route(self, question: AskRouter) -> None:
        try:
            advice = self._catalog.advice
            agent = await advice.route(question.job) if advice is not None else None
        except Exception as error:
            logger.exception("the router failed")
            self._tell(Routed(number=question.number, problem=_said(error)))
        else:
            self._tell(Routed(number=question.number, agent=agent))

    async def _tenant(self, question: AskTenant) -> None:
        try:
            advice = self._catalog.advice
            found = await advice.tenant(question.tenant) if advice is not None else None
        except Exception as error:
            logger.exception("the resolver of tenants failed", extra={"tenant": question.tenant})
            self._tell(TenantFound(number=question.number, problem=_said(error)))
        else:
            self._tell(TenantFound(number=question.number, found=found))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def run_advisor(end: socket.socket, catalog: Catalog, settings: ShardSettings) -> None:
    """Be the advisor, until retired."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        run_through(loop, Advisor(catalog, settings, loop).run(end))
    finally:
        finish(loop)
