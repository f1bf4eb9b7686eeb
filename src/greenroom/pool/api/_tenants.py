"""What a program says of its tenants: a mapping, or a function that is asked, each answer for a while."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from greenroom.pool.api._config import PROVIDER_KINDS

TenantConfig: TypeAlias = Mapping[str, Any]
TenantConfigSource: TypeAlias = (
    Mapping[str, TenantConfig] | Callable[[str], TenantConfig | None] | Callable[[str], Awaitable[TenantConfig | None]]
)
#: How long an answer with objects counts in the process that uses them, seconds.
_LIFETIME: Final = 60.0


class TenantSource:
    """What an ``AgentPool`` was given as ``tenant_config``.

    :raises TypeError: when it is neither a mapping nor callable.
    """

    def __init__(self, source: TenantConfigSource, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(source, Mapping) and not callable(source):
            raise TypeError(f"tenant_config must be a mapping or a callable, got {type(source).__name__}.")
        self._source = source
        self._clock = clock
        self._answers: dict[str, tuple[float, TenantConfig | None]] = {}

    async def ask(self, tenant: str) -> TenantConfig | None:
        """Return what the program says of a tenant now, ``None`` when it knows none. Raises what the program raises.

        A function that is no coroutine runs in a thread: it may wait for something.
        """
        if isinstance(self._source, Mapping):
            return self._source.get(tenant)
        if inspect.iscoroutinefunction(self._source):
            answer: Any = await self._source(tenant)
        else:
            answer = await asyncio.to_thread(self._source, tenant)
            if inspect.isawaitable(answer):
                answer = await answer
        return answer if answer is None or isinstance(answer, Mapping) else _refuse(answer)

    async def providers(self, tenant: str) -> dict[str, Any]:
        """Return what replaces providers for a tenant, by kind, from an answer that is not older than its lifetime."""
        at, answer = self._answers.get(tenant, (-_LIFETIME, None))
        if self._clock() - at >= _LIFETIME:
            answer = await self.ask(tenant)
            self._answers[tenant] = (self._clock(), answer)
        return providers_of(answer or {})


def providers_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the providers in an answer, whichever way it names them."""
    nested = answer.get("providers") or {}
    flat = {kind: answer[kind] for kind in PROVIDER_KINDS if kind in answer}
    return {kind: value for kind, value in {**nested, **flat}.items() if value is not None}


def _refuse(answer: object) -> Mapping[str, Any]:
    raise TypeError(f"tenant_config must return a mapping or None, got {type(answer).__name__}.")
