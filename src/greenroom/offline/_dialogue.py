"""What the conversation so far asks for, read again from the start each time.

The offline LLM keeps no state of its own: the chat context that it is given is the state, so a session
can be resumed, handed over or replayed, and one LLM can serve many calls.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from greenroom.offline._patterns import normalise
from greenroom.offline._rules import Rule, RuleError, Slot
from greenroom.offline._smalltalk import CANCEL, CHAT, DISCLOSURE, HELP, REPEAT, REPLIES
from greenroom.offline._templates import render
from greenroom.offline._tools import BoundRule, Need, ToolSpec, bind
from greenroom.offline._values import Value

# A conversation is read back this many of the caller's turns.
MAX_TURNS: Final = 50
# Words that may stand around a value in a correction: "actually, make it four, please".
_FILLER: Final = re.compile(
    r"\W*(?:actually|make|it|no|yes|and|at|on|for|the|please|change|that|to|a|um|uh|well|so|then|ok|okay)?\W*",
    re.IGNORECASE,
)
_PREPOSITION: Final = re.compile(r"\b(?:at|on|for|by|around)\s+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller said something."""

    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The agent said something."""

    text: str


@dataclass(frozen=True, slots=True)
class Instructed:
    """The program asked for something to be said."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A tool was called."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Returned:
    """A tool answered."""

    call_id: str
    output: str
    failed: bool = False


Item: TypeAlias = Heard | Spoken | Instructed | Called | Returned


