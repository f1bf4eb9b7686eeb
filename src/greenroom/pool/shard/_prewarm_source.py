"""What an agent's code says about models, read without running it."""

from __future__ import annotations

import ast
import linecache
import re
import traceback
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

#: What is told how the turns of a session are taken, or takes the default.
_SESSIONS: Final = frozenset({"AgentSession", "AgentConfig", "agent_config"})
_DETECTOR: Final = "TurnDetector"
_HEARING: Final = frozenset({"stt", "default_stt"})
_PLUGIN: Final = re.compile(r"livekit\.plugins(?:\.(\w+)|\s+import\s+\(?\s*(\w+))")


def wants_end_of_turn(files: Collection[str]) -> bool:
    """Tell whether the sessions of an agent come to use the local end-of-turn model, as far as its files' text says.

    They do by livekit-agents' default, which is a ``TurnDetector``, when something hears; not when turn detection is
    a word or ``None``, or there is no VAD.
    """
    trees = [tree for file in files if (tree := _parse(file)) is not None]
    calls = [(name, call, names) for tree in trees for names in [_assigned(tree)] for name, call in _calls(tree)]
    if any(name == _DETECTOR and not _only_remote(call) for name, call, _ in calls):
        return True
    if not any(_HEARING & _keywords(call).keys() for _, call, _ in calls):
        return False
    sessions = [(call, names) for name, call, names in calls if _makes_sessions(name, call)]
    if not sessions:
        return any(map(_has_agent, trees))
    return not all(_decided(_keywords(call), names) for call, names in sessions)


def _calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    return [(name, node) for node in ast.walk(tree) if isinstance(node, ast.Call) and (name := _called(node.func))]


def imported_at(file: str, module: str) -> int:
    """Return the line at which a file imports a module, or something in it; 0 when it does not."""
    tree = _parse(file)
    package, _, name = module.rpartition(".")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            found = any(f"{each.name}.".startswith(f"{module}.") for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            found = f"{origin}.".startswith(f"{module}.") or (
                origin == package and any(each.name == name for each in node.names)
            )
        else:
            continue
        if found:
            return node.lineno
    return 0


def install_line(error: BaseException) -> str:
    """Return the command that brings the LiveKit plugin whose import failed; empty when that is not why."""
    if not isinstance(error, ImportError) or not (error.name or "").startswith("livekit.plugins"):
        return ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        text = "".join(linecache.getline(frame.filename, (frame.lineno or 0) + each) for each in range(2))
        if found := _PLUGIN.search(text):
            return f"Run: pip install livekit-plugins-{(found[1] or found[2]).replace('_', '-')}"
    return ""


def _parse(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _called(node: ast.expr) -> str:
    """Return the last name of what is called: of ``voice.AgentSession[Data](...)``, AgentSession."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _makes_sessions(name: str, call: ast.Call) -> bool:
    if name == "AgentPool":
        return bool({"agent", "agents"} & _keywords(call).keys())
    # pool.add("name", Class, ...), which no set can be asked for.
    return name in _SESSIONS or (name == "add" and len(call.args) > 1)


def _has_agent(tree: ast.Module) -> bool:
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return any(_called(base) == "Agent" for each in classes for base in each.bases)


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {each.arg: each.value for each in call.keywords if each.arg}


def _only_remote(call: ast.Call) -> bool:
    said = _keywords(call)
    version, fallback = said.get("version"), said.get("local_fallback")
    return (
        isinstance(version, ast.Constant)
        and version.value == "v1"
        and isinstance(fallback, ast.Constant)
        and fallback.value is False
    )


def _decided(said: Mapping[str, ast.expr], names: Mapping[str, ast.expr]) -> bool:
    """Tell whether a call's keywords leave the end-of-turn model unused."""
    vad = said.get("vad")
    if isinstance(vad, ast.Constant) and vad.value is None:
        return True
    return any(_is_word(node, names) for node in _choices(said, names))


def _choices(said: Mapping[str, ast.expr], names: Mapping[str, ast.expr]) -> Iterator[ast.expr]:
    """Yield what is said of turn detection; of a choice between two ways only when both say something."""
    if "turn_detection" in said:
        yield said["turn_detection"]
    handling = _named(said.get("turn_handling"), names)
    if isinstance(handling, ast.IfExp):
        one, other = ([*_choices({"turn_handling": way}, names)] for way in (handling.body, handling.orelse))
        if one and other:
            yield from (ast.IfExp(handling.test, one[0], other[0]),)
    elif isinstance(handling, ast.Dict):
        for key, value in zip(handling.keys, handling.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "turn_detection":
                yield value
    elif isinstance(handling, ast.Call):
        yield from (value for name, value in _keywords(handling).items() if name == "turn_detection")


def _is_word(node: ast.expr, names: Mapping[str, ast.expr]) -> bool:
    found = _named(node, names)
    if isinstance(found, ast.IfExp):
        return _is_word(found.body, names) and _is_word(found.orelse, names)
    return isinstance(found, ast.Constant)


def _named(node: ast.expr | None, names: Mapping[str, ast.expr]) -> ast.expr | None:
    return names.get(node.id, node) if isinstance(node, ast.Name) else node


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what the names of a module are set to at its top."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found
