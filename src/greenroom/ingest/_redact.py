"""Redacted sessions: what was said is taken out of a batch before it is stored.

LiveKit's SDK sets ``lk.redaction.enabled`` and leaves it to whoever receives the upload to withhold the rest. Its
hosted service masks names in what is kept; this takes whole attributes out, since it cannot tell a name from a word.
"""

from __future__ import annotations

from typing import Any, Final

from greenroom.ingest._values import has_content, is_content_event

_SAID: Final = frozenset({"chat.item", "evaluation", "tag", "outcome", "session.options"})


def redact_spans(request: Any) -> bytes:
    """Return a batch of spans without what was said."""
    copy = type(request)()
    copy.CopyFrom(request)
    for resource in copy.resource_spans:
        _strip(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                _strip(span.attributes)
                span.status.message = ""
                kept = [event for event in span.events if not is_content_event(event.name)]
                for event in kept:
                    _strip(event.attributes)
                del span.events[:]
                span.events.extend(kept)
    return bytes(copy.SerializeToString())


def redact_logs(request: Any) -> bytes:
    """Return a batch of log records without what was said; the bodies of ordinary ones are the program's own words."""
    copy = type(request)()
    copy.CopyFrom(request)
    for resource in copy.resource_logs:
        _strip(resource.resource.attributes)
        for scope in resource.scope_logs:
            _strip(scope.scope.attributes, {"room"})
            for record in scope.log_records:
                _strip(record.attributes, _SAID)
    return bytes(copy.SerializeToString())


def _strip(pairs: Any, names: frozenset[str] | set[str] = frozenset()) -> None:
    kept = [pair for pair in pairs if pair.key not in names and not has_content(pair.key)]
    if len(kept) != len(pairs):
        del pairs[:]
        pairs.extend(kept)
