"""Makes importing a part of uvicorn cheap.

``uvicorn/__init__.py`` brings its command line with it: click, the reloader and the process manager, which
take longer to import than everything a server uses, and are never used. A package that is already in
``sys.modules`` is not executed again, so one that knows only where its parts are does; whoever asks it
for anything else gets the real one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Final

# What uvicorn's own modules ask the package for.
_PARTS: Final = {"Config": "uvicorn.config", "Server": "uvicorn.server"}


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> object:
        if name in _PARTS:
            return getattr(importlib.import_module(_PARTS[name]), name)
        spec = self.__spec__
        if spec is None or spec.loader is None or name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def defer_uvicorn() -> None:
    """Let the package ``uvicorn`` be executed only when something of its own is asked for."""
    spec = importlib.util.find_spec("uvicorn") if "uvicorn" not in sys.modules else None
    if spec is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _Deferred
    sys.modules["uvicorn"] = module
