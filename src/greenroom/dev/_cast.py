"""The agents of ``greenroom dev``: a pool beside the server, told of line by line and on the page."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import GreenroomError
from greenroom.pool.discovery import AgentFile, Discovery, Survey
from greenroom.pool.settings import PoolSettings

if TYPE_CHECKING:
    from greenroom.control import AgentListing
    from greenroom.pool.supervisor import Output, Pool
    from greenroom.reports import AgentReport

_log = logging.getLogger("greenroom.dev")

PROGRESS: Final = (3.0, 6.0, 10.0, 20.0, 40.0)
_HINT_AFTER: Final = 20.0


class Cast:
    """The agents under one path.

    :param settings: of the pool that runs them.
    :param on_failed: called when, without reloading, none of the agents can ever run.
    """

    def __init__(
        self,
        discovery: Discovery,
        survey: Survey,
        settings: PoolSettings,
        *,
        on_failed: Callable[[], None],
        on_output: Callable[[Output], None] | None = None,
        cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
    ) -> None:
        #: Whether, without reloading, none of the agents can ever run.
        self.failed = False
        self._discovery = discovery
        self._files = survey.agents
        self._settings = settings
        self._on_failed = on_failed
        self._on_output = on_output
        self._cost_of = cost_of
        self._pool: Pool | None = None
        self._told: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = 0.0

    @property
    def names(self) -> list[str]:
        """What a person calls the agents: their files."""
        return [file.name for file in self._files.values()]

    async def start(self) -> None:
        """Begin to load the agents; the server that they will ask for may come up later."""
        # It brings the pool's own imports, which take longer than to open a port.
        from greenroom.pool.supervisor import Pool  # noqa: PLC0415

        self._begun = time.monotonic()
        _log.info("%s", f"starting {', '.join(self.names)}…", extra={"source": "dev"})
        self._pool = Pool(self._settings, on_output=self._on_output, cost_of=self._cost_of, discover=self._discover)
        self._pool.listen(self._follow)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(self._pool)), loop.create_task(self._tell_progress())]
        # Its process is started before anything else is done.
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """End the agents and wait for their processes. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pool is not None:
            await self._pool.stop()

    def listings(self) -> list[AgentListing]:
        """Return what the page shows."""
        from greenroom.control import AgentListing  # noqa: PLC0415 - agents start before this is needed

        reports = self._reports()
        if not reports and not self.failed:
            return [
                AgentListing(name=file.agent_name or "", state="starting", detail=f"starting {file.name}")
                for file in self._files.values()
            ]
        return [
            AgentListing(name=self._name(report), state=report.state, detail=report.detail)  # type: ignore[arg-type]
            for report in reports
        ]

    def _reports(self) -> Sequence[AgentReport]:
        return self._pool.snapshot().agents if self._pool is not None else ()

    def _name(self, report: AgentReport) -> str:
        if report.state != "failed":
            return report.dispatch
        file = self._files.get(Path(report.source))
        return (file.agent_name if file is not None else None) or report.name

    def _discover(self) -> Sequence[Path]:
        found: dict[Path, AgentFile] = self._discovery.survey().agents
        self._files = found
        return [*found]

    async def _run(self, pool: Pool) -> None:
        try:
            await pool.start()
        except GreenroomError as error:
            _log.error("%s", error, extra={"source": "dev"})
            self._fail()

    def _fail(self) -> None:
        self.failed = True
        self._on_failed()

    def _follow(self) -> None:
        """Say what has become of each agent since last time."""
        now = time.monotonic()
        first = self._pool is not None and self._pool.snapshot().generation <= 1
        reports = self._reports()
        for report in reports:
            before = self._told.get(report.name)
            if report.state == "ready" and before != "ready":
                called = f"agent {report.dispatch}" if report.dispatch else "agent for every room"
                after = f" in {now - self._begun:.1f} s" if first else ""
                _log.info("%s", f"{called} registered{after}", extra={"source": "dev"})
            self._told[report.name] = report.state
        for name in self._told.keys() - {report.name for report in reports}:
            del self._told[name]

    async def _tell_progress(self) -> None:
        for due in PROGRESS:
            await asyncio.sleep(max(0.0, self._begun + due - time.monotonic()))
            if "ready" in self._told.values() or self.failed:
                return
            hint = "; its log says why it does not reach the server" if due >= _HINT_AFTER else ""
            _log.info("%s", f"starting {', '.join(self.names)}… {due:.0f} s{hint}", extra={"source": "dev"})
