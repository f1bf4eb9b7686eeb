"""The decision of the offline LLM: a conversation in, words or tool calls out. Pure and repeatable."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from greenroom.offline._dialogue import (
    Ask,
    Called,
    Dialogue,
    Heard,
    Instructed,
    Item,
    Ready,
    Returned,
    Spoken,
    Unknown,
    Utterance,
    question,
    replay,
)
from greenroom.offline._instructions import follow
from greenroom.offline._patterns import normalise
from greenroom.offline._rules import ERROR, RESULT, Rule
from greenroom.offline._smalltalk import CANNOT, FALLBACK, FAREWELL, GREETING, HELP, NUDGE, REPEAT, list_abilities
from greenroom.offline._templates import UnresolvedError, render
from greenroom.offline._tools import BoundCall, BoundRule, ToolSpec, bind
from greenroom.offline._values import Value

ToolUse: TypeAlias = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Script:
    """Everything an offline LLM was told at construction that decides what it says."""

    rules: tuple[Rule, ...] = ()
    instructions: tuple[Rule, ...] = ()
    greeting: str = GREETING
    fallback: tuple[str, ...] = FALLBACK
    small_talk: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Say:
    """Answer in words. ``understood`` is false for a fallback."""

    text: str
    understood: bool = True


@dataclass(frozen=True, slots=True)
class CallTools:
    """Call these tools at once: name and arguments."""

    calls: tuple[tuple[str, Mapping[str, object]], ...]


Plan: TypeAlias = Say | CallTools


@dataclass(frozen=True, slots=True)
class _Done:
    """A tool call that has its answer."""

    tool: str
    arguments: Mapping[str, Any]
    output: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the model: the conversation and what may be done about it.

    :param use: whether tools may or must be called.
    :param only: the one tool to call, by name; empty for any.
    :param parallel: whether several tools may be called at once.
    """

    items: Sequence[Item]
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    use: ToolUse = "auto"
    only: str = ""
    parallel: bool = True


def decide(script: Script, request: Request) -> Plan:
    """Decide what to do next. The same script and request give the same plan.

    Raises :class:`greenroom.offline.RuleError` for a rule that cannot be used with the tools.
    """
    return _Decision(script, request).plan()


