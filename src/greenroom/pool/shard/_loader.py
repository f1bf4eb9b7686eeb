"""Loads user files once, for every process that is forked: which agents are in them, and which files are broken."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from greenroom.pool._model import AgentSpec, Failure, Kind, Manifest
from greenroom.pool.api import AgentPool, capture
from greenroom.pool.api import _host_face as pools
from greenroom.pool.discovery import Launch, local_files, read_source, shown
from greenroom.pool.discovery import local_modules as imported_modules
from greenroom.pool.shard._classes import Advisors, merged, programs, specs
from greenroom.pool.shard._prewarm import ENVIRONMENT, prewarm
from greenroom.pool.shard._program import Catalog, Program
from greenroom.pool.shard._source import (
    arguments,
    failure_of,
    import_file,
    local_modules,
    module_for_main,
    root_of,
    run_as_main,
)
from greenroom.pool.shard._upstream_inference import wanted
from greenroom.pool.shard._upstream_job import prepare_nursery
from greenroom.pool.shard._upstream_server import Captured, ServerParts, captured_servers, is_server, read_server

logger = logging.getLogger("greenroom.pool")

_NO_AGENT: Final = (
    "there is no agent in it: define an AgentServer with @server.rtc_session(), register classes with an AgentPool, "
    "or define an Agent class"
)
_RUNS: Final = re.compile(rb"\b(run_app|AgentPool|AgentServer)\b")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NO_ENTRYPOINT: Final = "its AgentServer has no entrypoint: decorate one with @server.rtc_session()"


class Loader:
    """Fills a :class:`Catalog`, file by file.

    :param on_loading: told of each file before it is loaded, which may take the process with it.
    """

    def __init__(self, paths: Sequence[str], on_loading: Callable[[str], None]) -> None:
        self.catalog = Catalog()
        self._paths = [Path(path) for path in paths]
        self._on_loading = on_loading
        self._roots = frozenset({Path.cwd(), *(path.parent for path in self._paths), *map(root_of, self._paths)})
        self._sources: dict[str, set[Path]] = {}
        self._modules: dict[str, tuple[Path, Path]] = {}
        self._claimed: set[int] = set()
        self._keep: list[Any] = []
        pools.note_makers()

    def load(self, skip: Sequence[str] = ()) -> Catalog:
        """Load every file but those to ``skip``; one that is broken does not keep the others back."""
        catalog = self.catalog
        for path in self._paths:
            if str(path) in skip:
                continue
            self._on_loading(str(path))
            try:
                self._load(path)
            except (Exception, SystemExit) as error:
                self._fail(failure_of(path, error, self._roots))
                # What it had no time to import is nobody's yet.
                claims = {name: claim for name, claim in self._modules.items() if claim[1] == path}
                for name in claims.keys() - sys.modules.keys():
                    del self._modules[name]
        catalog.files |= {str(file) for path in self._paths for file in local_files(path)}
        catalog.files |= {str(path) for path in local_modules(self._roots).values()}
        catalog.options = merged(catalog.pools)
        catalog.advice = Advisors(catalog.pools) if catalog.pools else None
        return catalog

    def warm(self, options: Mapping[str, Any]) -> None:
        """Load what the sessions of all shards share; agents that miss a model do not enter service."""
        for name in dict.fromkeys(name for program in self.catalog.programs.values() for name in program.preload):
            try:
                importlib.import_module(name)
            except Exception:
                logger.warning("a module cannot be preloaded", extra={"wanted": name}, exc_info=True)
        with _no_models():
            importlib.import_module("livekit.agents.ipc._preload")
        prepare_nursery()
        loaded = {program.spec.source for program in self.catalog.programs.values()}
        sources = {source: [*map(str, files)] for source, files in self._sources.items() if source in loaded}
        for failure in prewarm(sources, options).failures:
            self._fail(failure)
            self.catalog.programs = {
                name: program
                for name, program in self.catalog.programs.items()
                if program.spec.source != failure.source
            }
        # Not before: a model that no agent can use needs no process.
        self.catalog.inference = wanted()

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
        problem = self._clash(path)
        if problem:
            self._fail(Failure(source=str(path), message=problem))
            return
        before = {*local_modules(self._roots).values()}
        servers, found = self._run(path)
        files = {*local_files(path), *({*local_modules(self._roots).values()} - before)}
        self._sources[str(path)] = files
        digest = _fingerprint(files)
        if not servers and not found:
            self._fail(Failure(source=str(path), message=_NO_AGENT))
        for pool in self._fresh(found):
            self.catalog.pools.append(pool)
            self._sources.update({spec.source: files for spec in specs(pool, path)})
            for each in (*pool.failures, *programs(pool, path, digest)):
                if isinstance(each, Failure):
                    self._fail(each)
                else:
                    self._add(each)
        parts = [(server, read_server(server)) for server in self._fresh(servers)]
        for server, each in parts:
            if each.entrypoint is not None:
                self._add(_program(path, server, each, digest, self._name(path, each.agent_name)))
        if parts and not found and not any(each.entrypoint for _, each in parts):
            self._fail(Failure(source=str(path), message=_NO_ENTRYPOINT))

    def _run(self, path: Path) -> tuple[list[Any], list[AgentPool]]:
        """Run a file; return the servers and pools that it brings."""
        text = path.read_bytes()
        captured: list[Any] = []
        with captured_servers(captured), capture() as noted, arguments(path):
            source = read_source(path, text)
            as_main = source.launch is Launch.SCRIPT
            namespace = self._namespace(path, as_main=as_main)
            if not captured and not noted.run and not as_main and _has_main(text) and not _serves(namespace):
                namespace = self._namespace(path, as_main=True)
            brought = pools.programs_of({} if captured else namespace, noted)
        owned = {id(pool.made_server) for pool in brought.pools if pool.made_server is not None}
        servers = {id(server): server for server in (*captured, *brought.servers.values())}
        return [server for key, server in servers.items() if key not in owned], list(brought.pools)

    def _namespace(self, path: Path, *, as_main: bool) -> dict[str, Any]:
        if as_main:
            module = module_for_main(path)
            self._keep.append(module)
            with contextlib.suppress(Captured):
                run_as_main(module)
            return vars(module)
        with contextlib.suppress(Captured):
            return vars(import_file(path))
        return {}

    def _clash(self, path: Path) -> str:
        """Return why a file cannot be loaded beside those before it: a module's name can stand for one file only."""
        for name, file in imported_modules(path).items():
            known, user = self._modules.setdefault(name, (file, path))
            if known != file:
                return (
                    f"'import {name}' means {shown(file)} here and {shown(known)} in {shown(user)}, "
                    "which is in the same pool: rename one of them, or make their directories packages"
                )
        return ""

    def _fresh(self, found: Sequence[Any]) -> Iterator[Any]:
        # What a second file imports from the first is the first's.
        for each in found:
            if id(each) not in self._claimed:
                self._claimed.add(id(each))
                self._keep.append(each)
                yield each

    def _name(self, path: Path, given: str) -> str:
        """Return what the pool calls an agent: what it registers as, else the name of its file, made to fit."""
        if given:
            return given
        alike = [other for other in self._paths if other.stem == path.stem]
        name = path.stem if len(alike) == 1 else f"{path.parent.name}-{path.stem}"
        name = _NO_NAME.sub("-", name).strip("-") or "agent"
        taken = self.catalog.programs
        return next(each for each in chain((name,), (f"{name}-{number}" for number in count(2))) if each not in taken)

    def _add(self, program: Program) -> None:
        known = self.catalog.programs.get(program.spec.name)
        if known is not None:
            message = f"the agent '{program.spec.name}' is in {shown(Path(known.spec.source))} already"
            self._fail(Failure(source=program.spec.source, message=message))
            return
        self.catalog.programs[program.spec.name] = program

    def _fail(self, failure: Failure) -> None:
        self.catalog.failures.append(failure)


