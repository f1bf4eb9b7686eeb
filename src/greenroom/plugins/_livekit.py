"""LiveKit's own plugins: packages ``livekit-plugins-NAME``, whose modules are ``livekit.plugins.NAME``."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from greenroom.plugins._ids import Id
from greenroom.plugins._kinds import VARIANTS, Kind, PluginError
from greenroom.plugins._registry import Listing

_PREFIX: Final = "livekit-plugins-"
CLASSES: Final = {
    Kind.STT: "STT",
    Kind.LLM: "LLM",
    Kind.TTS: "TTS",
    Kind.VAD: "VAD",
    Kind.REALTIME: "realtime.RealtimeModel",
}
#: What plugins call the voice, the most frequent first.
_NAMES: Final = {"voice": ("voice", "voice_id", "speaker"), "language": ("language", "lang"), "model": ("model",)}


#: Providers with a package of LiveKit's, to name the one that was meant.
_KNOWN: Final = [
    "anam",
    "anthropic",
    "assemblyai",
    "asyncai",
    "avatario",
    "aws",
    "azure",
    "baseten",
    "bey",
    "bithuman",
    "cambai",
    "cartesia",
    "cerebras",
    "clova",
    "deepgram",
    "elevenlabs",
    "fal",
    "fireworksai",
    "fishaudio",
    "gladia",
    "gnani",
    "google",
    "gradium",
    "groq",
    "hamming",
    "hedra",
    "hume",
    "inworld",
    "keyframe",
    "langchain",
    "lemonslice",
    "liveavatar",
    "lmnt",
    "minimax",
    "mistralai",
    "neuphonic",
    "nvidia",
    "openai",
    "perplexity",
    "phonic",
    "playai",
    "resemble",
    "rime",
    "rtzr",
    "sarvam",
    "silero",
    "simli",
    "simplismart",
    "slng",
    "smallestai",
    "soniox",
    "speechify",
    "speechmatics",
    "spitch",
    "tavus",
    "trugen",
    "ultravox",
    "upliftai",
    "xai",
]


def known(provider: str) -> str:
    """Return the provider that has a package of LiveKit's and was most likely meant; empty for none."""
    return next(iter(difflib.get_close_matches(provider.lower(), _KNOWN, n=1, cutoff=0.75)), "")


def distribution(provider: str) -> str:
    """Return the package that brings a provider."""
    return _PREFIX + provider.replace("_", "-")


def maker(kind: Kind, wanted: Id) -> tuple[Callable[..., Any], dict[str, str]] | None:
    """Return the class of an installed LiveKit plugin and what an id says to it; ``None`` without one.

    Imports the plugin, which has to happen on the main thread. Raises :class:`PluginError` for a plugin that does not
    have the kind, or no model or voice to choose.
    """
    name = CLASSES.get(kind)
    if name is None or not wanted.provider.replace("-", "_").isidentifier():
        return None
    module = _import(wanted.provider)
    if module is None:
        return None
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise PluginError(
            f"{distribution(wanted.provider)} has no {kind}", fix="Use another provider, or see: greenroom plugins"
        )
    # Silero's model is loaded by a class method, which takes what the constructor of others does.
    make = found.load if kind is Kind.VAD and hasattr(found, "load") else found
    return make, _said(kind, wanted, make)


def installed() -> Iterator[Listing]:
    """Yield a line for each kind that each installed LiveKit plugin has. Imports none of them."""
    seen = set()
    for found in metadata.distributions():
        name = (found.name or "").lower().replace("_", "-")
        if not name.startswith(_PREFIX) or name in seen:
            continue
        seen.add(name)
        provider = name.removeprefix(_PREFIX)
        for kind in _kinds(found, provider.replace("-", "_")):
            yield Listing(
                id=provider,
                kind=kind,
                package=name,
                version=found.version,
                summary=f"LiveKit's plugin for {provider}",
            )


def _import(provider: str) -> Any:
    name = f"livekit.plugins.{provider.replace('-', '_')}"
    try:
        if importlib.util.find_spec(name) is None:
            return None
    except ImportError:
        return None
    if name not in sys.modules and threading.current_thread() is not threading.main_thread():
        raise PluginError(
            f"{distribution(provider)} can be imported on the main thread only",
            fix="Call greenroom.plugins.prepare() with its id when the program starts",
        )
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise PluginError(
            f"{distribution(provider)} cannot be imported: {type(error).__name__}: {error}",
            fix=f"Run: pip install --upgrade {distribution(provider)}",
        ) from error


def _said(kind: Kind, wanted: Id, make: Callable[..., Any]) -> dict[str, str]:
    accepted = inspect.signature(make).parameters
    loose = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted.values())
    said = {}
    for what, value in (("model", wanted.model), (VARIANTS.get(kind, ""), wanted.variant)):
        if not value:
            continue
        name = next((each for each in _NAMES[what] if each in accepted), _NAMES[what][0] if loose else "")
        if not name:
            raise PluginError(
                f"The {kind} of {distribution(wanted.provider)} has no {what} to choose",
                fix=f"Leave out '{value}'",
            )
        said[name] = value
    return said


def _kinds(found: metadata.Distribution, module: str) -> Iterator[Kind]:
    """Yield the kinds whose classes the plugin's ``__init__.py`` names, which is read and not run."""
    path = Path(str(found.locate_file(f"livekit/plugins/{module}/__init__.py")))
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
    for kind, name in CLASSES.items():
        if name.partition(".")[0] in names:
            yield kind
