"""What a part of each kind has to give.

Speech, language models and tools are LiveKit's: a part is an instance of LiveKit's own class. The others are protocols
of Greenroom's. Their methods are coroutines, so that they may wait for a network; each is called from one event loop.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from greenroom.plugins._kinds import Kind, PluginError


@runtime_checkable
class TurnDetector(Protocol):
    """What tells the end of a turn: LiveKit's audio or text turn detectors, or one that is made like them."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def provider(self) -> str:
        """Who serves it."""


@runtime_checkable
class Observer(Protocol):
    """Who is told of each session of a pool."""

    async def on_session_start(self, info: Any, session: Any) -> None:
        """Take notice of a session that runs: a ``greenroom.pool.SessionInfo`` and LiveKit's ``AgentSession``."""

    async def on_session_end(self, info: Any, outcome: Any) -> None:
        """Take notice of one that is over, with its ``greenroom.pool.SessionOutcome``. It may never have started."""


class Memento(msgspec.Struct, frozen=True, kw_only=True):
    """Something remembered. ``at`` is seconds since the epoch."""

    id: str
    text: str
    at: float


@runtime_checkable
class Memory(Protocol):
    """What agents remember of somebody from one call to the next."""

    async def remember(self, subject: str, text: str, *, at: float) -> str:
        """Keep a text about a subject, and return an id that no other has. It can be recalled once this returns."""

    async def recall(self, subject: str, query: str = "", *, limit: int = 10) -> Sequence[Memento]:
        """Return at most ``limit`` of what is kept about this subject alone: without a query the latest first.

        With one, the most fitting first, as the memory understands it; what does not fit may be left out. An unknown
        subject is an empty answer.
        """

    async def forget(self, subject: str) -> int:
        """Remove everything about a subject for good, and return how many texts that were."""

    async def aclose(self) -> None:
        """Let go of what it holds open. May be called twice."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A text for somebody.

    :param key: the sender's; who sends the same key again sends the same message again.
    """

    key: str
    to: str
    text: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: ``id`` is the carrier's, ``accepted`` whether the carrier took it, else ``reason``."""

    id: str = ""
    accepted: bool = True
    reason: str = ""


@runtime_checkable
class Messaging(Protocol):
    """What takes a text to somebody outside of the call: SMS, mail, chat."""

    async def send(self, message: Message) -> Receipt:
        """Send a message once: the same key again gives the first receipt, and nothing more is sent.

        A message that will not be taken is a receipt that is not accepted, with a reason; a carrier that cannot be
        asked right now is an exception, and the message may be sent again.
        """

    async def aclose(self) -> None:
        """Let go of what it holds open. May be called twice."""


@runtime_checkable
class Store(Protocol):
    """What keeps bytes by name: recordings, exports. Names are text with ``/`` between their parts."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep bytes under a name, in place of what it had. Whoever reads sees the old or the new, never a part."""

    async def get(self, name: str) -> bytes | None:
        """Return what a name has; ``None`` for nothing."""

    async def delete(self, name: str) -> bool:
        """Remove a name, and tell whether it was there."""

    async def names(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return names that begin so, sorted, greater than ``after``, at most ``limit``."""

    async def aclose(self) -> None:
        """Let go of what it holds open. May be called twice."""


@runtime_checkable
class Sink(Protocol):
    """Where copies of events go: a queue, a warehouse."""

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take events in order. It returns once they are safe; after an exception all of them come again.

        Each has an ``id``: an event that has come before is not kept twice.
        """

    async def aclose(self) -> None:
        """Let go of what it holds open. May be called twice."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement: ``value`` from 0, the worst, to 1; ``None`` when it cannot be judged. ``reason`` says why."""

    value: float | None
    reason: str = ""


@runtime_checkable
class Scorer(Protocol):
    """What judges a call by its record."""

    async def score(self, record: Mapping[str, Any]) -> Score:
        """Judge a call: the JSON of ``greenroom session ID --json``. The same record gives the same score."""


@runtime_checkable
class Policy(Protocol):
    """What decides whether something may be done."""

    async def decide(self, question: Mapping[str, Any]) -> str:
        """Return why it may not be done; empty text allows it. An exception counts as a refusal."""


#: LiveKit's classes, by module and name.
_CLASSES: Final = {
    Kind.STT: ("livekit.agents.stt", "STT"),
    Kind.LLM: ("livekit.agents.llm", "LLM"),
    Kind.TTS: ("livekit.agents.tts", "TTS"),
    Kind.VAD: ("livekit.agents.vad", "VAD"),
    Kind.REALTIME: ("livekit.agents.llm", "RealtimeModel"),
}
_PROTOCOLS: Final[Mapping[Kind, type]] = {
    Kind.TURN_DETECTOR: TurnDetector,
    Kind.OBSERVER: Observer,
    Kind.MEMORY: Memory,
    Kind.MESSAGING: Messaging,
    Kind.STORE: Store,
    Kind.SINK: Sink,
    Kind.SCORER: Scorer,
    Kind.POLICY: Policy,
}


def gives(kind: Kind) -> str:
    """Return what a part of a kind has to be, in words."""
    if kind is Kind.TOOL:
        return "a function that livekit.agents.function_tool takes, a tool or a Toolset"
    if kind in _CLASSES:
        return ".".join(_CLASSES[kind])
    return f"greenroom.plugins.{_PROTOCOLS[kind].__name__}"


def check(kind: Kind, name: str, part: Any) -> Any:
    """Return a part if it gives what its kind has to; a plain function as LiveKit's tool. Raises PluginError."""
    if kind is Kind.TOOL:
        part, fits = _tool(part)
    elif kind in _CLASSES:
        module, attribute = _CLASSES[kind]
        fits = isinstance(part, getattr(importlib.import_module(module), attribute))
    else:
        fits = isinstance(part, _PROTOCOLS[kind])
    if not fits:
        raise PluginError(
            f"The {kind} '{name}' gives a {type(part).__name__}",
            fix=f"It has to give {gives(kind)}; see docs/plugins.md",
        )
    return part


def _tool(part: Any) -> tuple[Any, bool]:
    llm = importlib.import_module("livekit.agents.llm")
    if inspect.isfunction(part):
        return llm.function_tool(part), True
    return part, isinstance(part, llm.Tool | llm.Toolset)
