"""Redacted sessions: what was said is taken out of a batch before it is stored.

LiveKit's SDK sets ``lk.redaction.enabled`` and leaves it to whoever receives the upload to withhold the rest. Its
hosted service masks names in what is kept; this takes whole attributes out, since it cannot tell a name from a word.
"""

from __future__ import annotations

from typing import Any, Final

from greenroom.ingest._otlp import JobBatch
from greenroom.ingest._values import has_content, is_content_event

_SAID: Final = frozenset({"chat.item", "evaluation", "tag", "outcome", "session.options"})


def redact_spans(batch: JobBatch) -> None:
    """Take the content out of a batch of spans."""
    for resource in batch.request.resource_spans:
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


def redact_logs(batch: JobBatch) -> None:
    """Take the content out of a batch of log records; bodies of ordinary ones are the program's own words."""
    for resource in batch.request.resource_logs:
        _strip(resource.resource.attributes)
        for scope in resource.scope_logs:
            _strip(scope.scope.attributes, {"room"})
            for record in scope.log_records:
                _strip(record.attributes, _SAID)


def _strip(pairs: Any, names: frozenset[str] | set[str] = frozenset()) -> None:
    kept = [pair for pair in pairs if pair.key not in names and not has_content(pair.key)]
    if len(kept) != len(pairs):
        del pairs[:]
        pairs.extend(kept)
