"""A rule bound to the tools of the moment: which slots its calls need, and with which arguments they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from greenroom.offline._rules import ERROR, RESULT, Call, Rule, RuleError, Slot
from greenroom.offline._templates import UnresolvedError, fields, render, resolve, roots, single
from greenroom.offline._values import TYPES, SlotType, Value, choice, spoken_label

_JSON_TYPES: Final = {"integer": "int", "number": "number", "boolean": "yesno"}
_PYTHON_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


# Validates arguments and returns the first wrong parameter and why, or None.
Check: TypeAlias = Callable[[Mapping[str, object]], tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What is known of a function tool.

    :param parameters: the JSON schema of each parameter, in order.
    :param required: those without a default.
    :param check: validates the arguments of a call.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    check: Check = lambda _: None


@dataclass(frozen=True, slots=True)
class Need:
    """A slot that must have a value before the rule can answer or act."""

    slot: str
    kind: SlotType
    question: str


@dataclass(frozen=True, slots=True)
class BoundCall:
    """One call with the template of each argument, and the earlier calls that it waits for."""

    tool: ToolSpec
    args: Mapping[str, object]
    after: frozenset[str]

    def arguments(self, values: Mapping[str, Any]) -> dict[str, object]:
        """Fill the arguments. An optional one whose slot is empty is left out."""
        filled: dict[str, object] = {}
        for name, template in self.args.items():
            value: object = template
            if isinstance(template, str):
                path = single(template)
                try:
                    value = render(template, values) if path is None else resolve(path, values)
                except UnresolvedError:
                    value = None
            if value is not None or name in self.tool.required:
                filled[name] = value
        return filled


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule with its needs in the order in which they are asked for."""

    rule: Rule
    calls: tuple[BoundCall, ...] = ()
    needs: tuple[Need, ...] = ()
    types: Mapping[str, SlotType] = field(default_factory=dict)

    def missing(self, slots: Mapping[str, Value]) -> Need | None:
        """Return the first need without a value."""
        return next((need for need in self.needs if need.slot not in slots), None)

    def rejected(self, slots: Mapping[str, Value]) -> Need | None:
        """Return the slot whose value a tool would refuse.

        Raises :class:`RuleError` when the refused argument does not come from a slot.
        """
        for call in self.calls:
            if call.after:
                continue
            wrong = call.tool.check(call.arguments(slots))
            if wrong is None:
                continue
            template = call.args.get(wrong[0])
            slot = single(template) if isinstance(template, str) else None
            if slot is None or slot not in slots:
                raise RuleError(
                    f"Rule '{self.rule.name}' gives tool '{call.tool.name}' an unusable '{wrong[0]}': {wrong[1]}",
                    fix="Correct the argument in the rule, or the tool's parameter",
                )
            return next((need for need in self.needs if need.slot == slot), self._need(slot))
        return None

    def _need(self, slot: str) -> Need:
        return Need(slot, self.types.get(slot, TYPES["text"]), "")


def bind(rule: Rule, tools: Mapping[str, ToolSpec]) -> BoundRule:
    """Bind ``rule`` to ``tools``.

    Raises :class:`RuleError`, naming the rule, for a tool that is not there, for an argument the tool does
    not take and for a template that refers to nothing.
    """
    types = dict(rule.types)
    calls: list[BoundCall] = []
    for call in rule.calls:
        calls.append(_bind_call(rule, call, tools, calls))
        for name, schema in calls[-1].tool.parameters.items():
            _adopt(types, name, schema, calls[-1])
    _check_templates(rule, calls, types)
    needs = [_need(rule, slot, types) for slot in _needed(rule, calls, types)]
    return BoundRule(rule, tuple(calls), tuple(needs), types)


def _bind_call(rule: Rule, call: Call, tools: Mapping[str, ToolSpec], earlier: Sequence[BoundCall]) -> BoundCall:
    spec = tools.get(call.tool)
    if spec is None:
        known = ", ".join(sorted(tools)) or "none"
        raise RuleError(
            f"Rule '{rule.name}' calls the tool '{call.tool}', which the agent does not have",
            fix=f"Name one of the agent's tools ({known}), or give the agent a function tool of that name",
        )
    unknown = next((name for name in call.args if name not in spec.parameters), None)
    if unknown is not None:
        raise RuleError(
            f"Rule '{rule.name}' gives tool '{spec.name}' the argument '{unknown}', which it does not take",
            fix=f"It takes: {', '.join(spec.parameters) or 'nothing'}",
        )
    args: dict[str, object] = {}
    for name in spec.parameters:
        if name in call.args:
            args[name] = call.args[name]
        elif name in spec.required or name in rule.types or name in rule.slots:
            args[name] = f"{{{name}}}"
    names = {name for template in args.values() if isinstance(template, str) for name in roots(template)}
    done = {other.tool.name for other in earlier}
    waits = names & done | (done if RESULT in names else set())
    return BoundCall(spec, args, frozenset(waits))


