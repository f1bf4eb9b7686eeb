"""What a Python file says without being run: whether it is a LiveKit agent, and what it imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_SERVERS = {"AgentServer"}
_POOLS = {"AgentPool"}
_DECORATOR = "agent_config"
_MENTIONS_PROGRAM = re.compile(rb"\b(AgentServer|WorkerOptions|ServerOptions|run_app|rtc_session)\b")
_MENTIONS_AGENT = re.compile(
    rb"\blivekit\b[\s\S]*\b(AgentServer|WorkerOptions|ServerOptions|run_app|rtc_session)\b"
    rb"|\b(greenroom|openrtc)\b[\s\S]*\b(AgentPool|agent_config)\b"
    rb"|\blivekit\b[\s\S]*\bclass\s+\w+\([^)]*\w*Agent\b"
)


class Launch(StrEnum):
    """What a file is: its ``AgentServer`` can be imported; it runs itself; it defines agent classes and no more."""

    MODULE = "module"
    SCRIPT = "script"
    CLASSES = "classes"


def shown(path: Path, line: int = 0) -> str:
    """Return a file, and a line in it, as a person writes it: relative to where they are, if below."""
    here = Path.cwd()
    short = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{short}:{line}" if line else str(short)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file cannot be started. ``line`` counts from 1; 0 when unknown."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{shown(self.path, self.line)}: {self.message}"


@dataclass(frozen=True, slots=True)
class ImportedName:
    """One name that a module binds by an import: ``from {dots}{module} import {name}``."""

    module: str
    name: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file.

    :param launch: how it starts; ``None`` when it is no agent.
    :param agent_name: the name it registers under, where the file says it literally.
    :param server_from: the import that brings its server, when another file defines it.
    :param pool: whether it makes an ``AgentPool``, which finds agents of its own.
    :param program: whether it is a program with a server of its own; of a file that does not parse, by its words.
    :param decorated: whether it says itself that a class in it is an agent.
    """

    imports: tuple[ImportedName, ...] = ()
    launch: Launch | None = None
    agent_name: str | None = None
    server_from: ImportedName | None = None
    pool: bool = False
    program: bool = False
    decorated: bool = False
    problem: Problem | None = None


def mentions_agent(text: bytes) -> bool:
    """Whether a file could be an agent, judged by its words alone: also when it does not parse."""
    return _MENTIONS_AGENT.search(text) is not None


def read_source(path: Path, text: bytes) -> Source:
    """Parse ``text``, the content of ``path``. A syntax error becomes :attr:`Source.problem`."""
    try:
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        problem = Problem(path, error.lineno or 0, error.msg)
    except (ValueError, RecursionError) as error:
        problem = Problem(path, 0, str(error))
    else:
        return _parsed(tree)
    return Source(program=_MENTIONS_PROGRAM.search(text) is not None, problem=problem)


def _parsed(tree: ast.Module) -> Source:
    imports = tuple(_imports(tree))
    launch, server_from = _launch(tree, imports)
    pool = launch is not None and bool(_calls(tree, _POOLS))
    return Source(
        imports=imports,
        launch=launch,
        agent_name=_agent_name(tree),
        server_from=server_from,
        pool=pool,
        program=launch in {Launch.MODULE, Launch.SCRIPT} and not pool,
        decorated=any(_is_decorated(node) for node in _top_level(tree.body)),
    )


def _imports(tree: ast.Module) -> Iterator[ImportedName]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield ImportedName(alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield ImportedName(node.module or "", alias.name, node.level)


def _launch(tree: ast.Module, imports: Sequence[ImportedName]) -> tuple[Launch | None, ImportedName | None]:
    top = list(_top_level(tree.body))
    if any(_is_pool(name) for name in imports) and _calls(tree, _POOLS):
        return (Launch.MODULE if any(_binds(node, _POOLS) for node in top) else Launch.SCRIPT), None
    if not any(_is_livekit_agents(name) for name in imports):
        return None, None
    if any(_binds(node, _SERVERS) for node in top):
        return Launch.MODULE, None
    calls = _calls(tree, {"run_app"})
    bound = {
        alias.asname or alias.name: node for node in top if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for call in calls:
        argument = call.args[0] if call.args else None
        if isinstance(argument, ast.Name) and argument.id in bound:
            node = bound[argument.id]
            original = next(alias.name for alias in node.names if (alias.asname or alias.name) == argument.id)
            return Launch.MODULE, ImportedName(node.module or "", original, node.level)
    if calls:
        return Launch.SCRIPT, None
    assigned = {target.id for node in top for target in _targets(node)}
    if any(owner in assigned for owner in _session_owners(tree)):
        return Launch.MODULE, None
    return (Launch.CLASSES if _has_agent_class(top) else None), None


def _calls(tree: ast.Module, names: AbstractSet[str]) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _last_name(node.func) in names]


def _has_agent_class(top: Sequence[ast.stmt]) -> bool:
    agents = {"Agent"}
    public = False
    for node in top:
        if not isinstance(node, ast.ClassDef):
            continue
        decorated = _is_decorated(node)
        if decorated or agents & {_last_name(base) for base in node.bases}:
            agents.add(node.name)
            public |= decorated or not node.name.startswith("_")
    return public


def _is_decorated(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(each, ast.Call) and _last_name(each.func) == _DECORATOR for each in node.decorator_list
    )


def _is_pool(name: ImportedName) -> bool:
    return not name.level and name.module.split(".")[0] in {"greenroom", "openrtc"}


def _is_livekit_agents(name: ImportedName) -> bool:
    if name.level:
        return False
    return f"{name.module}.".startswith("livekit.agents.") or (name.module, name.name) == ("livekit", "agents")


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    # What runs when the module is imported, inside `if` and `try` too, but not `if __name__ == "__main__"`.
    for node in body:
        yield node
        if isinstance(node, ast.If) and "__name__" not in ast.unparse(node.test):
            yield from _top_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _top_level([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _top_level(node.body)


def _targets(node: ast.stmt) -> Iterator[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return (target for target in targets if isinstance(target, ast.Name))


def _binds(node: ast.stmt, makers: AbstractSet[str]) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    made_by = (
        function.value if isinstance(function, ast.Attribute) and function.attr == "from_server_options" else function
    )
    return _last_name(made_by) in makers


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _session_owners(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "rtc_session" and isinstance(node.value, ast.Name):
            yield node.value.id


def _agent_name(tree: ast.Module) -> str | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last_name(node.func) in {"rtc_session", "WorkerOptions", "ServerOptions"}:
            for keyword in node.keywords:
                if keyword.arg == "agent_name":
                    value = keyword.value
                    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
            return ""
    return None
