"""When a call is ended by rule: nobody speaks, nobody is there, it is too long, it is too dear."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from greenroom.pool._settings import PolicyOverrides, PolicySettings

_SPEAKING: Final = "speaking"


class Policy(StrEnum):
    """Which rule ended a call."""

    SILENT = "silent"
    SOLO = "solo"
    MAX_DURATION = "max_duration"
    MAX_COST = "max_cost"


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one call. ``None`` is never; times are seconds, the cost is USD."""

    silent: float | None = None
    solo: float | None = None
    max_duration: float | None = None
    max_cost: float | None = None


class PolicyEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A call is to end: by which rule, and in words."""

    policy: Policy
    reason: str


def policies_of(pool: PolicySettings, *overrides: PolicyOverrides | None) -> Policies:
    """Return what holds for a call, each field by itself: the last of the overrides that says something of it."""
    fields: dict[str, float | None] = {}
    for name in Policies.__struct_fields__:
        said = getattr(pool, name)
        for each in overrides:
            other = getattr(each, name, None)
            said = said if other is None else other
        fields[name] = None if said == "never" else said
    return Policies(**fields)


class PolicyWatch:
    """Watches one call. Feed it what the shard tells, wake it at :meth:`wake_at`, ask it with :meth:`due`.

    Silence and solitude count from what is known: before the agent has connected there is no silence, and as long
    as nobody has told how many people are in the room, nobody is known to be missing.

    :param began_at: when the call began, on the clock that ``now`` is of. A rescued call goes on with its own.
    """

    def __init__(self, policies: Policies, began_at: float) -> None:
        self._policies = policies
        self._began_at = began_at
        self._quiet_since: float | None = None
        self._alone_since: float | None = None
        self._speaking: set[str] = set()
        self._cost = self._cost_before = 0.0
        self._ended = False

    @property
    def limits_cost(self) -> bool:
        """Whether it matters what the call costs."""
        return self._policies.max_cost is not None

    def apply(self, policies: Policies) -> None:
        """Take other policies; what was observed stays."""
        self._policies = policies

    def moved(self) -> None:
        """The call goes on in another shard: what it cost stays, who is there and who speaks is to be told again."""
        self._cost_before = self._cost
        self._quiet_since = self._alone_since = None
        self._speaking.clear()

    def fact(self, kind: str, value: Any, now: float) -> None:
        """Take a ``Fact`` of the shard; those that no policy is made of change nothing."""
        match kind:
            case "connected":
                self._quiet_since = now
            case "spoke":
                self._quiet_since = now
            case "agent_state" | "user_state":
                self._state(kind, str(value), now)
            case "participants" if isinstance(value, int):
                if value > 0:
                    self._alone_since = None
                elif self._alone_since is None:
                    self._alone_since = now
            case "cost" if isinstance(value, int | float):
                self._cost = max(self._cost, self._cost_before + float(value))

    def wake_at(self) -> float | None:
        """Return when :meth:`due` may answer otherwise although nothing happens; ``None`` is never."""
        if self._ended:
            return None
        return min((at for _, at, _ in self._deadlines()), default=None)

    def due(self, now: float) -> PolicyEnd | None:
        """Return that the call is to end, once."""
        if self._ended:
            return None
        limit = self._policies.max_cost
        if limit is not None and self._cost >= limit:
            self._ended = True
            return PolicyEnd(policy=Policy.MAX_COST, reason=f"it cost {self._cost:.4f} USD, {limit:g} are allowed")
        passed = [(at, policy, words) for policy, at, words in self._deadlines() if now >= at]
        if not passed:
            return None
        self._ended = True
        _, policy, words = min(passed)
        return PolicyEnd(policy=policy, reason=words)

    def _state(self, who: str, state: str, now: float) -> None:
        if state == _SPEAKING:
            self._speaking.add(who)
        elif who in self._speaking:
            self._speaking.discard(who)
            self._quiet_since = now

    def _deadlines(self) -> list[tuple[Policy, float, str]]:
        policies, found = self._policies, []
        if policies.silent is not None and self._quiet_since is not None and not self._speaking:
            words = f"nobody said anything for {policies.silent:g} s"
            found.append((Policy.SILENT, self._quiet_since + policies.silent, words))
        if policies.solo is not None and self._alone_since is not None:
            words = f"nobody was in the room for {policies.solo:g} s"
            found.append((Policy.SOLO, self._alone_since + policies.solo, words))
        if policies.max_duration is not None:
            words = f"it took {policies.max_duration:g} s, which is all that is allowed"
            found.append((Policy.MAX_DURATION, self._began_at + policies.max_duration, words))
        return found
