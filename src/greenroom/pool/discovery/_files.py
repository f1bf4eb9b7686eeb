"""Which agents live under a path, and which files each of them is made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from greenroom.errors import ConfigError
from greenroom.pool.discovery._source import ImportedName, Launch, Problem, Source, mentions_agent, read_source

MAX_AGENTS: Final = 200
_MAX_FILES: Final = 20_000
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "conda-meta"})
_AGENT_FIX: Final = (
    "An agent file imports livekit.agents and defines an AgentServer or an Agent class: "
    "see examples/agents/front_desk.py"
)


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A program that runs with livekit-agents.

    :param path: absolute.
    :param name: what the log calls it; unique under the path that was searched.
    :param agent_name: what it registers as, where the file says so literally; ``""`` is the unnamed agent.
    :param files: the file and every local file it imports: saving one of them restarts the agent.
    :param problem: why it cannot be started as it is.
    """

    path: Path
    name: str
    launch: Launch = Launch.MODULE
    agent_name: str | None = None
    files: frozenset[Path] = frozenset()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: the agents by path, and the directories whose files matter."""

    agents: dict[Path, AgentFile]
    directories: frozenset[Path]


@dataclass(slots=True)
class _Cache:
    """Parsed files by path, valid while size and modification time stay. ``None`` is a file without agent words."""

    entries: dict[Path, tuple[tuple[int, int], Source | None]] = field(default_factory=dict)

    def read(self, path: Path, *, must_mention: bool) -> Source | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self.entries.get(path)
            if known and known[0] == stamp and (known[1] or must_mention):
                return known[1]
            text = path.read_bytes()
        except OSError:
            return None
        source = read_source(path, text) if not must_mention or mentions_agent(text) else None
        self.entries[path] = (stamp, source)
        return source


class Discovery:
    """Finds agents under one path, again and again while files change."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`ConfigError` when ``path`` does not exist or is not a Python file or directory."""
        self._given = path
        self._root = path.resolve()
        self._cache = _Cache()
        if not self._root.exists():
            raise ConfigError(f"'{path}' does not exist", fix="Pass an agent's file or a directory that holds agents")
        if self._root.is_file() and self._root.suffix != ".py":
            raise ConfigError(f"'{path}' is not a Python file", fix="Pass an agent's .py file or a directory")

    def survey(self) -> Survey:
        """Look again. Raises :class:`ConfigError` when there is more than may sensibly be started."""
        directories = {self._root} if self._root.is_dir() else {self._root.parent}
        if self._root.is_file():
            sources = {self._root: self._cache.read(self._root, must_mention=False)}
        else:
            sources = {}
            for path in self._walk(directories):
                source = self._cache.read(path, must_mention=True)
                if source and (source.launch or source.problem):
                    sources[path] = source
        borrowed = {
            target
            for path, source in sources.items()
            if source and source.server_from
            for target in _resolve(path, source.server_from)
        }
        found = {path: source for path, source in sources.items() if source and path not in borrowed}
        for path in self._left_to_others(found):
            del found[path]
        if len(found) > MAX_AGENTS:
            raise ConfigError(
                f"Found {len(found)} files with agents under '{self._given}', and more than {MAX_AGENTS} are too many",
                fix="Name one of the files, or a smaller directory",
            )
        names = _names(list(found), self._root)
        agents = {path: self._agent(path, source, names[path]) for path, source in found.items()}
        directories |= {file.parent for agent in agents.values() for file in agent.files}
        return Survey(agents, frozenset(directories))

    def require_agents(self) -> Survey:
        """Look for the first time. Raises :class:`ConfigError` when there is no agent."""
        survey = self.survey()
        if not survey.agents:
            raise ConfigError(f"No LiveKit agent found under '{self._given}'", fix=_AGENT_FIX)
        return survey

    def _left_to_others(self, found: dict[Path, Source]) -> list[Path]:
        """Return the files with no more than classes that others bring, or that are nobody's agents.

        Others are those that import them, or that make a pool. Beside programs a class that is not decorated is a part
        of one.
        """
        classes = [path for path, source in found.items() if source.launch is Launch.CLASSES]
        if any(source.pool for source in found.values()):
            return classes
        brought = {file for path in found for file in _closure(path, self._cache)[0] if file != path}
        programs = any(source.program for source in found.values())
        return [path for path in classes if path in brought or (programs and not found[path].decorated)]

    def _walk(self, directories: set[Path]) -> Iterator[Path]:
        files = 0
        for parent, children, names in os.walk(self._root):
            children[:] = [child for child in sorted(children) if not _skips(Path(parent, child))]
            directories.update(Path(parent, child) for child in children)
            for name in sorted(names):
                files += 1
                if files > _MAX_FILES:
                    raise ConfigError(
                        f"'{self._given}' holds more than {_MAX_FILES} files",
                        fix="Name the agent's file, or the directory it is in",
                    )
                if name.endswith(".py"):
                    yield Path(parent, name)

    def _agent(self, path: Path, source: Source, name: str) -> AgentFile:
        files, problem = _closure(path, self._cache)
        return AgentFile(
            path=path,
            name=name,
            launch=source.launch or Launch.MODULE,
            agent_name=source.agent_name,
            files=files,
            problem=source.problem or problem,
        )


