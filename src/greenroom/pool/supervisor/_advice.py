"""Asks the process that runs the user's routers, filters and resolvers; an answer comes in time, or a problem."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final

from greenroom.pool._wire import (
    Answer,
    Ask,
    AskRouter,
    AskTenant,
    Routed,
    TenantFound,
)
from greenroom.pool.supervisor._shards import Shard

_GONE: Final = "the process that answers for the program ended"
_NONE: Final = "there is no process that answers for the program"


class Advice:
    """Questions under way to one generation's advisor.

    :param patience: seconds that an answer may take.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer | Routed | TenantFound]] = {}
        self._process: Shard | None = None

    @property
    def process(self) -> Shard | None:
        """Who answers."""
        return self._process

    def use(self, process: Shard | None) -> None:
        """Ask another process from now on. Who waits for the one before gets a problem."""
        self._process = process
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(_GONE))

    def answered(self, message: Answer | Routed | TenantFound) -> None:
        """The advisor answers."""
        future = self._waiting.pop(message.number, None)
        if future is not None and not future.done():
            future.set_result(message)

    async def accepts(self, agent: str, job: bytes) -> Answer:
        """Ask whether an agent takes an offer."""
        found = await self._ask(lambda number: Ask(number=number, agent=agent, job=job))
        if isinstance(found, Answer):
            return found
        return Answer(number=0, accepted=False, problem=_problem(found))

    async def route(self, job: bytes) -> Routed:
        """Ask which agent the router names."""
        found = await self._ask(lambda number: AskRouter(number=number, job=job))
        return found if isinstance(found, Routed) else Routed(number=0, problem=_problem(found))

    async def tenant(self, tenant: str) -> TenantFound:
        """Ask what the resolver says of a tenant."""
        found = await self._ask(lambda number: AskTenant(number=number, tenant=tenant))
        return found if isinstance(found, TenantFound) else TenantFound(number=0, problem=_problem(found))

    async def _ask(self, question: Callable[[int], Ask | AskRouter | AskTenant]) -> Answer | Routed | TenantFound | str:
        if self._process is None:
            return _NONE
        number = next(self._numbers)
        future: asyncio.Future[Answer | Routed | TenantFound] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._process.send(question(number))
        try:
            async with asyncio.timeout(self._patience):
                return await future
        except TimeoutError:
            return f"no answer within {self._patience:g} s"
        except ConnectionError as error:
            return str(error)
        finally:
            self._waiting.pop(number, None)


def _problem(found: object) -> str:
    return found if isinstance(found, str) else "the process that answers for the program answered something else"
