"""What happens in a session that the supervisor decides of: who is there, who speaks, which provider answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greenroom.pool._wire import Fact

if TYPE_CHECKING:
    from livekit import rtc

#: Seconds between two facts of a kind that only sums up.
SUMMING: Final = 1.0
#: How often a provider that goes on answering is mentioned, in seconds.
_STILL_FINE: Final = 10.0
#: People, and what brings people in: standard, SIP, connector. Other agents, recorders and bridges are none.
_PEOPLE: Final = frozenset({0, 3, 5})


class Facts:
    """Tells the facts of one session, each only when it is news."""

    def __init__(self, job_id: str, send: Callable[[Fact], None]) -> None:
        self._job_id = job_id
        self._send = send
        self._last: dict[str, Any] = {}
        self._summing: dict[str, Any] = {}
        self._due: asyncio.TimerHandle | None = None
        self._fine: dict[str, float] = {}

    def tell(self, kind: str, value: Any) -> None:
        """Tell a fact unless it is what was told last."""
        if self._last.get(kind) != value:
            self._last[kind] = value
            self._send(Fact(job_id=self._job_id, kind=kind, value=value))

    def count(self, room: rtc.Room) -> None:
        """Tell how many people are in the room."""
        people = [each for each in room.remote_participants.values() if each.kind in _PEOPLE]
        self.tell("participants", len(people))

    def spoke(self, who: str) -> None:
        """Tell that somebody says something: ``user`` or ``agent``."""
        self._send(Fact(job_id=self._job_id, kind="spoke", value=who))

    def provider_error(self, label: str, *, recoverable: bool) -> None:
        """Tell that a provider failed."""
        self._fine.pop(label, None)
        self._send(Fact(job_id=self._job_id, kind="provider_error", value=label, recoverable=recoverable))

    def provider_ok(self, label: str, now: float) -> None:
        """Tell that a provider answered: when it did not before, and now and then."""
        if label and now - self._fine.get(label, float("-inf")) >= _STILL_FINE:
            self._fine[label] = now
            self._send(Fact(job_id=self._job_id, kind="provider_ok", value=label))

    def usage(self, usage: Any) -> None:
        """Tell what the models were used for so far, soon."""
        self._summing["usage"] = usage
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SUMMING, self.flush)

    def flush(self) -> None:
        """Tell now what waits to be told."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        summing, self._summing = self._summing, {}
        for kind, value in summing.items():
            self.tell(kind, usage_by_model(value))


def usage_by_model(usage: Any) -> dict[str, dict[str, Any]]:
    """Return LiveKit's ``AgentSessionUsage`` as numbers by ``provider/model``, those that are not zero."""
    found: dict[str, dict[str, Any]] = {}
    for model in usage.model_usage:
        plain = model.model_dump(mode="json", exclude_none=True)
        name = f"{plain.pop('provider', '')}/{plain.pop('model', '')}"
        found[name] = {**found.get(name, {}), **{key: value for key, value in plain.items() if value}}
    return found
