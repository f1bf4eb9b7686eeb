"""Ids: ``provider/model``, with a language or a voice behind a colon."""

from __future__ import annotations

from dataclasses import dataclass

from greenroom.plugins._kinds import VARIANTS, Kind, PluginError


@dataclass(frozen=True, slots=True)
class Id:
    """An id, taken apart.

    :param variant: the language of an STT or the voice of a TTS; of other kinds it is part of the model's name, as
        in ``ollama/llama3:8b``.
    """

    provider: str
    model: str = ""
    variant: str = ""

    @property
    def name(self) -> str:
        """The id without its variant."""
        return f"{self.provider}/{self.model}" if self.model else self.provider


def parse(kind: Kind, text: str) -> Id:
    """Take an id apart. Raises :class:`PluginError` for what is none."""
    name, variant = text.strip(), ""
    if kind in VARIANTS:
        name, _, variant = name.rpartition(":") if ":" in name else (name, "", "")
    provider, slash, model = name.partition("/")
    if not provider or (slash and not model) or any(letter.isspace() for letter in name):
        raise PluginError(f"'{text}' is no id of a plugin", fix=f"For example: {_EXAMPLES.get(kind, 'provider/model')}")
    return Id(provider, model, variant)


_EXAMPLES = {
    Kind.STT: "deepgram/nova-3, deepgram/nova-3:de, offline/pocketsphinx",
    Kind.LLM: "openai/gpt-4.1, offline/llm",
    Kind.TTS: "cartesia/sonic-3:VOICE, offline/flite:slt",
    Kind.VAD: "livekit/vad, silero",
}
