"""Finds agent classes in files: which file is loaded under which name, and which of its classes are agents."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from greenroom.pool._importing import import_as
from greenroom.pool._model import Failure
from greenroom.pool.api._config import is_decorated, said_of

if TYPE_CHECKING:
    from livekit.agents import Agent

_log = logging.getLogger(__name__)
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


class NoAgentError(RuntimeError):
    """A file holds no class that is an agent."""


@dataclass(frozen=True, slots=True)
class Found:
    """A class that is an agent, and what it is registered as."""

    name: str
    agent_cls: type[Agent]
    source: Path

    def options(self) -> dict[str, Any]:
        """Return what :meth:`AgentPool.add` is to be told of it."""
        return {**said_of(self.agent_cls).given(), "source_path": self.source}


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a search brought: the agents in the order of their files, and the files that are broken."""

    agents: tuple[Found, ...] = ()
    failures: tuple[Failure, ...] = ()


def discover_files(paths: Iterable[Path | str], *, recursive: bool = False, strict: bool = False) -> Discovered:
    """Load files, and those of directories, and return the agents in them.

    A file without an agent is passed over; a file that cannot be loaded is reported, and the others go on.

    :param recursive: whether directories in a directory are searched too.
    :param strict: whether the first file that is broken, or has no agent, is an error instead.
    :raises RuntimeError: if ``strict``.
    """
    agents: list[Found] = []
    failures: list[Failure] = []
    for source in _files(paths, recursive=recursive):
        try:
            module = load(source)
            agents += agents_of(vars(module), module.__name__, source)
        except NoAgentError:
            if strict:
                raise
            _log.debug("no agent in file", extra={"file": str(source)})
        except (Exception, SystemExit) as error:
            message = f"Failed to import agent module '{source.name}': {error}"
            if strict:
                raise RuntimeError(message) from error
            failures.append(failure_of(source, error, message))
            _log.error("agent file is broken", extra={"file": str(source), "line": failures[-1].line}, exc_info=True)
    return Discovered(tuple(agents), tuple(failures))


def agents_of(names: Mapping[str, Any], module: str, source: Path) -> list[Found]:
    """Return the agents among a module's names: each decorated class, else the first that no other derives from.

    :raises NoAgentError: when there is none.
    """
    classes = local_agents(names, module)
    decorated = [each for each in classes if is_decorated(each)]
    chosen = decorated or [each for each in classes if not any(_derives(other, each) for other in classes)][:1]
    if not chosen:
        raise NoAgentError(f"Module '{module}' does not define a local Agent subclass.")
    fallback = name_of_file(source)
    return [
        Found(said_of(each).name or (each.__name__ if len(chosen) > 1 else fallback), each, source) for each in chosen
    ]


def local_agents(names: Mapping[str, Any], module: str) -> list[type[Agent]]:
    """Return the public agent classes that a module defines itself, in their order, each once."""
    from livekit.agents import Agent  # noqa: PLC0415

    seen: dict[type[Agent], None] = {}
    for name, value in names.items():
        if not isinstance(value, type) or not issubclass(value, Agent) or value is Agent:
            continue
        hidden = name.startswith("_") or inspect.isabstract(value)
        if value.__module__ == module and (not hidden or is_decorated(value)):
            seen[value] = None
    return list(seen)


def load(source: Path) -> ModuleType:
    """Import a file, as part of its package when it has one; files beside it can be imported by it.

    What is already imported from the same file is returned. Raises whatever the file raises.
    """
    name, root = _module_name(source)
    known = sys.modules.get(name)
    if known is not None and _is_from(known, source):
        return known
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if "." in name:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    return import_as(name, source)


def name_of_file(source: Path) -> str:
    """Return what an agent is called after its file, where it says nothing itself."""
    return _NO_NAME.sub("-", source.stem).strip("-")[:64] or "agent"


def failure_of(source: Path, error: BaseException, message: str = "") -> Failure:
    """Return an error as what keeps a file out of service: the innermost line of that file, else of its neighbours."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if frame.filename == str(source)]
    near = [frame for frame in frames if Path(frame.filename).is_relative_to(source.parent)]
    line = next((frame.lineno or 0 for frame in reversed(mine or near)), 0)
    if isinstance(error, SyntaxError) and error.filename == str(source):
        line = error.lineno or 0
    said = message or f"{type(error).__name__}: {error}"
    return Failure(source=str(source), line=line, message=said, traceback="".join(traceback.format_exception(error)))


def directory(given: str | Path) -> Path:
    """Return an existing directory. Raises ``FileNotFoundError`` and ``NotADirectoryError``."""
    path = Path(given).expanduser().resolve()
    if not path.exists():
        raise FileNotFoundError(f"Agents directory does not exist: {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"Agents path is not a directory: {path}")
    return path


def _files(paths: Iterable[Path | str], *, recursive: bool) -> Iterator[Path]:
    running = _files_that_run()
    for given in paths:
        path = Path(given).expanduser().resolve()
        found: Sequence[Path] = [path]
        if path.is_dir():
            pattern = "**/*.py" if recursive else "*.py"
            found = sorted(each for each in path.glob(pattern) if _is_wanted(each, path))
        # A program that discovers its own directory is not itself one of the agents in it.
        yield from (each for each in found if str(each) not in running)


def _is_wanted(source: Path, root: Path) -> bool:
    *parents, name = source.relative_to(root).parts
    if name.startswith(("_", ".")) or not source.is_file():
        return False
    hidden = any(part.startswith((".", "_")) or part in _SKIPPED for part in parents)
    return not hidden and not any(
        (root.joinpath(*parents[: n + 1]) / "pyvenv.cfg").exists() for n in range(len(parents))
    )


def _files_that_run() -> set[str]:
    frames = inspect.stack(context=0)
    return {str(Path(each.filename).resolve()) for each in frames}


def _module_name(source: Path) -> tuple[str, Path]:
    """Return under which name a file is imported, and from where: its own name, unless another module has that."""
    parts = [source.stem]
    root = source.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    if len(parts) > 1 and source.stem.isidentifier():
        top = sys.modules.get(parts[0])
        if top is None or str(root / parts[0]) in getattr(top, "__path__", ()):
            return name, root
    if len(parts) == 1 and source.stem.isidentifier() and _is_free(name, source):
        return name, root
    digest = sha256(str(source).encode()).hexdigest()[:12]
    return f"greenroom_agent_{name_of_file(source)}_{digest}", source.parent


def _is_free(name: str, source: Path) -> bool:
    if name in sys.modules:
        return _is_from(sys.modules[name], source)
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is None or spec.origin == str(source)


def _is_from(module: ModuleType, source: Path) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and Path(str(file)).resolve() == source


def _derives(other: type, base: type) -> bool:
    return other is not base and issubclass(other, base)
