"""Runs the models that sessions share, which upstream keeps in a process of their own."""

from __future__ import annotations

import logging
import time
from typing import Any

from livekit.agents.inference_runner import _InferenceRunner

logger = logging.getLogger("greenroom.pool")


def wanted() -> bool:
    """Whether what was imported registered a model that sessions share."""
    return bool(_InferenceRunner.registered_runners)


def forget(package: str) -> None:
    """Take out the models of a package that cannot be loaded."""
    runners = _InferenceRunner.registered_runners
    for method in [method for method, kind in runners.items() if f"{kind.__module__}.".startswith(f"{package}.")]:
        del runners[method]


def make_runners() -> tuple[dict[str, Any], dict[str, BaseException]]:
    """Return the runners that initialized, and what the others raised, each by its method."""
    runners: dict[str, Any] = {}
    broken: dict[str, BaseException] = {}
    for method, kind in _InferenceRunner.registered_runners.items():
        started = time.monotonic()
        try:
            runner = kind()
            runner.initialize()
        except Exception as error:
            logger.exception("a shared model cannot be loaded", extra={"method": method})
            broken[method] = error
        else:
            seconds = round(time.monotonic() - started, 2)
            logger.info("shared model loaded", extra={"method": method, "seconds": seconds})
            runners[method] = runner
    return runners, broken
