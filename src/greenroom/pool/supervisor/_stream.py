"""A pool's figures in files: OpenRTC's stream of metrics in JSON lines, and its latest snapshot."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

from greenroom.errors import ConfigError
from greenroom.pool._metrics import JsonlMetricsSink, Metrics, PoolRuntimeSnapshot, ProcessResidentSetInfo, resident_set
from greenroom.pool._settings import PoolSettings
from greenroom.reports import PoolSnapshot

_log = logging.getLogger("greenroom.pool")


class MetricsFiles:
    """Writes to the files that were asked for, if any. What goes wrong with a file is told once and ends no call.

    :param metrics: counts the sessions, and is emptied of events here.
    :param report: the pool's snapshot.
    """

    def __init__(self, settings: PoolSettings, metrics: Metrics, report: Callable[[], PoolSnapshot]) -> None:
        self._interval = settings.metrics_jsonl_interval
        self._metrics = metrics
        self._report = report
        self._sink = JsonlMetricsSink(Path(settings.metrics_jsonl).expanduser()) if settings.metrics_jsonl else None
        self._file = Path(settings.metrics_json_file).expanduser() if settings.metrics_json_file else None
        self._failed = False
        self._opened = False

    def open(self) -> None:
        """Make the files. Raises :class:`ConfigError`, when that is not possible."""
        try:
            if self._sink is not None:
                self._sink.open()
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._replace(self._snapshot())
        except OSError as error:
            where = error.filename or self._file
            raise ConfigError(
                f"Metrics cannot be written to '{where}': {error.strerror or error}",
                fix="Name a file in a directory that can be written to",
            ) from None
        self._opened = True

    async def run(self) -> None:
        """Write a snapshot at every interval, for ever; return at once when there is nothing to write to."""
        while self._sink is not None or self._file is not None:
            self._write_all()
            await asyncio.sleep(self._interval)

    def events(self) -> None:
        """Write what happened since the last time."""
        sink = self._sink
        if sink is not None:
            for event in self._metrics.drain_stream():
                self._safely(lambda said=event: sink.write_event(said))  # type: ignore[misc]

    def close(self) -> None:
        """Write for the last time. Idempotent."""
        if self._opened and (self._sink is not None or self._file is not None):
            self._write_all()
        sink, self._sink, self._file = self._sink, None, None
        if sink is not None:
            self._safely(sink.close)

    def _write_all(self) -> None:
        self.events()
        snapshot = self._snapshot()
        self._safely(lambda: self._write(snapshot))

    def _write(self, snapshot: PoolRuntimeSnapshot) -> None:
        if self._sink is not None:
            self._sink.write_snapshot(snapshot)
        if self._file is not None:
            self._replace(snapshot)

    def _replace(self, snapshot: PoolRuntimeSnapshot) -> None:
        assert self._file is not None
        # Who reads it meanwhile finds the one before, whole.
        fresh = self._file.with_name(f"{self._file.name}.new")
        fresh.write_text(json.dumps(snapshot.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(self._file)

    def _snapshot(self) -> PoolRuntimeSnapshot:
        report = self._report()
        serving = sum(agent.state != "failed" for agent in report.agents)
        return self._metrics.snapshot(
            agents=serving,
            deployment=report.deployment or None,
            draining=report.state == "draining",
            memory=_memory(report),
        )

    def _safely(self, do: Callable[[], object]) -> None:
        try:
            do()
        except OSError as error:
            if not self._failed:
                _log.error("metrics cannot be written to their file: %s", error)
            self._failed = True
        else:
            self._failed = False


def _memory(report: PoolSnapshot) -> ProcessResidentSetInfo:
    own = resident_set()
    if own.bytes_value is None:
        return own
    shards = sum(shard.pss or shard.rss or 0 for shard in report.shards)
    described = "Memory of the supervisor and of its shards, bytes, what shards share counted in proportion."
    return ProcessResidentSetInfo(own.bytes_value + shards, "linux_pool_pss", described)
