"""Keeps the agents running: applies what :class:`~greenroom.dev._agent.Agent` decides to processes and the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.config import ApiKey
from greenroom.dev._agent import Agent, Effect, Say, Spawn, Status, Terminate
from greenroom.dev._handover import DevChannel
from greenroom.dev._lines import LIVEKIT_LOGGER, Line, explain_exit, parse_line
from greenroom.dev._watch import changes
from greenroom.dev._worker import Guardian, WorkerProcess, worker_command, worker_environment
from greenroom.errors import GreenroomError
from greenroom.pool.discovery import AgentFile, Discovery, Survey

if TYPE_CHECKING:
    from greenroom.control import AgentListing

_log = logging.getLogger("greenroom.dev")

# A file that an editor replaces is gone for an instant; one that stays gone was deleted.
_GONE_FOR: Final = 0.5
# So many workers import livekit-agents at a time; more would only slow each other down.
_STARTING_AT_ONCE: Final = max(2, os.cpu_count() or 2)
_SLOT_FOR: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What every agent process is told."""

    url: str
    key: ApiKey
    log_level: str = "INFO"
    compiled: bool = True
    observability: str = ""


@dataclass(slots=True)
class _Run:
    channel: DevChannel
    process: WorkerProcess | None = None
    registered: bool = False
    unwanted: bool = False
    held: list[Line] | None = None


