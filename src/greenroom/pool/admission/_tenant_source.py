"""Where tenants come from: a file that is read again, a resolver that is asked once. The only I/O of admission."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from greenroom.errors import ConfigError, GreenroomError
from greenroom.pool._settings import TenantSettings, TenantsSettings
from greenroom.pool._wire import TenantFound
from greenroom.pool.admission._offer import Refusal
from greenroom.pool.admission._tenants import Found, Known, TenantTable, answer_of, tenants_of

_log = logging.getLogger(__name__)
Resolve: TypeAlias = Callable[[str], Awaitable[TenantFound]]
#: Once, and once more when other code came into service meanwhile.
_TRIES: Final = 2
_Signature: TypeAlias = tuple[int, int, int] | None


class Tenants:
    """What a pool asks of a tenant.

    :param resolve: asks the program's resolver, see ``AskTenant``; ``None`` when it has none.
    :param patience: seconds for the resolver to answer; no call waits longer.
    """

    def __init__(
        self,
        settings: TenantsSettings,
        *,
        resolve: Resolve | None = None,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._patience = patience
        self._clock = clock
        self._table = TenantTable(
            settings.known, lifetime=settings.lifetime, strict=settings.strict, resolves=resolve is not None
        )
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._seen: _Signature = None

    def load(self) -> None:
        """Read the file for the first time. Raises :class:`ConfigError`: a pool does not start on a broken one."""
        if self._settings.file is not None:
            self._seen = _signature(Path(self._settings.file))
            self._table.replace_file(_read(Path(self._settings.file)))

    def listed(self) -> dict[str, TenantSettings]:
        """Return those that stand in the configuration or the file."""
        return self._table.all()

    def refresh(self) -> bool:
        """Read the file again if it was saved since. What is broken is told, and the last good one stays.

        :returns: whether other tenants hold now.
        """
        if self._settings.file is None:
            return False
        path = Path(self._settings.file)
        signature = _signature(path)
        if signature == self._seen:
            return False
        try:
            tenants = _read(path)
        except ConfigError as error:
            self._seen = signature
            _log.warning("tenants unchanged: their file is broken", extra={"file": str(path), "problem": str(error)})
            return False
        if _signature(path) != signature:
            return False  # It is being written: a part of it may read like a whole.
        self._seen = signature
        self._table.replace_file(tenants)
        _log.info("tenants read", extra={"file": str(path), "tenants": len(tenants)})
        return True

    def apply(self, settings: TenantsSettings) -> None:
        """Take other settings while running. Raises :class:`ConfigError` and changes nothing when a file is broken."""
        signature = _signature(Path(settings.file)) if settings.file is not None else None
        tenants = _read(Path(settings.file)) if settings.file is not None else {}
        self._seen = signature
        self._settings = settings
        self._table.apply(settings.known, lifetime=settings.lifetime, strict=settings.strict)
        self._table.replace_file(tenants)

    def resolve_with(self, resolve: Resolve | None) -> None:
        """Ask other code from now on, and forget what the former said."""
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()
        self._resolve = resolve
        self._table.resolve_with(resolves=resolve is not None)

    async def find(self, tenant: str) -> TenantSettings | Refusal:
        """Return with which settings a call of this tenant runs, or why it does not.

        Callers that ask for the same tenant while the resolver is busy wait for the same answer.
        """
        found = self._look(tenant)
        for _ in range(_TRIES):
            asking = self._asking.get(tenant)
            if found.known is not Known.PENDING or asking is None:
                break
            await asyncio.wait([asking])
            found = self._look(tenant)
        return self._table.settle(tenant, found)

    async def aclose(self) -> None:
        """Ask nobody any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look(self, tenant: str) -> Found:
        found = self._table.find(tenant, self._clock())
        if found.ask and self._resolve is not None:
            task = asyncio.create_task(self._ask(tenant, self._resolve))
            self._asking[tenant] = task
            task.add_done_callback(lambda done: self._asked(tenant, done))
        return found

    def _asked(self, tenant: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(tenant) is task:
            del self._asking[tenant]

    async def _ask(self, tenant: str, resolve: Resolve) -> None:
        try:
            said = await asyncio.wait_for(resolve(tenant), self._patience)
            settings = None if said.found is None else answer_of(said.found)
            problem = said.problem
        except TimeoutError:
            settings, problem = None, f"no answer within {self._patience:g} s"
        except GreenroomError as error:
            settings, problem = None, str(error)
        except Exception as error:  # Whatever it is, the tenant must not stay unasked for ever.
            settings, problem = None, type(error).__name__
        if problem:
            _log.warning("a tenant could not be resolved", extra={"tenant": tenant, "problem": problem})
            self._table.failed(tenant, problem, self._clock())
        else:
            self._table.answered(tenant, settings, self._clock())


def _read(path: Path) -> dict[str, TenantSettings]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The file of tenants {path} cannot be read: {error.strerror}", fix="Correct tenants.file"
        ) from None
    return tenants_of(text, path=str(path))


def _signature(path: Path) -> _Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
