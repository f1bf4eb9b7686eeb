"""Imports a file under a name that is chosen for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_as(name: str, path: Path) -> ModuleType:
    """Import a file as a top-level module called ``name``; one that fails leaves nothing behind.

    Raises what the file raises, and :class:`ImportError` for a file that is no Python.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
