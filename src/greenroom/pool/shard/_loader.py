"""Loads user files once, for every process that is forked: which agents are in them, and which files are broken."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from greenroom.pool._model import AgentSpec, Failure, Kind, Manifest
from greenroom.pool.discovery import Launch, read_source, shown
from greenroom.pool.shard._program import Catalog, Program
from greenroom.pool.shard._source import (
    arguments,
    failure_of,
    import_file,
    local_modules,
    root_of,
    run_as_main,
)
from greenroom.pool.shard._upstream_server import Captured, captured_servers, is_server, read_server

logger = logging.getLogger("greenroom.pool")

_NO_AGENT = (
    "there is no agent in it: define an AgentServer with @server.rtc_session(), register classes with an AgentPool, "
    "or define an Agent class"
)
_NO_ENTRYPOINT = "its AgentServer has no entrypoint: decorate one with @server.rtc_session()"


class Loader:
    """Fills a :class:`Catalog`, file by file.

    :param on_loading: told of each file before it is loaded, which may take the process with it.
    """

    def __init__(self, paths: Sequence[str], on_loading: Callable[[str], None]) -> None:
        self.catalog = Catalog()
        self._paths = [Path(path) for path in paths]
        self._on_loading = on_loading
        self._roots = frozenset({Path.cwd(), *(path.parent for path in self._paths), *map(root_of, self._paths)})
        self._claimed: dict[int, Path] = {}
        self._keep: list[Any] = []

    def load(self, skip: Sequence[str] = ()) -> Catalog:
        """Load every file but those to ``skip``; one that is broken does not keep the others back."""
        for path in self._paths:
            if str(path) in skip:
                self._fail(Failure(source=str(path), message="loading it ended the process that loads agents"))
                continue
            self._on_loading(str(path))
            try:
                self._load(path)
            except (Exception, SystemExit) as error:
                self._fail(failure_of(path, error, self._roots))
        self.catalog.files |= {str(path) for path in self._paths}
        self.catalog.files |= {str(path) for path in local_modules(self._roots).values()}
        return self.catalog

    def manifest(self) -> Manifest:
        """Return what the supervisor is told."""
        catalog = self.catalog
        return Manifest(
            agents=tuple(program.spec for program in catalog.programs.values()),
            failures=tuple(catalog.failures),
            files=tuple(sorted(catalog.files)),
            options=catalog.options,
            versions=catalog.versions,
            inference=catalog.inference,
        )

    def _load(self, path: Path) -> None:
        before = {*local_modules(self._roots).values()}
        servers = list(self._servers(path))
        files = {path, *({*local_modules(self._roots).values()} - before)}
        fresh = [server for server in servers if id(server) not in self._claimed]
        if not servers:
            self._fail(Failure(source=str(path), message=_NO_AGENT))
        for server in fresh:
            self._claimed[id(server)] = path
            self._keep.append(server)
            parts = read_server(server)
            if parts.entrypoint is None:
                if len(fresh) == 1:
                    self._fail(Failure(source=str(path), message=_NO_ENTRYPOINT))
                continue
            self._add(
                Program(
                    spec=AgentSpec(
                        name=parts.agent_name or path.stem,
                        dispatch=parts.agent_name,
                        kind=Kind.PROGRAM,
                        source=str(path),
                        job_type=parts.job_type,
                        permissions=parts.permissions,
                        asks=parts.request is not None,
                        fingerprint=_fingerprint(files),
                    ),
                    entrypoint=parts.entrypoint,
                    asks=parts.request,
                    session_end=parts.session_end,
                    simulation_end=parts.simulation_end,
                    setup=parts.setup,
                    shares=server,
                    http_proxy=parts.http_proxy,
                    session_end_timeout=parts.session_end_timeout,
                    setup_timeout=parts.setup_timeout,
                    preload=parts.preload,
                )
            )

    def _servers(self, path: Path) -> Iterator[Any]:
        captured: list[Any] = []
        source = read_source(path, path.read_bytes())
        with captured_servers(captured), arguments(path):
            found = self._run(path, as_main=source.launch is Launch.SCRIPT)
            servers = _in(found)
            if not any(read_server(server).entrypoint for server in [*servers, *captured]) and _has_main(path):
                found = self._run(path, as_main=True)
                servers += _in(found)
        yield from {id(server): server for server in [*captured, *servers]}.values()

    def _run(self, path: Path, *, as_main: bool) -> ModuleType | None:
        try:
            module = run_as_main(path) if as_main else import_file(path)
        except Captured:
            return None
        if as_main:
            self._keep.append(module)
        return module

    def _add(self, program: Program) -> None:
        known = self.catalog.programs.get(program.spec.name)
        if known is not None:
            message = f"the agent '{program.spec.name}' is in {shown(Path(known.spec.source))} already"
            self._fail(Failure(source=program.spec.source, message=message))
            return
        self.catalog.programs[program.spec.name] = program

    def _fail(self, failure: Failure) -> None:
        logger.error("agent file cannot be loaded", extra={"file": failure.source, "line": failure.line})
        self.catalog.failures.append(failure)


def preload(catalog: Catalog) -> None:
    """Import what the programs want to share, beside what upstream does; a missing module is told, and no more."""
    for name in dict.fromkeys(name for program in catalog.programs.values() for name in program.preload):
        try:
            importlib.import_module(name)
        except Exception:
            logger.warning("a module cannot be preloaded", extra={"name_of_module": name}, exc_info=True)


def _in(module: ModuleType | None) -> list[Any]:
    return [value for value in vars(module).values() if is_server(value)] if module is not None else []


def _has_main(path: Path) -> bool:
    with contextlib.suppress(SyntaxError, ValueError):
        tree = ast.parse(path.read_bytes())
        return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
    return False


def _fingerprint(files: set[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        with contextlib.suppress(OSError):
            digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
