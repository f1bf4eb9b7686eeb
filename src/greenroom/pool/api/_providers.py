"""From what stands in an agent's record to the provider of one session."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from greenroom import plugins
from greenroom.errors import ConfigError
from greenroom.pool.api._config import PROVIDER_KINDS, AgentConfig

#: Before an id that goes to LiveKit's hosted inference, whatever is installed here.
HOSTED: Final = "inference:"
#: Says in an answer that goes to the supervisor: the program has an object for it, which cannot leave its process.
OBJECT: Final = {"object": True}

_made: WeakKeyDictionary[Any, tuple[tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()
_noted: set[type] = set()


def note_makers() -> None:
    """From now on, remember what each provider is made with.

    A provider tells its listeners of errors and usage. Sessions in one process that share one would hear of each
    other, and one session's end closes the connections it holds; so each session gets its own, made the same way.
    """
    from livekit.agents import llm, stt, tts, vad  # noqa: PLC0415

    def make(cls: type, *args: Any, **options: Any) -> Any:
        made: Any = object.__new__(cls)
        if cls.__new__ is make:
            _made[made] = (args, options)
        return made

    for base in (stt.STT, llm.LLM, llm.RealtimeModel, tts.TTS, vad.VAD):
        if base not in _noted:
            _noted.add(base)
            base.__new__ = staticmethod(make)  # type: ignore[method-assign]


def renewed(value: Any) -> Any:
    """Return a provider made the same way; itself where it is none, or nobody saw how it was made."""
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(renewed(each) for each in value)
    try:
        how = _made.get(value)
    except TypeError:
        return value
    if how is None:
        return value
    args, options = how
    return type(value)(*map(renewed, args), **{key: renewed(each) for key, each in options.items()})


def provider(kind: str, value: Any) -> Any:
    """Return what a session is given for an id, an object, a function that makes one, or ``{"id": ..., options}``.

    An id that no plugin here has goes to LiveKit's hosted inference.

    :raises GreenroomError: when the id is unknown, or the provider cannot be made.
    """
    if isinstance(value, str):
        if value.startswith(HOSTED):
            return value.removeprefix(HOSTED)
        return plugins.resolve(kind, value, inference=True)
    if isinstance(value, Mapping):
        options = {key: each for key, each in value.items() if key != "id"}
        if not isinstance(value.get("id"), str):
            raise ConfigError(
                f"A tenant's {kind} has no id", fix='Write for example {"id": "openai/gpt-5", "api_key": "..."}'
            )
        return plugins.resolve(kind, value["id"], inference=not options, **options)
    if _makes(value):
        return value()
    return renewed(value)


def prepare(config: AgentConfig) -> None:
    """Import what an agent's ids need. Raises :class:`GreenroomError` for an id that nobody has."""
    for kind in PROVIDER_KINDS:
        value = getattr(config, kind)
        if isinstance(value, str) and not value.startswith(HOSTED):
            plugins.prepare(kind, value, inference=True)


def label(value: Any) -> str:
    """Return what a provider is called before a call: its id, or LiveKit's label of its class."""
    if isinstance(value, str):
        return value.removeprefix(HOSTED)
    if _makes(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    said = getattr(value, "label", None)
    return said if isinstance(said, str) else f"{type(value).__module__}.{type(value).__qualname__}"


def sendable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolver's answer so that it can leave the process: objects stay behind, and a mark in their place."""
    sent: dict[str, Any] = {}
    for key, value in answer.items():
        if key == "providers" and isinstance(value, Mapping):
            sent[key] = {kind: _sendable(each) for kind, each in value.items() if each is not None}
        elif key not in PROVIDER_KINDS:
            sent[key] = value
        elif value is not None:
            sent[key] = _sendable(value)
    return sent


def _sendable(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, Mapping) and isinstance(value.get("id"), str)):
        return value
    return OBJECT


def _makes(value: Any) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value) or (isinstance(value, type) and callable(value))
