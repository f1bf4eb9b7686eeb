"""What a plugin can bring."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from greenroom.errors import GreenroomError


class Kind(StrEnum):
    """A kind of part. What a part of it must give says the protocol named after it; ``docs/plugins.md`` lists them."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    VAD = "vad"
    TURN_DETECTOR = "turn_detector"
    REALTIME = "realtime"
    TOOL = "tool"
    OBSERVER = "observer"
    MEMORY = "memory"
    MESSAGING = "messaging"
    STORE = "store"
    SINK = "sink"
    SCORER = "scorer"
    POLICY = "policy"

    @classmethod
    def of(cls, text: str) -> Kind:
        """Return the kind that a word names. Raises :class:`PluginError`."""
        try:
            return cls(text)
        except ValueError:
            raise PluginError(f"'{text}' is no kind of plugin", fix=f"Use one of: {', '.join(cls)}") from None


#: What a word after the colon of an id means; of other kinds the colon belongs to the model's name.
VARIANTS: Final = {Kind.STT: "language", Kind.TTS: "voice"}
#: Kinds whose ids LiveKit's hosted inference understands too.
INFERENCE: Final = frozenset({Kind.STT, Kind.LLM, Kind.TTS})


class PluginError(GreenroomError):
    """A plugin cannot be used as asked, or does not keep to the rules."""

    code = "plugin_unusable"


class UnknownIdError(PluginError):
    """No plugin has this id."""

    code = "plugin_unknown"