class SupervisedAgent:
    """One agent and its processes."""

    def __init__(
        self,
        file: AgentFile,
        settings: WorkerSettings,
        guardian: Guardian,
        slots: asyncio.Semaphore,
        *,
        reload: bool,
        on_failed: Callable[[], None],
    ) -> None:
        self.file = file
        self.stamp = stamp_of(file)
        #: Set once its first process is there, or cannot be.
        self.launched = asyncio.Event()
        self._settings = settings
        self._guardian = guardian
        self._slots = slots
        self._on_failed = on_failed
        self._core = Agent(file.name, reload=reload, agent_name=file.agent_name)
        self._runs: dict[int, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    @property
    def failed(self) -> bool:
        """Whether it is broken, and nothing of it runs."""
        return self._core.failed and not self._runs

    def listing(self) -> AgentListing:
        """Return what the page shows."""
        from greenroom.control import AgentListing  # noqa: PLC0415 - agents start before this is needed

        core = self._core
        state = {Status.READY: "ready", Status.STARTING: "starting"}.get(core.status, "failed")
        name = core.agent_name if core.agent_name is not None else core.name
        return AgentListing(name=name, state=state, detail=core.detail)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it for the first time."""
        problem = _problem(self.file)
        self._apply(self._core.start(time.monotonic(), problem))
        if problem:
            self.launched.set()

    def update(self, file: AgentFile) -> None:
        """Take note of how its files are now; restart it if one of them was saved."""
        stamp = stamp_of(file)
        self.file = file
        if stamp != self.stamp:
            self.stamp = stamp
            self._apply(self._core.saved(time.monotonic(), _problem(file)))

    async def stop(self) -> None:
        """End every process and wait for it."""
        self._stopping = True
        self._apply(self._core.stop())
        for number in [*self._runs]:
            self._end(number)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(level, message, fields):
                    self._say(level, message, fields)
                case Spawn(number):
                    self._runs[number] = _Run(DevChannel(self._named), held=[])
                    self._task(self._spawn(number))
                case Terminate(number, successor):
                    self._end(number, successor)
        self._schedule()
        if self.failed:
            self._on_failed()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        due = self._core.next_wakeup
        if due is not None and not self._stopping:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._apply(self._core.tick(time.monotonic()))

    def _named(self, name: str) -> None:
        if self._core.agent_name is None:
            self._core.agent_name = name

    async def _spawn(self, number: int) -> None:
        try:
            await self._start_process(number, self._runs[number])
        except OSError as error:
            self.launched.set()
            self._forget(number)
            self._apply(self._core.exited(number, f"cannot be started: {error.strerror}", time.monotonic()))

    async def _start_process(self, number: int, run: _Run) -> None:
        settings = self._settings
        address = await run.channel.open()
        async with contextlib.AsyncExitStack() as slot:
            await slot.enter_async_context(self._slots)
            if number not in self._core.runs:
                self._forget(number)
                return
            command = worker_command(self.file, url=settings.url, cli_address=address, log_level=settings.log_level)
            environment = worker_environment(
                os.environ,
                url=settings.url,
                key=settings.key,
                compiled=settings.compiled,
                observability=settings.observability,
            )
            run.process = await WorkerProcess.spawn(
                command,
                environment,
                self._guardian,
                lambda raw: self._on_line(number, raw),
                lambda code, tail: self._on_exit(number, code, tail),
            )
            self.launched.set()
            if number not in self._core.runs:
                await run.process.terminate()
            # The slot is kept while the worker imports, unless it takes unreasonably long.
            await run.process.settled(_SLOT_FOR)

    def _end(self, number: int, successor: int | None = None) -> None:
        run = self._runs.get(number)
        if run is not None and not run.unwanted:
            run.unwanted = True
            self._task(self._hand_over(run, successor))

    async def _hand_over(self, run: _Run, successor: int | None) -> None:
        heir = self._runs.get(successor) if successor is not None else None
        jobs = await run.channel.running_jobs() if heir is not None else []
        if run.process is not None:
            await run.process.terminate()
        if heir is not None:
            heir.channel.inherit(jobs)
            if jobs:
                self._say(logging.INFO, "calls continue in the new version", {"calls": len(jobs)})

    def _on_line(self, number: int, raw: bytes) -> None:
        run = self._runs.get(number)
        if run is None:
            return
        line = parse_line(raw)
        name = line.registered_as
        if name is not None:
            self._registered(number, run, name)
        elif run.held is not None and line.explains_an_end:
            # Prints and tracebacks: if the worker dies now, one line says why, and these would bury it.
            run.held.append(line)
        else:
            self._print(line)

    def _registered(self, number: int, run: _Run, name: str) -> None:
        first = not run.registered
        run.registered = True
        if run.process is not None:
            run.process.settle()
        for line in run.held or ():
            self._print(line)
        run.held = None
        effects = list(self._core.registered(number, name, time.monotonic()))
        if first and not any(isinstance(effect, Terminate) for effect in effects):
            run.channel.inherit([])
        self._apply(effects)

    def _on_exit(self, number: int, code: int, tail: Sequence[str]) -> None:
        run = self._runs[number]
        ending = explain_exit(code, tail, self.file.files)
        self._forget(number)
        if not run.unwanted:
            # What the one line below cannot say, the lines themselves do.
            level = logging.DEBUG if ending.whole else logging.INFO
            for line in run.held or ():
                self._print(Line(line.message, level))
        self._apply(self._core.exited(number, ending.reason, time.monotonic()))

    def _forget(self, number: int) -> None:
        run = self._runs.pop(number)
        run.channel.close()

    def _print(self, line: Line) -> None:
        # What livekit-agents says of its processes is detail here: the server's log has the jobs.
        level = logging.DEBUG if line.is_routine else line.level
        if line.logger in {"", LIVEKIT_LOGGER}:
            self._say(level, line.message, line.fields)
        else:
            self._say(level, line.message, {"logger": line.logger, **line.fields})

    def _say(self, level: int, message: str, fields: Any) -> None:
        _log.log(level, "%s", message, extra={"source": self.file.name, "fields": fields})

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Supervisor:
    """All agents under one path.

    :param on_failed: called when, without reloading, none of the agents can ever run.
    """

    def __init__(
        self,
        discovery: Discovery,
        settings: WorkerSettings,
        guardian: Guardian,
        *,
        reload: bool = True,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.reload = reload
        self._discovery = discovery
        self._settings = settings
        self._guardian = guardian
        self._on_failed = on_failed
        self._slots = asyncio.Semaphore(_STARTING_AT_ONCE)
        self._agents: dict[Path, SupervisedAgent] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def names(self) -> list[str]:
        """What the log calls the agents."""
        return [agent.file.name for agent in self._agents.values()]

    @property
    def failed(self) -> bool:
        """Whether, without reloading, none of the agents can ever run."""
        return not self.reload and all(agent.failed for agent in self._agents.values())

    def listings(self) -> list[AgentListing]:
        """Return what the page shows."""
        return [agent.listing() for agent in self._agents.values()]

    async def start(self, survey: Survey) -> None:
        """Start the agents of ``survey``, and follow their files if reloading.

        Returns when as many processes are there as may start at once, so that they work while the caller does.
        """
        agents = [self._add(file) for file in survey.agents.values()]
        for agent in agents[:_STARTING_AT_ONCE]:
            await agent.launched.wait()
        if self.reload:
            self._watching = asyncio.get_running_loop().create_task(self._watch(survey.directories))

    async def stop(self) -> None:
        """End every process and wait for it."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        if self._agents:
            await asyncio.gather(*(agent.stop() for agent in self._agents.values()))

    def _add(self, file: AgentFile) -> SupervisedAgent:
        agent = SupervisedAgent(
            file, self._settings, self._guardian, self._slots, reload=self.reload, on_failed=self._check_failed
        )
        self._agents[file.path] = agent
        agent.start()
        return agent

    def _check_failed(self) -> None:
        if self.failed:
            self._on_failed()

    async def _watch(self, directories: frozenset[Path]) -> None:
        try:
            while True:
                directories = await self._watch_until_moved(directories)
        except Exception as error:
            # Too many watches, usually. Everything else goes on.
            _log.error("files are not watched any more, saving restarts nothing: %s", error, extra={"source": "dev"})

    async def _watch_until_moved(self, directories: frozenset[Path]) -> frozenset[Path]:
        # What was saved between two watches is found by looking once more.
        found = await self._follow(directories)
        if found != directories:
            return found
        async for _ in changes(directories):
            found = await self._follow(directories)
            if found != directories:
                break
        return found

    async def _follow(self, directories: frozenset[Path]) -> frozenset[Path]:
        try:
            survey = await asyncio.to_thread(self._discovery.survey)
            if self._agents.keys() - survey.agents.keys():
                await asyncio.sleep(_GONE_FOR)
                survey = await asyncio.to_thread(self._discovery.survey)
        except (GreenroomError, OSError) as error:
            _log.error("%s", error, extra={"source": "dev"})
            return directories
        for path in [*self._agents]:
            if path not in survey.agents:
                agent = self._agents.pop(path)
                _log.info("agent file is gone, stopping it", extra={"source": agent.file.name})
                await agent.stop()
        for path, file in survey.agents.items():
            if path in self._agents:
                self._agents[path].update(file)
            else:
                self._add(file)
        return survey.directories


def stamp_of(file: AgentFile) -> frozenset[tuple[Path, int, int]]:
    """Return what changes when one of the agent's files is saved."""
    stamps = []
    for path in file.files:
        with contextlib.suppress(OSError):
            status = path.stat()
            stamps.append((path, status.st_mtime_ns, status.st_ino))
    return frozenset(stamps)


def _problem(file: AgentFile) -> str:
    return "" if file.problem is None else str(file.problem)
