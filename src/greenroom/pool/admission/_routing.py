"""Which agent an offer is for, decided before it is accepted.

The order is OpenRTC's (a router, job metadata, room metadata, the room's name, the first registered), and before
metadata come the dispatch's own attributes: an agent by name, then by what it can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from greenroom.pool._model import AGENT_ATTRIBUTE, CAPABILITIES_ATTRIBUTE, AgentSpec, Kind
from greenroom.pool._wire import Routed
from greenroom.pool.admission._offer import Offer, Reason, Refusal, mapping_of, shown

_KEYS: Final = ("agent", "demo")
_JOB_TYPES: Final = {0: "room", 1: "publisher", 2: "participant"}


class Rule(StrEnum):
    """What decides, in the order in which it is tried."""

    DISPATCH = "dispatch"
    """Only agents that serve this dispatch name and type of job are looked at."""
    ROUTER = "router"
    AGENT_ATTRIBUTE = "agent attribute"
    CAPABILITIES = "capabilities"
    JOB_METADATA = "job metadata"
    ROOM_METADATA = "room metadata"
    ROOM_NAME = "room name"
    FIRST = "first registered"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was tried. ``decided`` is the last one's, whether it chose or refused."""

    rule: Rule
    said: str
    decided: bool = False


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Which agent, or why none: exactly one of ``agent`` and ``refusal`` is there."""

    agent: AgentSpec | None = None
    refusal: Refusal | None = None
    rule: Rule
    steps: tuple[Step, ...]


class _Case:
    """One offer on its way through the rules."""

    def __init__(self, offer: Offer, candidates: Mapping[str, AgentSpec]) -> None:
        self.offer = offer
        self.candidates = candidates
        self.steps: list[Step] = []

    def passed(self, rule: Rule, said: str) -> None:
        self.steps.append(Step(rule=rule, said=said))

    def choose(self, rule: Rule, agent: AgentSpec, said: str) -> Routing:
        self.steps.append(Step(rule=rule, said=said, decided=True))
        return Routing(agent=agent, rule=rule, steps=tuple(self.steps))

    def refuse(self, rule: Rule, reason: Reason, message: str, said: str = "") -> Routing:
        self.steps.append(Step(rule=rule, said=said or message, decided=True))
        return Routing(refusal=Refusal(reason=reason, message=message), rule=rule, steps=tuple(self.steps))


class Router:
    """Routes offers to the agents of a pool.

    :param agents: in the order of registration; names are unique.
    :param first_prefix: whether of several agents whose name a room begins with the first registered is taken
        instead of the longest.
    :param only_registered_rooms: whether an offer is refused that names no agent of this pool. What names one of
        another pool is refused as not ours, whatever its room is called.
    """

    def __init__(
        self, agents: Iterable[AgentSpec], *, first_prefix: bool = False, only_registered_rooms: bool = False
    ) -> None:
        self._agents = tuple(agents)
        self.first_prefix = first_prefix
        self.only_registered_rooms = only_registered_rooms
        self._groups: dict[tuple[str, int], dict[str, AgentSpec]] = {}
        for agent in self._agents:
            self._groups.setdefault((agent.dispatch, agent.job_type), {})[agent.name] = agent

    def route(
        self, offer: Offer, said_by_router: Routed | None = None, *, sessions: Mapping[str, int] | None = None
    ) -> Routing:
        """Return which agent an offer is for.

        :param said_by_router: what the program's router answered, where there is one.
        :param sessions: how many each agent has, to choose among several that can do the same.
        """
        case = _Case(offer, self._groups.get((offer.dispatch, offer.job_type), {}))
        return (
            self._dispatch(case)
            or self._router(case, said_by_router)
            or self._agent_attribute(case)
            or self._capabilities(case, sessions or {})
            or self._metadata(case, Rule.JOB_METADATA, offer.metadata)
            or self._metadata(case, Rule.ROOM_METADATA, offer.room_metadata)
            or self._room_name(case)
            or self._first(case)
        )

    def _dispatch(self, case: _Case) -> Routing | None:
        offer = case.offer
        kind = _JOB_TYPES.get(offer.job_type, str(offer.job_type))
        name = f"dispatch name '{shown(offer.dispatch)}'" if offer.dispatch else "automatic dispatch"
        if not self._agents:
            return case.refuse(Rule.DISPATCH, Reason.NO_AGENT, "No agents are registered in the pool.")
        if not case.candidates:
            message = f"No agent of the pool serves {name} for jobs of type {kind}."
            served = dict.fromkeys(map(_serves, self._agents))
            said = f"{name}, jobs of type {kind}: none; the pool serves {'; '.join(served)}"
            return case.refuse(Rule.DISPATCH, Reason.NO_AGENT, message, said)
        names = ", ".join(case.candidates)
        case.passed(Rule.DISPATCH, f"{name}, jobs of type {kind}: {names}")
        return None

    def _router(self, case: _Case, said: Routed | None) -> Routing | None:
        if said is None:
            case.passed(Rule.ROUTER, "the pool has none")
            return None
        job = shown(case.offer.job_id)
        if said.problem:
            return case.refuse(
                Rule.ROUTER, Reason.ROUTER, f"Custom router raised while resolving the agent for job '{job}'."
            )
        if said.agent is None:
            case.passed(Rule.ROUTER, "it left the choice open")
            return None
        if agent := case.candidates.get(said.agent):
            return case.choose(Rule.ROUTER, agent, f"it names {agent.name}")
        return case.refuse(
            Rule.ROUTER,
            Reason.ROUTER,
            f"Custom router returned unknown agent '{shown(said.agent)}' for job '{job}'.",
        )

    def _agent_attribute(self, case: _Case) -> Routing | None:
        name = case.offer.attributes.get(AGENT_ATTRIBUTE, "").strip()
        if not name:
            case.passed(Rule.AGENT_ATTRIBUTE, f"no attribute {AGENT_ATTRIBUTE}")
            return None
        if agent := case.candidates.get(name):
            return case.choose(Rule.AGENT_ATTRIBUTE, agent, f"{AGENT_ATTRIBUTE} names {agent.name}")
        return self._unknown(case, Rule.AGENT_ATTRIBUTE, name, f"attribute {AGENT_ATTRIBUTE}")

    def _capabilities(self, case: _Case, sessions: Mapping[str, int]) -> Routing | None:
        asked = asked_capabilities(case.offer)
        if not asked:
            case.passed(Rule.CAPABILITIES, f"no attribute {CAPABILITIES_ATTRIBUTE}")
            return None
        words = ", ".join(map(shown, asked))
        lacking = {
            agent.name: [each for each in asked if each not in agent.capabilities] for agent in case.candidates.values()
        }
        able = [case.candidates[name] for name, missing in lacking.items() if not missing]
        lacks = "; ".join(
            f"{name} lacks {', '.join(map(shown, missing))}" for name, missing in lacking.items() if missing
        )
        if not able:
            message = f"No agent of the pool has all of: {words}. {lacks}."
            return case.refuse(Rule.CAPABILITIES, Reason.CAPABILITY, message)
        # min() keeps the first registered of those with as few sessions.
        agent = min(able, key=lambda each: sessions.get(each.name, 0))
        said = f"asked for {words}: {agent.name} has all"
        if len(able) > 1:
            loads = ", ".join(f"{each.name} {sessions.get(each.name, 0)}" for each in able)
            said += f", and of those that do it has the fewest sessions ({loads})"
        return case.choose(Rule.CAPABILITIES, agent, f"{said}; {lacks}" if lacks else said)

    def _metadata(self, case: _Case, rule: Rule, metadata: str) -> Routing | None:
        found = mapping_of(metadata)
        for key in _KEYS:
            value = found.get(key)
            if not (isinstance(value, str) and (name := value.strip())):
                continue
            if agent := case.candidates.get(name):
                return case.choose(rule, agent, f"'{key}' names {agent.name}")
            if (alone := _program_alone(case)) and not self.only_registered_rooms:
                case.passed(
                    rule,
                    f"'{key}' names '{shown(name)}', which is no agent of the pool; {alone.name} is a program that"
                    " alone answers here, and its metadata is its own",
                )
                return None
            return self._unknown(case, rule, name, str(rule))
        case.passed(rule, _nothing_in(metadata, found))
        return None

    def _unknown(self, case: _Case, rule: Rule, name: str, source: str) -> Routing:
        message = f"Unknown agent '{shown(name)}' requested via {source}."
        said = f"it names '{shown(name)}', which is no agent of the pool"
        if elsewhere := next((each for each in self._agents if each.name == name), None):
            said = f"it names {elsewhere.name}, which is in the pool for {_serves(elsewhere)}"
        reason = Reason.NOT_OURS if self.only_registered_rooms else Reason.UNKNOWN_AGENT
        return case.refuse(rule, reason, message, said)

    def _room_name(self, case: _Case) -> Routing | None:
        room = case.offer.room
        matching = [agent for agent in case.candidates.values() if room.startswith(f"{agent.name}-")]
        if not matching:
            case.passed(Rule.ROOM_NAME, f"'{shown(room)}' begins with no agent's name and '-'")
            return None
        agent = matching[0] if self.first_prefix else max(matching, key=lambda each: len(each.name))
        said = f"'{shown(room)}' begins with {agent.name}-"
        if len(matching) > 1:
            names = ", ".join(f"{each.name}-" for each in matching)
            said += f", the {'first registered' if self.first_prefix else 'longest'} of {names}"
        return case.choose(Rule.ROOM_NAME, agent, said)

    def _first(self, case: _Case) -> Routing:
        agent = next(iter(case.candidates.values()))
        if not self.only_registered_rooms:
            return case.choose(Rule.FIRST, agent, f"{agent.name}")
        if agent.dispatch and _program_alone(case):
            return case.choose(Rule.FIRST, agent, f"{agent.name}, a program that was dispatched to by its own name")
        return case.refuse(
            Rule.FIRST, Reason.NOT_OURS, "Nothing in the offer names an agent of the pool, which takes only those."
        )


def asked_capabilities(offer: Offer) -> tuple[str, ...]:
    """Return what the dispatch asks an agent to be able to, each once, in its order."""
    said = offer.attributes.get(CAPABILITIES_ATTRIBUTE, "")
    return tuple(dict.fromkeys(each for part in said.split(",") if (each := part.strip())))


def explain(routing: Routing) -> list[str]:
    """Return every rule that was tried as a line, and the outcome as the last."""
    lines = [f"{number}. {step.rule}: {step.said}" for number, step in enumerate(routing.steps, 1)]
    if routing.agent is not None:
        return [*lines, f"-> {routing.agent.name} (by {routing.rule})"]
    message = routing.refusal.message if routing.refusal else ""
    return [*lines, f"-> refused: {message}"]


def _program_alone(case: _Case) -> AgentSpec | None:
    if len(case.candidates) != 1:
        return None
    agent = next(iter(case.candidates.values()))
    return agent if agent.kind is Kind.PROGRAM else None


def _nothing_in(metadata: str, found: Mapping[str, object]) -> str:
    if not metadata.strip():
        return "there is none"
    if not found:
        return "it is not a JSON object, or an empty one"
    return "it names no agent under 'agent' or 'demo'"


def _serves(agent: AgentSpec) -> str:
    kind = _JOB_TYPES.get(agent.job_type, str(agent.job_type))
    name = f"dispatch name '{agent.dispatch}'" if agent.dispatch else "automatic dispatch"
    return f"{name}, jobs of type {kind}"
