"""Runs one user file as ``python FILE`` would, among others in the same process; says where in it something failed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

from greenroom.pool._importing import import_as
from greenroom.pool._model import Failure
from greenroom.pool.discovery import shown
from greenroom.pool.shard._prewarm_source import install_line

_FOREIGN: Final = frozenset({"site-packages", "dist-packages"})
_OURS: Final = Path(__file__).parents[2]


def root_of(path: Path) -> Path:
    """Return the directory from which a file is imported: above its outermost package."""
    root = path.parent
    while (root / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    return root


def import_file(path: Path) -> ModuleType:
    """Import a file, as part of its package if it is in one. What it raises goes to the caller.

    Its directory, or that of its outermost package, comes first on ``sys.path`` and stays there, for what is imported
    during a call. A name that another module has already gives way to a made one.
    """
    known = _loaded_from(path)
    if known is not None:
        return known
    root = root_of(path)
    first(root)
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if len(parts) > 1:
        return importlib.import_module(name)
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
        name = f"greenroom_agent_{re.sub(r'[^0-9A-Za-z]+', '_', name)}_{digest}"
    return import_as(name, path)


def module_for_main(path: Path) -> ModuleType:
    """Return what :func:`run_as_main` runs."""
    module = ModuleType("__main__")
    module.__file__ = str(path)
    return module


def run_as_main(module: ModuleType) -> None:
    """Run a file as ``__main__``, with its directory first on ``sys.path``. What it raises goes to the caller."""
    path = Path(str(module.__file__))
    first(path.parent)
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's program is what this is for
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def arguments(path: Path) -> Iterator[None]:
    """Inside, the program sees the arguments of ``python FILE start``."""
    before = sys.argv
    sys.argv = [str(path), "start"]
    try:
        yield
    finally:
        sys.argv = before


def first(directory: Path) -> None:
    """Put a directory first on ``sys.path``."""
    entry = str(directory)
    with contextlib.suppress(ValueError):
        sys.path.remove(entry)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()


def _loaded_from(path: Path) -> ModuleType | None:
    for module in [*sys.modules.values()]:
        file = getattr(module, "__file__", None)
        if module.__name__ != "__main__" and isinstance(file, str) and file == str(path):
            return module
    return None


def is_local(file: Path, roots: frozenset[Path]) -> bool:
    """Whether a module's file is the user's own: below one of ``roots`` and installed by nobody."""
    if _FOREIGN & set(file.parts) or file.is_relative_to(_OURS) or file.is_relative_to(sys.base_prefix):
        return False
    return any(file.is_relative_to(root) for root in roots) and not any(
        (parent / "pyvenv.cfg").exists()
        for parent in file.parents
        if any(parent.is_relative_to(root) for root in roots)
    )


def local_modules(roots: frozenset[Path]) -> dict[str, Path]:
    """Return the imported modules that are the user's own, and their files."""
    found = {}
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py"):
            path = Path(file)
            if path.is_absolute() and is_local(path, roots):
                found[name] = path
    return found


def failure_of(path: Path, error: BaseException, roots: frozenset[Path]) -> Failure:
    """Say of what a file raised where in the user's code that was, and what to do where that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    inner = [frame for frame in frames if is_local(Path(frame.filename), roots | {path.parent})]
    line = own[-1].lineno or 0 if own else 0
    message = _said(error)
    if isinstance(error, SyntaxError) and error.filename:
        place = Path(error.filename)
        if place == path:
            line = error.lineno or 0
        else:
            message = f"{shown(place, error.lineno or 0)}: {message}"
    elif inner and inner[-1].filename != str(path):
        message = f"{shown(Path(inner[-1].filename), inner[-1].lineno or 0)}: {message}"
    linecache.checkcache()
    text = "".join(traceback.format_exception(type(error), error, _from(path, error)))
    return Failure(source=str(path), line=line, message=message, traceback=text)


def _said(error: BaseException) -> str:
    if install := install_line(error):
        return f"{error}. {install}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"no module named '{error.name}': install what brings it, for the Python that runs Greenroom"
    if isinstance(error, SystemExit):
        code = "" if error.code in {None, 0} else f" with {error.code!r}"
        return f"it ends itself{code} when it is loaded, before an agent is there"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _from(path: Path, error: BaseException) -> TracebackType | None:
    # What stands before the user's file is how Greenroom loads it.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
        trace = trace.tb_next
    return trace or error.__traceback__
