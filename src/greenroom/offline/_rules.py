"""Rules: what may be said, and what is answered or done."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from greenroom.errors import ConfigError
from greenroom.offline._patterns import Pattern, PatternError, compile_pattern, slot_type
from greenroom.offline._templates import TemplateError, fields
from greenroom.offline._values import SlotType, Value

RESULT: Final = "result"
ERROR: Final = "error"


class RuleError(ConfigError):
    """A rule of the offline LLM cannot be used as it is written."""

    code = "offline_rule"


@dataclass(frozen=True, slots=True)
class Slot:
    """What a rule knows of one slot beyond its place in a pattern.

    :param type: a type of ``docs/offline.md`` or ``one|or|other``. Empty: as in the pattern, else as the tool's
        parameter, else the type called like the slot, else text.
    :param ask: the question for a missing value; it may refer to other slots. Giving one makes the slot needed.
    :param default: the value when none was said. The slot is then never asked for.
    :param recall: take a missing value from what was said earlier in the call. Once a rule has used it, it is
        forgotten: a second booking asks anew.
    """

    type: str = ""
    ask: str = ""
    default: Value | None = None
    recall: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function tool.

    :param tool: the tool's name.
    :param args: arguments. A string is a template over slots and, by tool name, over results of earlier calls of the
        rule (``{find_table.id}``); exactly one field keeps its type. Parameters left out take the slot of their name.
    """

    tool: str
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, init=False, eq=False)
class Rule:
    """One thing the offline LLM can do: patterns, and a reply or tool calls.

    :param patterns: what is listened for: pattern strings or compiled regular expressions.
    :param reply: the answer, a template; of several one is chosen by the seed. With tools it answers from their
        results (``{result}``) and may be left out.
    :param tool: tools to call: names or :class:`Call`. Those that refer to the result of another wait for it, the
        others are called at once.
    :param slots: more about slots, by name.
    :param on_error: the answer when a tool fails; ``{error}`` is what it said.
    :param help: how "what can you do?" presents the rule; ``None`` derives it from the first pattern, "" hides it.
    :param name: how errors call the rule; the first pattern when left out.

    Raises :class:`RuleError` for a pattern or template that cannot be read.
    """

    patterns: tuple[Pattern, ...]
    replies: tuple[str, ...]
    calls: tuple[Call, ...]
    slots: Mapping[str, Slot]
    on_error: str
    help: str
    name: str
    types: Mapping[str, SlotType]

    def __init__(
        self,
        patterns: str | re.Pattern[str] | Sequence[str | re.Pattern[str]],
        reply: str | Sequence[str] = (),
        *,
        tool: str | Call | Sequence[str | Call] = (),
        slots: Mapping[str, Slot] | None = None,
        on_error: str = "I am sorry, that did not work: {error}",
        help: str | None = None,  # noqa: A002
        name: str = "",
    ) -> None:
        sources = [patterns] if isinstance(patterns, str | re.Pattern) else list(patterns)
        label = name or next((source if isinstance(source, str) else source.pattern for source in sources), "")
        replies = (reply,) if isinstance(reply, str) else tuple(reply)
        tools = [tool] if isinstance(tool, str | Call) else list(tool)
        if not sources:
            raise RuleError("A rule of the offline LLM has no pattern", fix="Give it at least one")
        if not (replies or tools):
            raise RuleError(f"Rule '{label}' has neither a reply nor a tool", fix="Give it reply=… or tool=…")
        try:
            compiled = tuple(compile_pattern(source) for source in sources)
            for template in (*replies, on_error, *(slot.ask for slot in (slots or {}).values())):
                fields(template)
            types = _types(compiled, slots or {})
        except (PatternError, TemplateError) as error:
            raise RuleError(
                f"Rule '{label}': {error}", fix="See docs/offline.md for how patterns are written"
            ) from None
        values: dict[str, object] = {
            "patterns": compiled,
            "replies": replies,
            "calls": tuple(Call(entry) if isinstance(entry, str) else entry for entry in tools),
            "slots": dict(slots or {}),
            "on_error": on_error,
            "help": compiled[0].example if help is None else help,
            "name": label,
            "types": types,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def match(self, text: str) -> dict[str, Value] | None:
        """Match normalised ``text``: the slots that were filled, ``None`` without a match."""
        for pattern in self.patterns:
            if (values := pattern.match(text)) is not None:
                return values
        return None


def _types(patterns: Sequence[Pattern], slots: Mapping[str, Slot]) -> dict[str, SlotType]:
    types: dict[str, SlotType] = {}
    for pattern in patterns:
        for name, kind in pattern.slots.items():
            if types.setdefault(name, kind).name != kind.name:
                raise PatternError(f"two patterns give slot '{name}' different types")
    for name, slot in slots.items():
        if slot.type:
            types[name] = slot_type(name, slot.type)
    return types