def _program(path: Path, server: Any, parts: ServerParts, digest: str, name: str) -> Program:
    return Program(
        spec=AgentSpec(
            name=name,
            dispatch=parts.agent_name,
            kind=Kind.PROGRAM,
            source=str(path),
            job_type=parts.job_type,
            permissions=parts.permissions,
            asks=parts.request is not None,
            fingerprint=digest,
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


@contextlib.contextmanager
def _no_models() -> Iterator[None]:
    # Which models are loaded is decided by what the agents use.
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = "0"
    try:
        yield
    finally:
        del os.environ[ENVIRONMENT]
        if before is not None:
            os.environ[ENVIRONMENT] = before


def _serves(namespace: Mapping[str, Any]) -> bool:
    """Whether a module has a program already when it is merely imported. Classes alone may be for its main part."""
    return any(
        bool(value.list_agents()) if isinstance(value, AgentPool) else bool(read_server(value).entrypoint)
        for value in namespace.values()
        if isinstance(value, AgentPool) or is_server(value)
    )


def _has_main(text: bytes) -> bool:
    """Whether a file does more when it is run than when it is imported, and that has to do with agents."""
    if not _RUNS.search(text):
        return False
    with contextlib.suppress(SyntaxError, ValueError):
        tree = ast.parse(text)
        return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
    return False


def _fingerprint(files: set[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        with contextlib.suppress(OSError):
            digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