def local_files(path: Path) -> frozenset[Path]:
    """Return a file and every local file that it imports, by what they say."""
    return _closure(path, _Cache())[0]


def local_modules(path: Path) -> dict[str, Path]:
    """Return the modules that a file, and what it imports, import by their whole names, with their local files."""
    cache = _Cache()
    found: dict[str, Path] = {}
    for file in sorted(_closure(path, cache)[0]):
        source = cache.read(file, must_mention=False)
        for name in source.imports if source else ():
            if not name.level and name.module:
                for target in _resolve(file, name):
                    found.setdefault(_module_of(target, file), target)
    return found


def _module_of(target: Path, importer: Path) -> str:
    roots = [root for root in (_import_root(importer), importer.parent, Path.cwd()) if target.is_relative_to(root)]
    parts = target.relative_to(roots[0]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _closure(path: Path, cache: _Cache) -> tuple[frozenset[Path], Problem | None]:
    """Return ``path`` and the local files it imports, and the first of them that does not parse."""
    seen = {path}
    waiting = [path]
    problem = None
    while waiting:
        file = waiting.pop()
        source = cache.read(file, must_mention=False)
        if source is None:
            continue
        problem = problem or source.problem
        for name in source.imports:
            for target in _resolve(file, name):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
    return frozenset(seen), problem


def _skips(directory: Path) -> bool:
    name = directory.name
    return name.startswith(".") or name in _SKIPPED or (directory / "pyvenv.cfg").exists()


def _names(paths: list[Path], root: Path) -> dict[Path, str]:
    stems: dict[str, int] = {}
    for path in paths:
        stems[path.stem] = stems.get(path.stem, 0) + 1
    base = root if root.is_dir() else root.parent
    return {
        path: path.stem if stems[path.stem] == 1 else path.relative_to(base).with_suffix("").as_posix()
        for path in paths
    }


def _import_root(path: Path) -> Path:
    """Return the directory that livekit-agents puts on ``sys.path`` for a file: above its outermost package."""
    root = path.parent
    while (root / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    return root


def _resolve(importer: Path, name: ImportedName) -> list[Path]:
    """Return the local files that an import in ``importer`` runs."""
    parts = name.module.split(".") if name.module else []
    if name.level:
        base = importer.parent
        for _ in range(name.level - 1):
            base = base.parent
        return _modules(base, parts, name.name)
    roots = dict.fromkeys((_import_root(importer), importer.parent, Path.cwd()))
    return next((files for root in roots if (files := _modules(root, parts, name.name))), [])


def _modules(base: Path, parts: list[str], last: str) -> list[Path]:
    found = []
    place = base
    for index, part in enumerate(parts):
        place = place / part
        file = place.with_suffix(".py")
        package = place / "__init__.py"
        if package.is_file():
            found.append(package)
        elif file.is_file() and index == len(parts) - 1:
            return [*found, file]
        elif not place.is_dir() or _skips(place):
            return found
    if not last:
        return found
    return found + [file for file in (place / f"{last}.py", place / last / "__init__.py") if file.is_file()]
