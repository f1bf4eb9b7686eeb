"""Shows a call: as a conversation for people, or as one JSON object per line for programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from greenroom.cli.talk import _events as events
from greenroom.cli.talk._lines import STATE_WIDTH

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u2028\u2029]")
_INDENT: Final = "  "
_STEPS: Final = 5
#: Columns of the prompt of a call by voice.
METER_WIDTH: Final = STATE_WIDTH + len(" you|| agent||") + 2 * _STEPS
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"


class Screen(Protocol):
    """Where a call is shown."""

    def show(self, event: events.Event) -> None:
        """Show what happened."""

    def level(self, caller: int, others: int, *, muted: bool) -> None:
        """Show how loud the two sides are, from 0 to 5."""

    def line_entered(self) -> None:
        """The person at the terminal pressed Enter."""


class Prompt(Protocol):
    """The line at the bottom of a terminal in which a person types."""

    def hide(self) -> None:
        """Take it off the screen; the cursor is at the start of an empty line."""

    def draw(self, state: str) -> None:
        """Put it back with what was typed so far, and with the agent's state."""


class JsonScreen:
    """One JSON object per event. ``at`` is in seconds since 1970.

    :param write: takes whole lines.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock

    def show(self, event: events.Event) -> None:
        """Write the event."""
        fields = {**msgspec.to_builtins(event), "at": round(self._clock(), 3)}
        self._write(msgspec.json.encode(fields).decode() + "\n")

    def level(self, caller: int, others: int, *, muted: bool) -> None:
        """Levels are for the eye."""

    def line_entered(self) -> None:
        """Nothing is drawn that could be in the way."""


class TextScreen:
    """A conversation, one paragraph per message. Words are written as they come.

    :param write: where the conversation goes.
    :param note: where remarks about the call go, as whole lines.
    :param prompt: drawn below everything else; without one, lines that were read are shown too.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        note: Callable[[str], None],
        *,
        prompt: Prompt | None = None,
        colour: bool = False,
    ) -> None:
        self._write = write
        self._note = note
        self._prompt = prompt
        self._colour = colour
        self._state = ""
        self._meter = ""
        self._here = False
        self._inside = False  # the cursor stands inside a message
        self._live: str | None = None
        self._later: dict[str, list[events.Words | events.Said]] = {}

    def show(self, event: events.Event) -> None:
        """Add the event to what is on the screen."""
        if isinstance(event, events.AgentState):
            self._state = event.state
        elif isinstance(event, events.AgentJoined):
            self._here = True
        if not self._inside and self._prompt:
            self._prompt.hide()
        self._add(event)
        self._draw()

    def level(self, caller: int, others: int, *, muted: bool) -> None:
        """Put the levels into the prompt."""
        own = "muted" if muted else "#" * caller
        self._meter = f" you|{own:<{_STEPS}}| agent|{'#' * others:<{_STEPS}}|"
        if self._prompt and not self._inside:
            self._prompt.hide()
        self._draw()

    def line_entered(self) -> None:
        """Know that the cursor is at the start of a line, whatever was on the one before."""
        self._inside = False

    def _draw(self) -> None:
        if not self._inside and self._prompt and self._here:
            self._prompt.draw(f"{self._state:<{STATE_WIDTH}}{self._meter}" if self._meter else self._state)

    def _add(self, event: events.Event) -> None:
        match event:
            case events.Words():
                self._words(event)
            case events.Said():
                self._said(event)
            case events.Tool():
                self._line(self._paint(_DIM, _INDENT + _tool(event)))
            case events.Sent(text=text) if self._prompt is None:
                self._line(f"{self._paint(_BOLD, 'you')}: {_clean(text)}")
            case events.Heard(text=text, final=True):
                self._line(f"{self._paint(_BOLD, 'you')}: {_clean(text)}")
            case _:
                remark = _remark(event, watched=self._prompt is not None)
                if remark:
                    self._break()
                    self._note(self._paint(_DIM, remark) + "\n")

    def _words(self, event: events.Words) -> None:
        if self._live not in {None, event.message}:
            # Two who speak at once would not be readable word by word.
            self._later.setdefault(event.message, []).append(event)
            return
        self._live = event.message
        if not self._inside:
            self._write(f"{self._paint(_BOLD, _clean(event.by))}: ")
            self._inside = True
        self._write(_clean(event.text))

    def _said(self, event: events.Said) -> None:
        if event.message in self._later:
            self._later[event.message].append(event)
            return
        if event.message != self._live:
            return
        if not event.complete:
            self._write(" …")
        self._break()
        self._live = None
        waiting, self._later = self._later, {}
        for parts in waiting.values():
            for part in parts:
                self._add(part)

    def _line(self, text: str) -> None:
        self._break()
        self._write(text + "\n")

    def _break(self) -> None:
        if self._inside:
            self._write("\n")
            self._inside = False

    def _paint(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour else text


def _tool(event: events.Tool) -> str:
    name, output = _clean(event.name), _clean(event.output)
    match event.outcome:
        case "running" if not output:
            return f"[{name} {_clean(event.arguments)}]"
        case "running" | "done":
            return f"[{name}: {output or 'done'}]"
        case "error":
            return f"[{name} failed: {output}]"
        case "cancelled":
            return f"[{name} was cancelled]"


def _remark(event: events.Event, *, watched: bool) -> str:
    match event:
        case events.Connected() if watched:
            return f"In room {_clean(event.room)} at {event.url}, waiting for the agent…"
        case events.AgentLeft():
            return f"{_clean(event.agent)} left."
        case events.Muted():
            return "Your microphone is off; /mute turns it on." if event.muted else "Your microphone is on."
        case events.Fault():
            return f"The agent reports an error: {_clean(event.message)}"
        case events.Connection():
            return "The connection is back." if event.up else "The connection broke, reconnecting…"
        case events.Ended() if watched or event.by != "caller":
            return event.reason
    return ""


def _clean(text: str) -> str:
    # What an agent says must not move the cursor, and its paragraphs stay apart from those of others.
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text).replace("\n", "\n" + _INDENT)