@dataclass(frozen=True, slots=True)
class Chat:
    """The turn is small talk, answered by ``rule``; ``need`` is the question that is still open."""

    rule: Rule
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A rule matched but ``need`` has no value. ``puzzled``: what was said did not answer the question."""

    bound: BoundRule
    slots: Mapping[str, Value]
    need: Need
    puzzled: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A rule matched and has all its slots; ``need`` is the question of another rule that is still open."""

    bound: BoundRule
    slots: Mapping[str, Value]
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing matched."""


Turn: TypeAlias = Chat | Ask | Ready | Unknown


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Where the conversation stands after the caller's last turn.

    :param pending: the question that waits for its answer.
    :param failed: what could not be done last time, for the caller to correct.
    :param memory: the last value of each slot in the call.
    :param turn: what the last turn asks for.
    """

    pending: Ask | None = None
    failed: Ready | None = None
    memory: Mapping[str, Value] = field(default_factory=dict)
    turn: Turn = field(default_factory=Unknown)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of the caller, and whether a tool failed in answering it."""

    text: str
    failed: bool = False


def replay(
    said: Sequence[Utterance], rules: Sequence[Rule], tools: Mapping[str, ToolSpec], *, small_talk: bool = True
) -> Dialogue:
    """Read the caller's turns in order.

    Raises :class:`RuleError` when the last turn needs a rule that cannot be used with ``tools``.
    """
    dialogue = Dialogue()
    recent = said[-MAX_TURNS:]
    for position, utterance in enumerate(recent):
        try:
            dialogue = _hear(dialogue, normalise(utterance.text), rules, tools, small_talk=small_talk)
        except RuleError:
            if position == len(recent) - 1:
                raise
            dialogue = replace(dialogue, pending=None, turn=Unknown())
        failed = dialogue.turn if utterance.failed and isinstance(dialogue.turn, Ready) else None
        dialogue = replace(dialogue, failed=failed)
    return dialogue


def _hear(
    dialogue: Dialogue, text: str, rules: Sequence[Rule], tools: Mapping[str, ToolSpec], *, small_talk: bool
) -> Dialogue:
    pending = dialogue.pending
    need = pending.need if pending else None
    unfinished = pending or dialogue.failed
    if DISCLOSURE.match(text) is not None:
        return replace(dialogue, turn=Chat(DISCLOSURE, need))
    if unfinished and CANCEL.match(text) is not None:
        return replace(dialogue, pending=None, turn=Chat(CANCEL))
    # What is nothing but a value answers the question, even where a rule would match it.
    if unfinished and (bare := _bare_answers(unfinished.bound, need, text)):
        return _proceed(dialogue, unfinished.bound, {**unfinished.slots, **bare})
    for rule in rules:
        if (slots := rule.match(text)) is not None:
            return _begin(dialogue, text, bind(rule, tools), slots)
    return _without_rule(dialogue, text, small_talk=small_talk)


def _without_rule(dialogue: Dialogue, text: str, *, small_talk: bool) -> Dialogue:
    """Take the turn as an answer, a correction or small talk."""
    pending = dialogue.pending
    need = pending.need if pending else None
    # Any words answer an open question for text, so those that are nothing but small talk are taken out before.
    if need and need.kind.free and small_talk and (chat := _small_talk(text, whole=True)):
        return replace(dialogue, turn=Chat(chat, need))
    if pending and (answers := _answers(pending, text)):
        return _proceed(dialogue, pending.bound, {**pending.slots, **answers})
    if dialogue.failed and (corrections := _evident(dialogue.failed.bound, text)[0]):
        return _proceed(dialogue, dialogue.failed.bound, {**dialogue.failed.slots, **corrections})
    if small_talk and (chat := _small_talk(text, whole=False, replies=need is None)):
        return replace(dialogue, turn=Chat(chat, need))
    return replace(dialogue, turn=replace(pending, puzzled=True) if pending else Unknown())


def _small_talk(text: str, *, whole: bool, replies: bool = False) -> Rule | None:
    rules: tuple[Rule, ...] = (HELP, REPEAT, *CHAT, *(REPLIES if replies else ()))
    for rule in rules:
        if any(pattern.match(text, whole=whole) is not None for pattern in rule.patterns):
            return rule
    return None


def _begin(dialogue: Dialogue, text: str, bound: BoundRule, slots: Mapping[str, Value]) -> Dialogue:
    """Start a rule, or go on with it when it is the pending or failed one said in other words."""
    # Without "tomorrow at three", "an appointment tomorrow at three for Ada" is "an appointment for Ada".
    evident, rest = _evident(bound, text)
    values = {**evident, **(bound.rule.match(rest) or {}), **slots}
    pending, failed = dialogue.pending, dialogue.failed
    if pending and pending.bound.rule is bound.rule:
        return _proceed(dialogue, bound, {**pending.slots, **values})
    if failed and failed.bound.rule is bound.rule and values:
        return _proceed(dialogue, bound, {**failed.slots, **values})
    begun = _proceed(dialogue, bound, values)
    if pending and not bound.calls and isinstance(begun.turn, Ready):
        # An aside: answered, and then the open question is asked again.
        return replace(begun, pending=pending, turn=replace(begun.turn, need=pending.need))
    return begun


def _evident(bound: BoundRule, text: str, *, exclude: str = "") -> tuple[dict[str, Value], str]:
    """Find the values that speak for themselves, such as a time, and return them with the rest of the text.

    Where two slots of a rule have the same type, a value does not say which of them it is for.
    """
    kinds = Counter(kind.name for kind in bound.types.values())
    values: dict[str, Value] = {}
    for name, kind in bound.types.items():
        if name != exclude and kinds[kind.name] == 1 and (found := kind.find(text)):
            values[name] = found[0]
            before = _PREPOSITION.sub("", text[: found[1][0]])
            text = " ".join(f"{before} {text[found[1][1] :]}".split())
    return values, text


def _bare_answers(bound: BoundRule, need: Need | None, text: str) -> dict[str, Value]:
    """Read a turn that holds values and nothing else, such as "Monday" or "make it four, at noon"."""
    values, rest = _evident(bound, text, exclude=need.slot if need else "")
    if need and not need.kind.free and (answer := need.kind.answer(rest)):
        values[need.slot] = answer[0]
        rest = f"{rest[: answer[1][0]]} {rest[answer[1][1] :]}"
    return values if all(_FILLER.fullmatch(word) for word in rest.split()) else {}


def _answers(pending: Ask, text: str) -> dict[str, Value]:
    """Read the answer to the open question, and values of other slots that are still missing."""
    need = pending.need
    values, rest = _evident(pending.bound, text, exclude=need.slot)
    values = {name: value for name, value in values.items() if name not in pending.slots}
    answer = need.kind.answer(rest if values or need.kind.name == "name" else text)
    return {**values, need.slot: answer[0]} if answer else values


def _proceed(dialogue: Dialogue, bound: BoundRule, slots: Mapping[str, Value]) -> Dialogue:
    """Fill what is remembered or has a default, and say what is still needed."""
    values = _reread(bound, slots)
    for name in {**bound.types, **bound.rule.slots}:
        known = bound.rule.slots.get(name, Slot())
        if name not in values and known.recall and name in dialogue.memory:
            values[name] = dialogue.memory[name]
        if name not in values and known.default is not None:
            values[name] = known.default
    memory = {**dialogue.memory, **values}
    puzzled = False
    need = bound.missing(values)
    if need is None and (need := bound.rejected(values)) is not None:
        del values[need.slot], memory[need.slot]
        puzzled = True
    if need is None:
        used = {name for name, slot in bound.rule.slots.items() if slot.recall}
        memory = {name: value for name, value in memory.items() if name not in used}
        return Dialogue(memory=memory, turn=Ready(bound, values))
    ask = Ask(bound, values, need, puzzled)
    return Dialogue(pending=replace(ask, puzzled=False), memory=memory, turn=ask)


def _reread(bound: BoundRule, slots: Mapping[str, Value]) -> dict[str, Value]:
    """Read words that a pattern took as text as what the tool's parameter is; drop what is nothing of the kind."""
    values: dict[str, Value] = {}
    for name, value in slots.items():
        kind = bound.types.get(name)
        if kind is None or kind.free or not isinstance(value, str) or kind is bound.rule.types.get(name):
            values[name] = value
        elif found := kind.answer(value):
            values[name] = found[0]
    return values


def question(need: Need, slots: Mapping[str, Value]) -> str:
    """Put the question for ``need`` into words."""
    return render(need.question, slots) or f"What is the {need.slot.replace('_', ' ')}?"