class _Decision:
    def __init__(self, script: Script, request: Request) -> None:
        self._script = script
        self._request = request
        items = request.items
        self._said = _utterances(items)
        heard = [index for index, item in enumerate(items) if isinstance(item, Heard)]
        self._since = items[heard[-1] + 1 :] if heard else items
        self._spoken = [item.text for item in items if isinstance(item, Spoken)]
        self._done = _answered(self._since)
        self._rng = random.Random(repr((script.seed, len(items), self._said[-1:], self._spoken[-1:])))  # noqa: S311

    def plan(self) -> Plan:
        """Go on with tools, answer the caller, follow the program's instruction or open the conversation."""
        dialogue = self._replay()
        unanswered = bool(self._said) and not any(isinstance(item, Spoken) for item in self._since)
        if self._done:
            return self._after_tools(dialogue, in_turn=unanswered)
        if forced := self._forced(dialogue):
            return forced
        instruction = self._instruction()
        if unanswered:
            plan = self._answer(dialogue)
            if instruction and isinstance(plan, Say) and not plan.understood:
                return self._follow(instruction)
            return plan
        if instruction:
            return self._follow(instruction)
        return Say(NUDGE if self._spoken or self._said else self._script.greeting)

    def _replay(self) -> Dialogue:
        rules = self._script.rules
        if only := self._request.only:
            rules = tuple(sorted(rules, key=lambda rule: all(call.tool != only for call in rule.calls)))
        elif self._request.use == "required":
            rules = tuple(sorted(rules, key=lambda rule: not rule.calls))
        return replay(self._said, rules, self._request.tools, small_talk=self._script.small_talk)

    def _answer(self, dialogue: Dialogue) -> Plan:
        turn = dialogue.turn
        if isinstance(turn, Ask):
            asked = question(turn.need, turn.slots)
            return Say(f"I am sorry, I did not catch that. {asked}" if turn.puzzled else asked)
        if isinstance(turn, Unknown):
            return Say(self._pick(self._script.fallback), understood=False)
        plan = self._act(turn.bound, turn.slots) if isinstance(turn, Ready) else Say(self._chat(turn.rule))
        if turn.need and dialogue.pending and isinstance(plan, Say) and plan.text not in self._spoken[-1:]:
            return Say(f"{plan.text} {question(turn.need, dialogue.pending.slots)}")
        return plan

    def _chat(self, rule: Rule) -> str:
        if rule is HELP:
            return list_abilities(self._script.rules)
        if rule is REPEAT:
            return self._spoken[-1] if self._spoken else NUDGE
        return self._pick(rule.replies)

    def _act(self, bound: BoundRule, slots: Mapping[str, Value]) -> Plan:
        """Make the calls whose turn it is; without any left, answer."""
        results = _results(self._done)
        if any(done.failed for done in self._done):
            return self._report(bound, slots)
        waiting = list(bound.calls)
        for done in self._done:
            made = next((call for call in waiting if call.tool.name == done.tool), None)
            if made is not None:
                waiting.remove(made)
        if not waiting:
            return self._report(bound, slots)
        if self._request.use == "none":
            return self._report(bound, slots) if self._done else Say(CANNOT)
        missing = {call.tool.name for call in waiting}
        ready = [call for call in waiting if not call.after & missing] or waiting[:1]
        if not self._request.parallel:
            ready = ready[:1]
        return CallTools(tuple((call.tool.name, call.arguments({**slots, **results})) for call in ready))

    def _report(self, bound: BoundRule, slots: Mapping[str, Value]) -> Plan:
        """Answer from the results, or from the first failure."""
        values: dict[str, Any] = dict(slots)
        for done in self._done:
            values.update(done.arguments)
        values.update(_results(self._done))
        failed = next((done for done in self._done if done.failed), None)
        if failed is not None:
            return Say(render(bound.rule.on_error, {**values, ERROR: failed.output}))
        plain = str(values.get(RESULT) or "Done.")
        if not bound.rule.replies:
            return Say(plain)
        try:
            return Say(render(self._pick(bound.rule.replies), values))
        except UnresolvedError:
            return Say(plain)

    def _after_tools(self, dialogue: Dialogue, *, in_turn: bool) -> Plan:
        """Go on after tools have answered: with the rule of this turn, else with a rule that calls the tool."""
        turn = dialogue.turn
        names = {done.tool for done in self._done}
        if in_turn and isinstance(turn, Ready) and names & {call.tool.name for call in turn.bound.calls}:
            return self._act(turn.bound, turn.slots)
        for rule in (*self._script.rules, *self._script.instructions):
            tools = {call.tool for call in rule.calls}
            if names & tools and tools <= set(self._request.tools):
                return self._report(bind(rule, self._request.tools), {})
        return self._report(BoundRule(_PLAIN), {})

    def _forced(self, dialogue: Dialogue) -> Plan | None:
        """Call the tool that the program named, when everything it needs is known."""
        if not self._request.only or self._request.use == "none":
            return None
        turn = dialogue.turn
        if isinstance(turn, Ready) and any(call.tool.name == self._request.only for call in turn.bound.calls):
            return None
        for rule in self._script.rules:
            call = next((call for call in rule.calls if call.tool == self._request.only), None)
            if call is None:
                continue
            bound = bind(rule, self._request.tools)
            if bound.missing(dialogue.memory) is None:
                made: BoundCall = next(made for made in bound.calls if made.tool.name == self._request.only)
                return CallTools(((made.tool.name, made.arguments(dialogue.memory)),))
        spec = self._request.tools.get(self._request.only)
        return CallTools(((spec.name, {}),)) if spec and not spec.required else None

    def _instruction(self) -> str:
        texts = []
        for item in reversed(self._request.items):
            if not isinstance(item, Instructed):
                break
            texts.append(item.text)
        return "\n".join(reversed(texts))

    def _follow(self, instruction: str) -> Plan:
        text = normalise(instruction)
        for rule in self._script.instructions:
            if (slots := rule.match(text)) is not None:
                bound = bind(rule, self._request.tools)
                return self._act(bound, slots)
        words = follow(instruction, greeting=self._script.greeting, farewell=FAREWELL, nudge=NUDGE)
        opening = NUDGE if self._spoken or self._said else self._script.greeting
        return Say(words) if words else Say(opening, understood=False)

    def _pick(self, variants: Sequence[str]) -> str:
        """Choose by the seed, not the words that were said last."""
        fresh = [text for text in variants if text not in self._spoken[-1:]] or list(variants)
        return self._rng.choice(fresh)


_PLAIN: Final = Rule("tool result", "{result}", tool="tool")


def _utterances(items: Sequence[Item]) -> list[Utterance]:
    said: list[Utterance] = []
    for item in items:
        if isinstance(item, Heard):
            said.append(Utterance(item.text))
        elif isinstance(item, Returned) and item.failed and said:
            said[-1] = Utterance(said[-1].text, failed=True)
    return said


def _answered(items: Sequence[Item]) -> list[_Done]:
    """List the calls that have an answer which nobody has been told of yet, in the order of the calls."""
    called: list[Called] = []
    returned: dict[str, Returned] = {}
    for item in items:
        if isinstance(item, Called):
            called.append(item)
        elif isinstance(item, Returned):
            returned[item.call_id] = item
        elif isinstance(item, Spoken) and all(call.call_id in returned for call in called):
            called.clear()
    answered = [(call, returned[call.call_id]) for call in called if call.call_id in returned]
    return [_Done(call.tool, call.arguments, answer.output, answer.failed) for call, answer in answered]


def _results(done: Sequence[_Done]) -> dict[str, Any]:
    """Map each tool to its last output, and ``result`` to all of them."""
    values: dict[str, Any] = {entry.tool: entry.output for entry in done}
    if len(done) == 1:
        values[RESULT] = done[0].output
    elif done:
        values[RESULT] = " ".join(entry.output.strip() for entry in done if entry.output.strip())
    return values
