"""Options of ``AgentSession`` as agents are registered with them, and what they are when a session is made."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentSession, JobProcess

VAD_KEY: Final = "vad"
TURN_DETECTION_KEY: Final = "turn_detection_factory"
#: The flat options that livekit-agents had, and where each stands now.
_LEGACY: Final = {
    "min_endpointing_delay": ("endpointing", "min_delay"),
    "max_endpointing_delay": ("endpointing", "max_delay"),
    "allow_interruptions": ("interruption", "enabled"),
    "discard_audio_if_uninterruptible": ("interruption", "discard_audio_if_uninterruptible"),
    "min_interruption_duration": ("interruption", "min_duration"),
    "min_interruption_words": ("interruption", "min_words"),
    "false_interruption_timeout": ("interruption", "false_interruption_timeout"),
    "agent_false_interruption_timeout": ("interruption", "false_interruption_timeout"),
    "resume_false_interruption": ("interruption", "resume_false_interruption"),
}
_PROVIDERS: Final = ("stt", "llm", "tts")


@functools.cache
def known_options() -> frozenset[str]:
    """Return the names of what ``AgentSession`` can be told, as far as a pool does not tell it itself."""
    from livekit.agents import AgentSession  # noqa: PLC0415

    parameters = inspect.signature(AgentSession.__init__).parameters.values()
    named = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    return frozenset(named - {*_PROVIDERS, "loop"})


def checked_options(agent: str, options: Mapping[str, Any], *, made_elsewhere: str = "") -> dict[str, Any]:
    """Return options that a session will take.

    :param made_elsewhere: what makes sessions without these options, if something does.
    :raises TypeError: for an option that ``AgentSession`` does not have, or that would be given twice.
    """
    for name in options:
        if name in _PROVIDERS:
            raise TypeError(f"Agent '{agent}' gets '{name}' twice; pass it to add() itself, not as a session option.")
        if name not in known_options():
            raise TypeError(f"Agent '{agent}' has a session option '{name}', which AgentSession does not take.")
        if made_elsewhere:
            raise TypeError(f"Agent '{agent}' has a session option '{name}', but {made_elsewhere} decides that.")
    return dict(options)


def session_options(options: Mapping[str, Any], process: JobProcess, *, llm: object, stt: object) -> dict[str, Any]:
    """Return options for ``AgentSession``, with what an agent does not say about turns.

    Models that take turns themselves are left alone: their defaults are LiveKit's. Others are interrupted by voice
    activity and end turns with the model inside livekit-agents, which needs no network, unless the program put
    others under ``proc.userdata``. Where nothing is transcribed that model is not asked for: it weighs 240 MB.
    """
    chosen = dict(options)
    given = chosen.pop("turn_handling", None)
    flat = {key: chosen.pop(key) for key in (*_LEGACY, "turn_detection") if key in chosen}
    if flat:
        _warn(flat)
    if given is not None and not isinstance(given, Mapping):
        return {**chosen, "turn_handling": given, **_vad(chosen, process)}
    said = dict(given) if given is not None else _translated(flat)
    turns = _merged(_default_turns(process, said, hears=stt is not None) if _takes_no_turns(llm) else {}, said)
    if turns:
        chosen["turn_handling"] = turns
    return chosen | _vad(chosen, process)


def drop_unused_detector(session: AgentSession[Any], agent: Agent) -> None:
    """Take the end-of-turn model from a session that has not started and in which nothing is transcribed.

    It weighs 240 MB, is LiveKit's default, and would be loaded although nobody asks it.
    """
    from livekit.agents import llm, utils  # noqa: PLC0415

    hears = agent.stt if utils.is_given(agent.stt) else session.stt
    model = agent.llm if utils.is_given(agent.llm) else session.llm
    if hears is None and not isinstance(session.turn_detection, str) and not isinstance(model, llm.RealtimeModel):
        session.update_options(turn_detection=None)


def fill_userdata(process: JobProcess) -> None:
    """Put under ``proc.userdata`` what OpenRTC has there, unless the program did: a VAD, and what makes a detector."""
    from livekit.agents import inference  # noqa: PLC0415

    if VAD_KEY not in process.userdata:
        process.userdata[VAD_KEY] = inference.VAD(model="silero")
    if TURN_DETECTION_KEY not in process.userdata:
        process.userdata[TURN_DETECTION_KEY] = _turn_detection


def _turn_detection() -> Any:
    if os.environ.get("LIVEKIT_REMOTE_EOT_URL"):
        try:
            from livekit.plugins.turn_detector.multilingual import MultilingualModel  # noqa: PLC0415
        except ImportError:
            pass
        else:
            return MultilingualModel()
    from livekit.agents import inference, utils  # noqa: PLC0415

    if utils.is_hosted() or os.environ.get("LIVEKIT_INFERENCE_URL"):
        return inference.TurnDetector()
    return inference.TurnDetector(version="v1-mini")


def _default_turns(process: JobProcess, said: Mapping[str, Any], *, hears: bool) -> dict[str, Any]:
    turns: dict[str, Any] = {"interruption": {"mode": "vad"}}
    if hears and "turn_detection" not in said:
        turns["turn_detection"] = process.userdata.get(TURN_DETECTION_KEY, _turn_detection)()
    return turns


def _takes_no_turns(llm: object) -> bool:
    from livekit.agents import llm as models  # noqa: PLC0415

    return isinstance(llm, models.LLM) or (isinstance(llm, str) and "realtime" not in llm)


def _vad(chosen: Mapping[str, Any], process: JobProcess) -> dict[str, Any]:
    from livekit.agents import inference  # noqa: PLC0415

    found = process.userdata.get(VAD_KEY)
    # LiveKit's own is the default; said explicitly it would change what realtime models do.
    if "vad" in chosen or found is None or type(found) is inference.VAD:
        return {}
    return {"vad": found}


def _translated(flat: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in flat.items():
        if name == "turn_detection":
            said[name] = value
        elif name != "allow_interruptions" or value is False:
            group, key = _LEGACY[name]
            said.setdefault(group, {})[key] = value
    return said


def _merged(base: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in said.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = {**below, **value} if both else value  # type: ignore[dict-item]
    return merged


def _warn(flat: Mapping[str, Any]) -> None:
    found = ", ".join(f"'{name}'" for name in flat)
    warnings.warn(
        f"Passing {found} as top-level session_kwargs keys is deprecated and will be removed in a future release. "
        "Use the turn_handling dict instead: "
        "session_kwargs={'turn_handling': {'endpointing': {...}, 'interruption': {...}}}.",
        DeprecationWarning,
        stacklevel=4,
    )
