"""What is known of an agent before a call: its record, and what a class says of itself for discovery."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from greenroom.pool._model import Placement

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentSession, JobContext, JobRequest

#: The id of a provider (``"openai/gpt-5"``) or the object itself.
ProviderValue: TypeAlias = str | object
RequestFilter: TypeAlias = "Callable[[JobRequest], Awaitable[None]]"
SessionFactory: TypeAlias = "Callable[[JobContext], AgentSession[Any] | Awaitable[AgentSession[Any]]]"
AgentFactory: TypeAlias = "Callable[[JobContext], Agent | Awaitable[Agent]]"
UserdataFactory: TypeAlias = "Callable[[JobContext], Any]"

AGENT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
TENANT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
PROVIDER_KINDS: Final = ("stt", "llm", "tts")
_METADATA: Final = "__greenroom_agent_config__"
#: What a class says with OpenRTC's decorator is understood too.
_PEER_METADATA: Final = "__openrtc_agent_config__"

_Agent = TypeVar("_Agent", bound=type)


class _NotGiven(Enum):
    NOT_GIVEN = "not given"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NotGiven: TypeAlias = Literal[_NotGiven.NOT_GIVEN]
#: What nobody said anything about, as opposed to ``None``: none at all.
NOT_GIVEN: Final = _NotGiven.NOT_GIVEN


@dataclass(slots=True)
class AgentConfig:
    """An agent as it was registered.

    The first eight fields are OpenRTC's. A provider is an id, an object or ``None``.

    :param session_kwargs: options of ``AgentSession``, as they were given.
    :param source_path: the file of its class, where that is known.
    :param capabilities: what a dispatch may ask for instead of a name.
    :param placement: whom its calls share a process with.
    :param placed: whether that was said of this agent, not of the pool.
    :param agent_name: what LiveKit dispatches to; the pool's own by default.
    :param max_sessions: of it at once.
    :param room_options: ``AgentSession.start(room_options=...)``.
    :param start_options: further options of ``AgentSession.start``.
    :param connect_options: options of ``JobContext.connect``.
    :param session_factory: makes the session instead of the pool.
    :param agent_factory: makes the agent instead of its class without arguments.
    :param userdata_factory: makes ``AgentSession(userdata=...)`` for each call.
    """

    name: str
    agent_cls: type[Agent]
    stt: ProviderValue | None = None
    llm: ProviderValue | None = None
    tts: ProviderValue | None = None
    greeting: str | None = None
    session_kwargs: dict[str, Any] = field(default_factory=dict)
    source_path: Path | None = None
    capabilities: tuple[str, ...] = field(default=(), repr=False)
    placement: Placement = field(default=Placement.SHARED, repr=False)
    placed: bool = field(default=False, repr=False)
    agent_name: str | None = field(default=None, repr=False)
    max_sessions: int | None = field(default=None, repr=False)
    room_options: Any = field(default=None, repr=False)
    start_options: dict[str, Any] = field(default_factory=dict, repr=False)
    connect_options: dict[str, Any] = field(default_factory=dict, repr=False)
    session_factory: SessionFactory | None = field(default=None, repr=False)
    agent_factory: AgentFactory | None = field(default=None, repr=False)
    userdata_factory: UserdataFactory | None = field(default=None, repr=False)


@dataclass(slots=True)
class AgentDiscoveryConfig:
    """What a class says of itself, for discovery. ``None`` leaves it to the pool."""

    name: str | None = None
    stt: ProviderValue | None = None
    llm: ProviderValue | None = None
    tts: ProviderValue | None = None
    greeting: str | None = None
    options: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def given(self) -> dict[str, Any]:
        """Return what :meth:`AgentPool.add` is to be told."""
        plain = {key: getattr(self, key) for key in (*PROVIDER_KINDS, "greeting")}
        return {key: value for key, value in plain.items() if value is not None} | self.options


def agent_config(
    *,
    name: str | None = None,
    stt: ProviderValue | NotGiven | None = NOT_GIVEN,
    llm: ProviderValue | NotGiven | None = NOT_GIVEN,
    tts: ProviderValue | NotGiven | None = NOT_GIVEN,
    greeting: str | NotGiven | None = NOT_GIVEN,
    **options: Any,
) -> Callable[[_Agent], _Agent]:
    """Say of a class what discovery shall register it with; return the class unchanged.

    A provider that is ``None`` is none, whatever the pool's default. ``options`` are those of :meth:`AgentPool.add`.

    :raises RuntimeError: when the name or the greeting is empty or no string.
    """
    said = AgentDiscoveryConfig(name=_text("name", name), options=dict(options))
    for kind, value in (("stt", stt), ("llm", llm), ("tts", tts)):
        if value is None:
            said.options[kind] = None
        elif value is not NOT_GIVEN:
            setattr(said, kind, value)
    if greeting is None:
        said.options["greeting"] = None
    elif greeting is not NOT_GIVEN:
        said.greeting = _text("greeting", greeting)

    def decorate(agent_cls: _Agent) -> _Agent:
        setattr(agent_cls, _METADATA, said)
        return agent_cls

    return decorate


def said_of(agent_cls: type) -> AgentDiscoveryConfig:
    """Return what was said of a class or of one it derives from; nothing when nothing was."""
    said = getattr(agent_cls, _METADATA, None)
    if isinstance(said, AgentDiscoveryConfig):
        return said
    peer = getattr(agent_cls, _PEER_METADATA, None)
    if peer is None:
        return AgentDiscoveryConfig()
    fields = ("name", *PROVIDER_KINDS, "greeting")
    found: dict[str, Any] = {key: getattr(peer, key, None) for key in fields}
    return AgentDiscoveryConfig(**found)


def is_decorated(agent_cls: type) -> bool:
    """Return whether something was said of this very class."""
    return bool({_METADATA, _PEER_METADATA} & vars(agent_cls).keys())


def agent_name(value: str) -> str:
    """Return the name of an agent as it is registered. Raises ``ValueError``."""
    name = value.strip()
    if not name:
        raise ValueError("Agent name must be a non-empty string.")
    if not AGENT_NAME.fullmatch(name):
        raise ValueError(
            f"Agent name must be 1-64 characters of ASCII letters, digits, dashes, or underscores, got {name!r}."
        )
    return name


def tenant_id(value: str) -> str:
    """Return the id of a tenant. Raises ``ValueError``."""
    if not isinstance(value, str) or not TENANT_ID.fullmatch(value):
        raise ValueError(
            f"Tenant id must be 1-128 characters of ASCII letters, digits, dashes, or underscores, got {value!r}."
        )
    return value


def caps(option: str, given: Mapping[str, int] | None) -> dict[str, int]:
    """Return limits by name, each at least 1. Raises ``TypeError`` and ``ValueError``."""
    return {key: at_least(f"{option}[{key!r}]", value, 1) for key, value in (given or {}).items()}


def at_least(option: str, value: Any, least: int) -> int:
    """Return a whole number that is large enough. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option} must be an int, got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"{option} must be >= {least}, got {value}.")
    return value


def amount(option: str, value: Any) -> float:
    """Return a number that is not negative. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{option} must be a number, got {type(value).__name__}.")
    if value < 0:
        raise ValueError(f"{option} must be >= 0, got {value}.")
    return value


def port(option: str, value: Any) -> int:
    """Return the number of a port. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option} must be an int, got {type(value).__name__}.")
    if not 0 <= value <= 65535:
        raise ValueError(f"{option} must be in 0..65535, got {value}.")
    return value


def words(option: str, value: str | None) -> str | None:
    """Return a text without the blanks around it, ``None`` as it is. Raises ``ValueError`` for an empty one."""
    if value is None:
        return None
    text = value.strip()
    if not text:
        raise ValueError(f"{option} must be a non-empty string when set.")
    return text


def _text(option: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise RuntimeError(  # noqa: TRY004 - the error that OpenRTC raises
            f"Agent metadata field {option!r} must be a string, got {type(value).__name__}."
        )
    text = value.strip()
    if not text:
        raise RuntimeError(f"Agent metadata field {option!r} cannot be empty.")
    return text
