"""One plugin: what an entry point registers with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from greenroom.plugins._kinds import VARIANTS, Kind, PluginError

_Part = TypeVar("_Part", bound=Callable[..., Any])
_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.:/-]*)?")


@dataclass(frozen=True, slots=True)
class Registration:
    """A part that a plugin brings.

    :param id: ``provider/model``, or ``provider`` alone for every model of it; a name for kinds without models.
    :param make: what is called to have one; of a tool the function itself.
    :param requires: modules without which it cannot be made, though it can be listed.
    :param install: the command that brings them.
    """

    kind: Kind
    id: str
    make: Callable[..., Any]
    summary: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""


class Register(Protocol):
    """The decorator of one kind: ``@plugin.tts("acme/tiny", summary="...")``."""

    def __call__(
        self, name: str, /, *, summary: str = "", requires: Sequence[str] = (), install: str = ""
    ) -> Callable[[_Part], _Part]:
        """Return a decorator that registers what it decorates, and leaves it as it is."""


class Plugin:
    """What one entry point brings. It is filled by decorators named after the kinds.

    A module may make one at its top and be the entry point itself, or the entry point is a function that takes one::

        plugin = Plugin()

        @plugin.tts("acme/tiny")
        def tiny(voice: str = "ann") -> TTS: ...

    Heavy modules are best imported in the function: it is called when somebody wants the part, not to list it.
    """

    def __init__(self) -> None:
        self.registrations: list[Registration] = []
        self.stt = self._of(Kind.STT)
        self.llm = self._of(Kind.LLM)
        self.tts = self._of(Kind.TTS)
        self.vad = self._of(Kind.VAD)
        self.turn_detector = self._of(Kind.TURN_DETECTOR)
        self.realtime = self._of(Kind.REALTIME)
        self.tool = self._of(Kind.TOOL)
        self.observer = self._of(Kind.OBSERVER)
        self.memory = self._of(Kind.MEMORY)
        self.messaging = self._of(Kind.MESSAGING)
        self.store = self._of(Kind.STORE)
        self.sink = self._of(Kind.SINK)
        self.scorer = self._of(Kind.SCORER)
        self.policy = self._of(Kind.POLICY)

    def register(self, registration: Registration) -> None:
        """Add a part. Raises :class:`PluginError` for an id that cannot be one, or that this plugin has given."""
        kind, name = registration.kind, registration.id
        if not _ID.fullmatch(name) or (kind in VARIANTS and ":" in name):
            raise PluginError(
                f"'{name}' cannot be the id of a plugin", fix="Use provider, provider/model or a name, without spaces"
            )
        if any(each.kind is kind and each.id == name for each in self.registrations):
            raise PluginError(f"The {kind} '{name}' is registered twice", fix="Give one of them another id")
        if not callable(registration.make):
            raise PluginError(f"The {kind} '{name}' is registered without a function that makes it")
        self.registrations.append(registration)

    def _of(self, kind: Kind) -> Register:
        def register(
            name: str,
            /,
            *,
            summary: str = "",
            requires: Sequence[str] = (),
            install: str = "",
        ) -> Callable[[_Part], _Part]:
            def decorate(part: _Part) -> _Part:
                said = summary or (inspect.getdoc(part) or "").partition("\n")[0]
                self.register(Registration(kind, name, part, said, tuple(requires), install))
                return part

            return decorate

        return register
