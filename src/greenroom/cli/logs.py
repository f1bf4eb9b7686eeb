"""``greenroom logs``: the lines of a log in JSON that are about one session, agent or tenant."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from greenroom.cli._logs import LineFormatter
from greenroom.errors import ConfigError

#: The names under which a line may say it: Greenroom's, LiveKit's, OpenRTC's.
_NAMES: Final = {
    "session": ("session", "job_id", "session_id", "job"),
    "agent": ("agent", "agent_name", "name"),
    "tenant": ("tenant", "tenant_id"),
}
_SHOWN: Final = frozenset({"message", "level", "name", "timestamp", "exc_info"})


def logs_command(file: Path, *, session: str | None, agent: str | None, tenant: str | None, as_json: bool) -> int:
    """Print what is asked for; lines that are no JSON objects are left out. Raises :class:`ConfigError`."""
    wanted = {"session": session, "agent": agent, "tenant": tenant}
    formatter = LineFormatter()
    with _open(file) as lines:
        for text, line in _objects(lines):
            if all(value is None or _says(line, name, value) for name, value in wanted.items()):
                print(text if as_json else formatter.format(_record(line)))
    return 0


def _open(file: Path) -> TextIO:
    if str(file) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
    try:
        return file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"Cannot read '{file}': {error.strerror}", fix="Name a file with a log in JSON") from None


def _objects(lines: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        text = line.strip()
        if text.startswith("{"):
            try:
                found = json.loads(text)
            except ValueError:
                continue
            yield text, found


def _says(line: Mapping[str, Any], name: str, value: str) -> bool:
    return any(str(line.get(each, "")) == value for each in _NAMES[name])


def _record(line: Mapping[str, Any]) -> logging.LogRecord:
    level = logging.getLevelName(str(line.get("level", "INFO")).upper())
    message = str(line.get("message", ""))
    fields = {name: value for name, value in line.items() if name not in _SHOWN}
    if line.get("exc_info"):
        message += f" ({str(line['exc_info']).strip().splitlines()[-1]})"
    record = logging.makeLogRecord(
        {
            "name": str(line.get("name", "")),
            "levelno": level if isinstance(level, int) else logging.INFO,
            "levelname": str(line.get("level", "INFO")),
            "msg": message,
            "source": str(line.get("name", "")),
            "fields": fields,
        }
    )
    try:
        record.created = datetime.fromisoformat(str(line.get("timestamp"))).timestamp()
    except ValueError:
        record.created = 0.0
    return record
