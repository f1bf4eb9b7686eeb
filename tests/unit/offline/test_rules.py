"""Mistakes in rules are named, with what to do about them."""

from __future__ import annotations

import random

import pytest

from greenroom.errors import ConfigError, GreenroomError
from greenroom.offline import Call, Latency, Rule, RuleError, Slot
from greenroom.offline._decide import Script
from support.offline_talk import Talk, tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: Rule([], "hello"), "has no pattern"),
        (lambda: Rule("hello"), "Rule 'hello' has neither a reply nor a tool"),
        (lambda: Rule("book {for:crowd}", "ok", name="booking"), "Rule 'booking': slot 'for' has the unknown type"),
        (lambda: Rule("hello", "Hi {name"), "stray '{'"),
        (lambda: Rule(["{a:int} x", "{a:time} y"], "ok"), "two patterns give slot 'a' different types"),
        (lambda: Rule("x", "ok", slots={"a": Slot("huge")}), "unknown type 'huge'"),
        (lambda: Rule("x", "ok", slots={"a": Slot(ask="What {")}), "stray '{'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_at_once(build: object, complaint: str) -> None:
    assert callable(build)
    with pytest.raises(RuleError) as caught:
        build()
    assert complaint in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    ("rule", "complaint", "fix"),
    [
        (
            Rule("go", tool="fly"),
            "Rule 'go' calls the tool 'fly', which the agent does not have",
            "Name one of the agent's tools (walk), or give the agent a function tool of that name",
        ),
        (
            Rule("go", tool=Call("walk", {"speed": 3})),
            "Rule 'go' gives tool 'walk' the argument 'speed', which it does not take",
            "It takes: where",
        ),
        (
            Rule("go", "Gone to {place}.", tool="walk"),
            "Rule 'go' refers to '{place}', which is neither a slot nor a result",
            "It may refer to: result, walk, where",
        ),
        (
            Rule("go", tool=Call("walk", {"where": "{walk.end}"})),
            "Rule 'go' refers to '{walk.end}', which is neither a slot nor a result",
            "It may refer to: nothing",
        ),
        (
            Rule("go", "I am in {where}."),
            "Rule 'go' refers to '{where}', which is neither a slot nor a result",
            "It may refer to: nothing",
        ),
        (
            Rule("go", tool="walk", on_error="{why}"),
            "Rule 'go' refers to '{why}', which is neither a slot nor a result",
            "It may refer to: error, result, walk, where",
        ),
    ],
)
def test_a_rule_that_does_not_fit_the_tools_is_named_when_it_is_first_used(
    rule: Rule, complaint: str, fix: str
) -> None:
    talk = Talk(Script(rules=(rule, Rule("hello", "Hi."))), tool("walk", str, required=("where",), where="string"))
    assert talk.say("hello") == "Hi."
    with pytest.raises(RuleError) as caught:
        talk.say("go")
    assert (caught.value.message, caught.value.fix) == (complaint, fix)
    assert isinstance(caught.value, ConfigError)


def test_a_constant_that_the_tool_refuses_is_the_rules_mistake() -> None:
    rule = Rule("go", tool=Call("walk", {"steps": "many"}))
    tools = tool("walk", str, required=("steps",), steps="integer")
    spec, run = tools["walk"]
    strict = type(spec)(spec.name, spec.parameters, spec.required, lambda _: ("steps", "it is no number"))
    with pytest.raises(RuleError, match="Rule 'go' gives tool 'walk' an unusable 'steps': it is no number"):
        Talk(Script(rules=(rule,)), {"walk": (strict, run)}).say("go")


def test_a_broken_rule_does_not_spoil_later_turns() -> None:
    talk = Talk(Script(rules=(Rule("go", tool="fly"), Rule("hello", "Hi."))))
    with pytest.raises(RuleError):
        talk.say("go")
    assert talk.say("hello") == "Hi."


def test_latency_is_seeded_and_starts_with_the_first_token() -> None:
    latency = Latency(first_token=1.0, per_token=0.1, jitter=0.5)
    waits, again, other = (
        [wait for wait, _ in zip(latency.waits(random.Random(seed)), range(20), strict=False)] for seed in (1, 1, 2)
    )
    assert waits == again != other
    assert 0.5 <= waits[0] <= 1.5
    assert all(0.05 <= wait <= 0.15 for wait in waits[1:])


def test_latency_without_jitter_is_exact_and_scales() -> None:
    waits = Latency(first_token=1.0, per_token=0.25, jitter=0).scaled(2).waits(random.Random(0))
    assert [next(waits) for _ in range(3)] == [2.0, 0.5, 0.5]


@pytest.mark.parametrize("given", [{"first_token": -1}, {"per_token": -0.1}, {"jitter": 2}])
def test_impossible_latency_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(GreenroomError, match="latency"):
        Latency(**given)