def _adopt(types: dict[str, SlotType], name: str, schema: Mapping[str, Any], call: BoundCall) -> None:
    """Give the slot that feeds parameter ``name`` the parameter's type, unless the rule gives it one."""
    template = call.args.get(name)
    slot = single(template) if isinstance(template, str) else None
    if slot is None or "." in slot or slot in call.after or slot == RESULT:
        return
    kind = _schema_type(schema)
    if slot not in types:
        types[slot] = kind or TYPES.get(slot, TYPES["text"])
    elif kind and types[slot].name == "text":
        types[slot] = kind


def _schema_type(schema: Mapping[str, Any]) -> SlotType | None:
    """Return the type of a parameter that is not any text."""
    options = schema.get("enum")
    if options and all(isinstance(option, str) for option in options):
        return choice(tuple(options))
    kind = _JSON_TYPES.get(str(schema.get("type", "")))
    return TYPES[kind] if kind else None


def check_schema(
    parameters: Mapping[str, Mapping[str, Any]], arguments: Mapping[str, object]
) -> tuple[str, str] | None:
    """Check arguments against plain JSON types, for tools that come with nothing but a schema."""
    for name, value in arguments.items():
        schema = parameters.get(name, {})
        expected = _PYTHON_TYPES.get(str(schema.get("type", "")), object)
        if not isinstance(value, expected) or (isinstance(value, bool) and schema.get("type") != "boolean"):
            return name, f"it is not of type {schema.get('type')}"
        if "enum" in schema and value not in schema["enum"]:
            return name, "it is not one of the choices"
    return None


def _needed(rule: Rule, calls: Sequence[BoundCall], types: Mapping[str, SlotType]) -> Iterator[str]:
    """Name the slots that must have a value, each once, in the order of asking."""
    asked = dict.fromkeys(_call_slots(calls, types))
    if not calls:
        asked.update(dict.fromkeys(name for reply in rule.replies for name in roots(reply)))
    asked.update(dict.fromkeys(name for name, slot in rule.slots.items() if slot.ask))
    return (name for name in asked if rule.slots.get(name, Slot()).default is None)


def _call_slots(calls: Sequence[BoundCall], types: Mapping[str, SlotType]) -> Iterator[str]:
    for call in calls:
        for parameter, template in call.args.items():
            if not isinstance(template, str):
                continue
            for name in roots(template):
                if name in types and (parameter in call.tool.required or single(template) is None):
                    yield name


def _need(rule: Rule, slot: str, types: Mapping[str, SlotType]) -> Need:
    kind = types.get(slot, TYPES["text"])
    derived = kind.question.replace("{label}", spoken_label(slot))
    return Need(slot, kind, rule.slots.get(slot, Slot()).ask or derived[0].upper() + derived[1:])


def _check_templates(rule: Rule, calls: Sequence[BoundCall], types: Mapping[str, SlotType]) -> None:
    """Refuse a template that refers to nothing. Raises :class:`RuleError`."""
    slots = set(types) | set(rule.slots)
    results = {RESULT, *(call.tool.name for call in calls)} if calls else set()
    parameters = {name for call in calls for name in call.tool.parameters}
    for index, call in enumerate(calls):
        earlier = {other.tool.name for other in calls[:index]} | ({RESULT} if index else set())
        for template in call.args.values():
            _check(rule, template, slots | earlier)
    for reply in rule.replies:
        _check(rule, reply, slots | results | parameters)
    _check(rule, rule.on_error, slots | results | parameters | {ERROR})
    for slot in rule.slots.values():
        _check(rule, slot.ask, slots)


def _check(rule: Rule, template: object, known: set[str]) -> None:
    if not isinstance(template, str):
        return
    for path in fields(template):
        if path.partition(".")[0] not in known:
            raise RuleError(
                f"Rule '{rule.name}' refers to '{{{path}}}', which is neither a slot nor a result",
                fix=f"It may refer to: {', '.join(sorted(known)) or 'nothing'}",
            )
