"""A conversation with the decision of the offline LLM, tools included, without livekit-agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from greenroom.offline._decide import CallTools, Plan, Request, Say, Script, decide
from greenroom.offline._dialogue import Called, Heard, Instructed, Item, Returned, Spoken
from greenroom.offline._tools import ToolSpec

Run = Callable[[Mapping[str, object]], str]


class ToolFailedError(Exception):
    """A tool of the conversation failed."""


class Talk:
    """Plays the session: runs the tools that are asked for and keeps the conversation."""

    def __init__(self, script: Script, tools: Mapping[str, tuple[ToolSpec, Run]] | None = None) -> None:
        self.script = script
        self.tools = dict(tools or {})
        self.items: list[Item] = []
        self.calls: list[list[tuple[str, dict[str, object]]]] = []

    def plan(self, **options: object) -> Plan:
        """Decide on the conversation as it stands."""
        specs = {name: spec for name, (spec, _) in self.tools.items()}
        return decide(self.script, Request(list(self.items), specs, **options))  # type: ignore[arg-type]

    def say(self, text: str, **options: object) -> str:
        """Say something and return what is answered; ``calls`` then holds the tool calls of the turn, step by step."""
        self.items.append(Heard(text))
        return self.reply(**options)

    def instruct(self, text: str, **options: object) -> str:
        """Ask for one reply with instructions, which LiveKit does not keep in the conversation."""
        self.items.append(Instructed(text))
        words = self.reply(**options)
        self.items.remove(Instructed(text))
        return words

    def reply(self, **options: object) -> str:
        """Let it answer, running tools until it speaks."""
        self.calls = []
        while True:
            plan = self.plan(**options)
            options = {key: value for key, value in options.items() if key == "parallel"}
            if isinstance(plan, Say):
                self.items.append(Spoken(plan.text))
                return plan.text
            self._run(plan)

    def _run(self, plan: CallTools) -> None:
        self.calls.append([(name, dict(arguments)) for name, arguments in plan.calls])
        assert len(self.calls) < 10, "it calls tools without end"
        made = []
        for name, arguments in plan.calls:
            call_id = f"call{len(self.items)}.{len(made)}"
            made.append((Called(call_id, name, dict(arguments)), self._answer(call_id, name, arguments)))
        self.items += [call for call, _ in made]
        self.items += [answer for _, answer in made]

    def _answer(self, call_id: str, name: str, arguments: Mapping[str, object]) -> Returned:
        try:
            return Returned(call_id, self.tools[name][1](arguments))
        except ToolFailedError as error:
            return Returned(call_id, str(error), failed=True)


def tool(
    name: str, run: Run, /, *, required: tuple[str, ...] = (), **parameters: str
) -> dict[str, tuple[ToolSpec, Run]]:
    """Describe a tool by the JSON type of each parameter."""
    spec = ToolSpec(name, {key: {"type": kind} for key, kind in parameters.items()}, frozenset(required))
    return {name: (spec, run)}
