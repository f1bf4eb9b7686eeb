"""What a pool, or a process of it, counts of its sessions: OpenRTC's snapshot, and its stream in JSON lines."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TextIO, TypedDict

from greenroom.pool._model import DEFAULT_TENANT

STREAM_SCHEMA: Final = 2
#: Events that nobody fetched; beyond it the oldest go, since the latest tell more.
STREAM_LENGTH: Final = 256
_ERROR_LENGTH: Final = 500


class MetricsStreamEvent(TypedDict, total=False):
    """One event of the stream: ``session_started``, ``session_finished``, ``session_failed``, and after a loss
    ``metrics_stream_overflow``.
    """

    event: str
    agent: str
    tenant: str
    error: str
    overflow_dropped: int


@dataclass(frozen=True, slots=True)
class ProcessResidentSetInfo:
    """The memory of a process, or of a pool's. ``bytes_value`` is ``None`` where the system does not say."""

    bytes_value: int | None
    metric: str
    description: str


@dataclass(frozen=True, slots=True)
class PoolRuntimeSnapshot:
    """What a process or a pool runs, as OpenRTC has it. More of a pool is on its HTTP port."""

    timestamp: float
    uptime_seconds: float
    registered_agents: int
    active_sessions: int
    total_sessions_started: int
    total_session_failures: int
    last_routed_agent: str | None
    last_error: str | None
    sessions_by_agent: dict[str, int]
    sessions_by_tenant: dict[str, int]
    resident_set: ProcessResidentSetInfo
    deployment_version: str | None = None
    draining: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return it as the stream has it."""
        memory = self.resident_set
        return asdict(self) | {
            "resident_set": {
                "bytes": memory.bytes_value,
                "metric": memory.metric,
                "description": memory.description,
            }
        }


@dataclass(slots=True)
class Metrics:
    """Counts sessions. Any thread may call it."""

    clock: Callable[[], float] = time.time
    started: int = 0
    failed: int = 0
    last_agent: str | None = None
    last_error: str | None = None
    _begun: float = field(default_factory=time.monotonic)
    _agents: Counter[str] = field(default_factory=Counter)
    _tenants: Counter[str] = field(default_factory=Counter)
    _stream: deque[MetricsStreamEvent] = field(default_factory=lambda: deque(maxlen=STREAM_LENGTH))
    _dropped: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def session_started(self, agent: str, tenant: str = DEFAULT_TENANT) -> None:
        """Count one that begins."""
        with self._lock:
            self.started += 1
            self.last_agent = agent
            self._agents[agent] += 1
            self._tenants[tenant] += 1
            self._note({"event": "session_started", "agent": agent, "tenant": tenant})

    def session_failed(self, agent: str, error: BaseException | str, tenant: str = DEFAULT_TENANT) -> None:
        """Count one that fails; it ends as well."""
        said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        with self._lock:
            self.failed += 1
            self.last_agent = agent
            self.last_error = said
            self._note({"event": "session_failed", "agent": agent, "tenant": tenant, "error": said[:_ERROR_LENGTH]})

    def session_finished(self, agent: str, tenant: str = DEFAULT_TENANT) -> None:
        """Count one that is over, however it ended."""
        with self._lock:
            for counts, key in ((self._agents, agent), (self._tenants, tenant)):
                counts[key] -= 1
                if counts[key] <= 0:
                    del counts[key]
            self._note({"event": "session_finished", "agent": agent, "tenant": tenant})

    def drain_stream(self) -> list[MetricsStreamEvent]:
        """Return the events since the last time, and how many were lost if any were."""
        with self._lock:
            events = list(self._stream)
            self._stream.clear()
            dropped, self._dropped = self._dropped, 0
        if dropped:
            events.append({"event": "metrics_stream_overflow", "overflow_dropped": dropped})
        return events

    def snapshot(
        self, *, agents: int, deployment: str | None, draining: bool, memory: ProcessResidentSetInfo | None = None
    ) -> PoolRuntimeSnapshot:
        """Return what is counted just now.

        :param memory: that of this process by default.
        """
        with self._lock:
            return PoolRuntimeSnapshot(
                timestamp=self.clock(),
                uptime_seconds=time.monotonic() - self._begun,
                registered_agents=agents,
                active_sessions=self._agents.total(),
                total_sessions_started=self.started,
                total_session_failures=self.failed,
                last_routed_agent=self.last_agent,
                last_error=self.last_error,
                sessions_by_agent=dict(self._agents),
                sessions_by_tenant=dict(self._tenants),
                resident_set=memory or resident_set(),
                deployment_version=deployment,
                draining=draining,
            )

    def _note(self, event: MetricsStreamEvent) -> None:
        if len(self._stream) == STREAM_LENGTH:
            self._dropped += 1
        self._stream.append(event)


class JsonlMetricsSink:
    """Writes the stream to a file, which it empties first. Any thread may call it.

    :param clock: seconds since the epoch.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._file: TextIO | None = None
        self._seq = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the file, and the directories that it is in."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")

    def write_snapshot(self, snapshot: PoolRuntimeSnapshot) -> None:
        """Write what is counted. Raises ``RuntimeError`` before :meth:`open`."""
        self._write("snapshot", snapshot.to_dict())

    def write_event(self, event: Mapping[str, Any]) -> None:
        """Write what happened. Raises ``RuntimeError`` before :meth:`open`."""
        self._write("event", dict(event))

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, kind: str, payload: dict[str, Any]) -> None:
        with self._lock:
            if self._file is None:
                raise RuntimeError("JsonlMetricsSink.open() was not called")
            self._seq += 1
            line = {
                "schema_version": STREAM_SCHEMA,
                "kind": kind,
                "seq": self._seq,
                "wall_time_unix": self._clock(),
                "payload": payload,
            }
            self._file.write(json.dumps(line, sort_keys=True) + "\n")
            self._file.flush()


def resident_set() -> ProcessResidentSetInfo:
    """Return the memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return ProcessResidentSetInfo(None, "unavailable", "This system does not say what a process holds.")
    from resource import getpagesize  # noqa: PLC0415

    described = "Resident memory of this process, bytes, shared pages included."
    return ProcessResidentSetInfo(pages * getpagesize(), "linux_vm_rss", described)
