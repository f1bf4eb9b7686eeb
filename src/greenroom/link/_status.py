"""What an agent says of its own task, in words that need no import: attributes of its participant, or a text.

``docs/fleet.md`` describes both for those who write agents. Whatever does not fit is left out, the rest counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from greenroom.eventlog import event

TOPIC: Final = "greenroom.status"
#: The attributes, by the field that each states.
ATTRIBUTES: Final = {
    "title": "greenroom.task.title",
    "description": "greenroom.task.description",
    "progress": "greenroom.task.progress",
    "priority": "greenroom.task.priority",
    "domain": "greenroom.domain",
    "integrations": "greenroom.integrations",
}
PRIORITIES: Final = ("low", "medium", "high", "urgent")
_LONGEST: Final = {"title": 120, "description": 500, "domain": 40}
_MOST: Final = 16
_MAX_TEXT: Final = 16 * 1024


@event("agent.status")
class AgentStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent says of its task; ``None``: nothing of that, and what it said before stands.

    :param progress: percent.
    :param priority: ``low``, ``medium``, ``high`` or ``urgent``.
    :param integrations: what it works with, in its own words.
    :param by: ``attributes`` or ``topic``.
    """

    title: str | None = None
    description: str | None = None
    progress: float | None = None
    priority: str | None = None
    domain: str | None = None
    integrations: tuple[str, ...] | None = None
    by: str = "attributes"


def status_of_attributes(attributes: Mapping[str, str]) -> AgentStatus | None:
    """Return what a participant's attributes state; ``None``: nothing."""
    given: dict[str, Any] = {field: attributes[name] for field, name in ATTRIBUTES.items() if name in attributes}
    if "integrations" in given:
        given["integrations"] = given["integrations"].split(",")
    return _status(given, "attributes")


def status_of_text(text: str) -> AgentStatus | None:
    """Return what a text on the topic ``greenroom.status`` states; ``None``: nothing that can be read."""
    if len(text) > _MAX_TEXT:
        return None
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return _status(given, "topic") if isinstance(given, dict) else None


def _status(given: Mapping[str, Any], by: str) -> AgentStatus | None:
    fields: dict[str, Any] = {name: _text(given.get(name), longest) for name, longest in _LONGEST.items()}
    fields["progress"] = _percent(given.get("progress"))
    priority = given.get("priority")
    fields["priority"] = priority if priority in PRIORITIES else None
    listed = given.get("integrations")
    if isinstance(listed, list):
        words = [word for each in listed[:_MOST] if (word := _text(each, _LONGEST["domain"]))]
        fields["integrations"] = tuple(dict.fromkeys(words))
    known = {name: value for name, value in fields.items() if value is not None}
    return AgentStatus(**known, by=by) if known else None


def _text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str):
        return None
    return " ".join(value.split())[:longest] or None


def _percent(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if 0 <= found <= 100 else None
