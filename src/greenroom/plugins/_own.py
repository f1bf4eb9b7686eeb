"""What Greenroom and livekit-agents bring without a further package. Nothing of it is imported to list it."""

from __future__ import annotations

import importlib
from typing import Any, Final

from greenroom.errors import ConfigError
from greenroom.plugins._plugin import Plugin

_AGENTS: Final = "livekit.agents"
_OFFLINE: Final = "greenroom.offline"
_INSTALL: Final = "pip install 'greenroom[agents]'"

plugin: Final = Plugin()


@plugin.llm("offline/llm", requires=(_AGENTS, _OFFLINE), install=_INSTALL)
def offline_llm(**options: Any) -> Any:
    """A stand-in that matches patterns: no network, key or model file. Options: those of greenroom.offline.LLM."""
    return importlib.import_module(_OFFLINE).LLM(**options)


@plugin.stt(
    "offline/pocketsphinx",
    requires=(_AGENTS, "numpy", "pocketsphinx", _OFFLINE),
    install="pip install 'greenroom[speech]'",
)
def offline_stt(language: str = "en", **options: Any) -> Any:
    """A stand-in for hearing: PocketSphinx, English only. Options: those of greenroom.offline.STT."""
    if not language.lower().startswith("en"):
        raise ConfigError("The offline STT understands English only", fix="Leave the language out, or use another STT")
    return importlib.import_module(_OFFLINE).STT(**options)


@plugin.tts("offline/flite", requires=(_AGENTS, _OFFLINE), install=_INSTALL)
def offline_tts(**options: Any) -> Any:
    """A stand-in for speaking: flite, voices rms, kal16, slt and awb. Options: those of greenroom.offline.TTS."""
    return importlib.import_module(_OFFLINE).TTS(**options)


@plugin.vad("livekit/vad", requires=(_AGENTS, "livekit.local_inference"), install=_INSTALL)
def livekit_vad(**options: Any) -> Any:
    """LiveKit's voice activity detection; its model is in the wheel. Options: those of inference.VAD."""
    return importlib.import_module("livekit.agents.inference").VAD(**options)


@plugin.turn_detector("livekit/turn-detector", requires=(_AGENTS, "livekit.local_inference"), install=_INSTALL)
def livekit_turn_detector(**options: Any) -> Any:
    """LiveKit's local end-of-turn model; its model is in the wheel, about 240 MB in memory."""
    return importlib.import_module("livekit.agents.inference").TurnDetector(**{"version": "v1-mini", **options})
