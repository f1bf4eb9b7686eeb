"""What an agent's process prints, made readable: log lines of livekit-agents, JSON lines, tracebacks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenroom.pool.discovery import shown

MAX_LINE: Final = 16 * 1024
_LEVELS: Final = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "DEV": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_EXTRA_STARTS: Final = "\x1b[90m"
_LOG_LINE: Final = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+ - (?P<level>[A-Z]+) +(?P<logger>[\w.\-]+) - (?P<message>.*)", re.DOTALL
)
_JSON_NOISE: Final = frozenset({"level", "name", "message", "timestamp", "pid", "asctime"})
_FRAME: Final = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED: Final = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_MISSING: Final = re.compile(r"No module named 'livekit\.plugins\b|cannot import name '\w+' from 'livekit\.plugins'")
_PLUGIN: Final = re.compile(r"\blivekit\.plugins(?:\.| import )(\w+)")
# What livekit-agents says of a file that is no agent, usually far from the end of what it prints.
_NO_AGENT: Final = {
    "Could not find AgentServer in module": (
        "it defines no AgentServer",
        "Define one at the top level of the file: server = AgentServer()",
    ),
    "No RTC session entrypoint has been registered": (
        "its AgentServer has no entrypoint",
        'Decorate one with @server.rtc_session(agent_name="my-agent")',
    ),
}
REGISTERED: Final = "registered worker"
_FAILED: Final = "worker failed"
# In development mode no process is kept warm, so this warning comes with every call.
_NO_WARM_PROCESS: Final = "no warmed process available for job, waiting for one to be created"
LIVEKIT_LOGGER: Final = "livekit.agents"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``logger`` is empty for text that no logger wrote: prints and tracebacks."""

    message: str
    level: int = logging.INFO
    logger: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_routine(self) -> bool:
        """Whether it is livekit-agents telling of its ordinary doings."""
        if self.logger.partition(".")[0] != "livekit":
            return False
        return self.level <= logging.INFO or self.message == _NO_WARM_PROCESS

    @property
    def explains_an_end(self) -> bool:
        """Whether it is part of what a dying process prints, rather than of what a running one does."""
        return not self.logger or (self.logger == LIVEKIT_LOGGER and self.message == _FAILED)

    @property
    def registered_as(self) -> str | None:
        """The agent name, when this line says that the server registered the worker."""
        if self.logger != LIVEKIT_LOGGER or self.message != REGISTERED:
            return None
        name = self.fields.get("agent_name")
        return name if isinstance(name, str) else ""


def parse_line(raw: bytes) -> Line:
    """Read one line of output, without its newline."""
    text = raw[:MAX_LINE].decode(errors="replace").rstrip("\r")
    if text.startswith("{"):
        parsed = _parse_json(text)
        if parsed is not None:
            return parsed
    head, _, extra = text.rpartition(_EXTRA_STARTS) if _EXTRA_STARTS in text else (text, "", "")
    match = _LOG_LINE.fullmatch(_plain(head))
    if match is None or match["level"] not in _LEVELS:
        return Line(_plain(text).rstrip())
    return Line(match["message"].rstrip(), _LEVELS[match["level"]], match["logger"], _object(_plain(extra)))


class Ending(NamedTuple):
    """How a process ended. ``whole``: the reason says all that a person needs to mend it."""

    reason: str
    whole: bool


def explain_exit(code: int, tail: Sequence[str], files: Collection[Path]) -> Ending:
    """Say in one line how a process ended.

    :param code: its exit status; negative for the signal that killed it.
    :param tail: the last lines it printed.
    :param files: the agent's own files: the innermost frame among them is named.
    """
    status = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    for phrase, (what, fix) in _NO_AGENT.items():
        if any(phrase in line for line in tail):
            return Ending(f"{what} ({status}). {fix}", whole=True)
    error, where, statement = "", "", ""
    in_file = False
    for line in map(_plain, tail):
        frame = _FRAME.match(line)
        raised = _RAISED.match(line)
        if frame:
            in_file = Path(frame["file"]) in files
            if in_file:
                where = shown(Path(frame["file"]), int(frame["line"]))
        elif in_file:
            statement, in_file = line, False
        elif line.startswith("Traceback (most recent call last)"):
            error, where = "", ""
        elif raised and _is_exception(raised["kind"]):
            kind = raised["kind"].rpartition(".")[2]
            error = f"{kind}: {raised['text']}" if raised["text"] else kind
    if not error:
        return Ending(f"stopped with {status}" if code >= 0 else status, whole=False)
    place = f"{where}: " if where else ""
    return Ending(f"{place}{error} ({status}){_install_hint(error, statement)}", whole=bool(where))


def _is_exception(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.endswith(("Error", "Exception", "Exit", "Interrupt", "Timeout")) and last[0].isupper()


def _install_hint(error: str, statement: str) -> str:
    # The name stands in the error, or, when not a single plugin is installed, only in the import itself.
    plugin = _PLUGIN.search(error) or _PLUGIN.search(statement) if _MISSING.search(error) else None
    return "" if plugin is None else f". Run: pip install livekit-plugins-{plugin[1].replace('_', '-')}"


def _plain(text: str) -> str:
    return _ESCAPES.sub("", text)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _parse_json(text: str) -> Line | None:
    entry = _object(text)
    message, level = entry.get("message"), entry.get("level")
    if not isinstance(message, str) or not isinstance(level, str) or level.upper() not in _LEVELS:
        return None
    fields = {name: value for name, value in entry.items() if name not in _JSON_NOISE and not name.startswith("code.")}
    return Line(message, _LEVELS[level.upper()], str(entry.get("name", "")), fields)
