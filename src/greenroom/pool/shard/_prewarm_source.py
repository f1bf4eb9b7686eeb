"""What an agent's code says about models, read without running it."""

from __future__ import annotations

import ast
import linecache
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_SESSION: Final = "AgentSession"
#: Where an agent of a pool is given what its sessions are made of.
_POOL: Final = frozenset({"AgentPool", "AgentConfig", "agent_config", "add"})
_DETECTOR: Final = "TurnDetector"
_HEARING: Final = frozenset({"stt", "default_stt"})
_PLUGIN: Final = re.compile(r"livekit\.plugins(?:\.(\w+)|\s+import\s+\(?\s*(\w+))")


def wants_end_of_turn(file: str) -> bool:
    """Tell whether the sessions of a file come to use the local end-of-turn model, as far as its text says.

    They do by livekit-agents' default, which is a ``TurnDetector``, when something hears; not when turn detection is
    a word or ``None``, or there is no VAD.
    """
    tree = _parse(file)
    if tree is None:
        return False
    calls = [(name, node) for node in ast.walk(tree) if isinstance(node, ast.Call) and (name := _called(node.func))]
    if any(name == _DETECTOR and not _only_remote(call) for name, call in calls):
        return True
    hears = any(_HEARING & _keywords(call).keys() for _, call in calls)
    names = _assigned(tree)
    return any(
        ((name == _SESSION and hears) or (name in _POOL and bool(_HEARING & _keywords(call).keys())))
        and not _decided(_keywords(call), names)
        for name, call in calls
    )


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
