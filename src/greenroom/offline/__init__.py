"""Providers for ``livekit-agents`` that need no network: stand-ins for a language model, for hearing and for speaking.

Importing this package registers the plugin, as every LiveKit plugin does. ``docs/offline.md`` is the manual of
:class:`LLM`, ``docs/speech.md`` that of :class:`STT` and :class:`TTS`.
"""

from __future__ import annotations

from greenroom import __version__
from greenroom.errors import MissingExtraError

try:
    from livekit.agents import Plugin
except ImportError as error:
    raise MissingExtraError("The offline LLM", "agents") from error

from greenroom.offline._latency import Latency
from greenroom.offline._llm import LLM, LLMStream, logger
from greenroom.offline._patterns import Pattern
from greenroom.offline._rules import Call, Rule, RuleError, Slot
from greenroom.offline._stt import STT, SpeechStream
from greenroom.offline._tts import TTS, ChunkedStream, SynthesizeStream
from greenroom.offline._tts_flite import MissingProgramError

__all__ = [
    "LLM",
    "STT",
    "TTS",
    "Call",
    "ChunkedStream",
    "LLMStream",
    "Latency",
    "MissingProgramError",
    "Pattern",
    "Rule",
    "RuleError",
    "Slot",
    "SpeechStream",
    "SynthesizeStream",
]


class OfflinePlugin(Plugin):
    """What LiveKit lists at a worker's start, and preloads for its jobs."""

    def __init__(self) -> None:
        super().__init__(__name__, __version__, __name__, logger)


Plugin.register_plugin(OfflinePlugin())
