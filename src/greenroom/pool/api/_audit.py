"""What a program may note of its deployments, numbered so that a gap shows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

DRAIN_STARTED: Final = "deployment.drain_started"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One note. ``timestamp`` is seconds since the epoch."""

    seq: int
    timestamp: float
    event_type: str
    actor: str
    target: str
    result: str
    version: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, its own fields beside the others."""
        return {
            "seq": self.seq,
            "timestamp": self.timestamp,
            "event": self.event_type,
            "actor": self.actor,
            "target": self.target,
            "result": self.result,
            "version": self.version,
            **self.fields,
        }


AuditSink: TypeAlias = Callable[[AuditEvent], None]


class AuditLog:
    """Numbers events and passes them on; a sink that fails harms nobody.

    :param sink: the log by default.
    """

    def __init__(self, *, sink: AuditSink | None = None, clock: Callable[[], float] = time.time) -> None:
        self._sink = sink or _to_log
        self._clock = clock
        self._seq = 0
        self._lock = threading.Lock()

    def emit(
        self,
        event_type: str,
        *,
        actor: str = "system",
        target: str = "",
        result: str = "ok",
        version: str | None = None,
        **fields: Any,
    ) -> AuditEvent:
        """Note an event and return it."""
        with self._lock:
            self._seq += 1
            event = AuditEvent(self._seq, self._clock(), event_type, actor, target, result, version, dict(fields))
        try:
            self._sink(event)
        except Exception:
            _log.warning("audit sink failed", exc_info=True, extra={"event_type": event_type})
        return event


def _to_log(event: AuditEvent) -> None:
    _log.info("audit", extra={"audit": event.to_dict()})
