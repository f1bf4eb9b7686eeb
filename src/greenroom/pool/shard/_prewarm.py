"""What is loaded before the nursery freezes, so that no first call waits for it, and what has to be there for it.

livekit-agents brings two models inside its wheels, and nothing here downloads anything. The one for voice activity
costs 3 MB and is always loaded. The one for the end of a turn costs 244 MB: it is loaded when an agent's code leaves
turn detection to livekit-agents, whose default it is, or asks for it. A shard that needs it nonetheless loads a copy
of its own when the first call does.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from greenroom.errors import GreenroomError
from greenroom.plugins import prepare, registry
from greenroom.pool._model import Failure
from greenroom.pool.shard._prewarm_source import imported_at, wants_end_of_turn
from greenroom.pool.shard._upstream_inference import forget

logger = logging.getLogger("greenroom.pool")

VAD: Final = "vad"
END_OF_TURN: Final = "end_of_turn"
#: What livekit-agents reads too: a falsy value loads no model, any other both.
ENVIRONMENT: Final = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"
# As it was before any agent's file was loaded: what one of them sets for itself is not for the others.
_SAID: Final = os.environ.get(ENVIRONMENT)
_FALSY: Final = frozenset({"0", "false", "no", "off"})
_TURN_DETECTOR: Final = "livekit.plugins.turn_detector"
#: With it the turn detector asks a server, and needs no files.
_REMOTE: Final = "LIVEKIT_REMOTE_EOT_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prewarmed:
    """What was loaded, of :data:`VAD` and :data:`END_OF_TURN`, and which agents cannot enter service."""

    models: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def prewarm(sources: Mapping[str, Collection[str]], options: Mapping[str, Any]) -> Prewarmed:
    """Load what sessions share. Called once, after every agent's file; starts no thread.

    :param sources: every local file that takes part in an agent, by the file that defines the agent.
    :param options: ``end_of_turn``, ``True`` or ``False`` to decide whether that model is loaded; ``prepare``, the
        kinds and ids of providers that tenants will want, whose modules are imported.
    """
    failures = tuple(failure for source, files in sources.items() if (failure := missing_model(source, files)))
    failed = {failure.source for failure in failures}
    if failed:
        forget(_TURN_DETECTOR)
    models = _models([files for source, files in sources.items() if source not in failed], options)
    if models:
        native = importlib.import_module("livekit.local_inference")
        native.init_vad()
        if END_OF_TURN in models:
            native.init_eot()
    # Plugins are imported here, on the main thread and once for all shards.
    registry()
    for kind, name in options.get("prepare", ()):
        try:
            prepare(kind, name, inference=True)
        except (GreenroomError, ImportError) as error:
            logger.warning("a tenant's provider cannot be used", extra={"kind": kind, "id": name, "why": str(error)})
    logger.info("models are loaded", extra={"models": models})
    return Prewarmed(models=models, failures=failures)


def missing_model(source: str, files: Collection[str]) -> Failure | None:
    """Return why an agent cannot enter service: it uses a model whose files are not on this machine."""
    where = next(((file, line) for file in sorted(files) if (line := imported_at(file, _TURN_DETECTOR))), None)
    if where is None or os.environ.get(_REMOTE) or _TURN_DETECTOR not in sys.modules:
        return None
    missing = _missing_files()
    if not missing:
        return None
    file, line = where
    error = GreenroomError(
        f"livekit-plugins-turn-detector has no model files on this machine: {', '.join(missing)}",
        fix="Run: python -m livekit.agents download-files, or leave turn_detection out:"
        " livekit-agents has a model of its own that needs no download",
    )
    return Failure(source=source, line=line if file == source else 0, message=str(error))


def _models(agents: Iterable[Collection[str]], options: Mapping[str, Any]) -> tuple[str, ...]:
    chosen = options.get(END_OF_TURN)
    if chosen is None and _SAID is not None:
        if _SAID.strip().lower() in _FALSY:
            return ()
        chosen = True
    if chosen is None:
        chosen = any(map(wants_end_of_turn, agents))
    return (VAD, END_OF_TURN) if chosen else (VAD,)


def _missing_files() -> list[str]:
    """Return what the turn detector would look for in vain, as its plugin names it; looks into the cache only."""
    models = importlib.import_module(f"{_TURN_DETECTOR}.models")
    cached = importlib.import_module("huggingface_hub").try_to_load_from_cache
    # Importing the plugin registers the English and the multilingual model, and its process loads both.
    return [
        f"{models.HG_MODEL} {revision}"
        for revision in models.MODEL_REVISIONS.values()
        if not all(
            isinstance(cached(models.HG_MODEL, name, revision=revision), str)
            for name in (f"onnx/{models.ONNX_FILENAME}", "languages.json")
        )
    ]
