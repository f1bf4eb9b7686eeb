"""The log a person reads: one line each, what it is about, what happened, its fields."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "source", "fields", "taskName"}
_RESERVED: Final = frozenset({"level", "name", "message", "timestamp", "exc_info"})
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029]")
_BARE: Final = re.compile(r"[^\s\"'=]+")
_COLOURS: Final = {
    logging.DEBUG: "\x1b[90m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[31;1m",
}
_DIM: Final = "\x1b[90m"
_RESET: Final = "\x1b[0m"
_SOURCES: Final = (36, 32, 35, 34, 33, 96, 92, 95)
#: Fields that read better below the line than in it.
_BELOW: Final = ("stack", "exception")
_NARROWEST: Final = 8
_WIDEST: Final = 24


class LineFormatter(logging.Formatter):
    """``12:30:01 server   WARNING what happened  field=value``.

    A record's ``source`` says what it is about; without one it is the part of Greenroom that its logger
    names. ``fields`` is a mapping of further fields, for names that a record could not carry itself.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour
        self._width = _NARROWEST
        self._sources: dict[str, int] = {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback of a defect, or the stack that it is about."""
        source = _clean(getattr(record, "source", "") or _part(record.name))
        self._width = min(max(self._width, len(source)), _WIDEST)
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        said = _fields(record)
        below = [text for name in _BELOW if isinstance(text := said.get(name), str) and "\n" in text]
        fields = "".join(f" {name}={_value(value)}" for name, value in said.items() if value not in below)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = _clean(record.getMessage())
        if self._colour:
            tint = _COLOURS.get(record.levelno, "")
            column = f"\x1b[{self._tint(source)}m{source:<{self._width}}{_RESET}"
            tail = f"{_DIM} {fields}{_RESET}" if fields else ""
            line = f"{_DIM}{clock}{_RESET} {column} {tint}{level}{message}{_RESET if tint else ''}{tail}"
        else:
            line = f"{clock} {source:<{self._width}} {level}{message}" + (f" {fields}" if fields else "")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        for text in below:
            # Indented, so that nothing in it passes for a line of its own.
            line += "".join(f"\n    {_clean(each)}" for each in text.splitlines())
        return line.rstrip()

    def _tint(self, source: str) -> int:
        return _SOURCES[self._sources.setdefault(source, len(self._sources)) % len(_SOURCES)]


class JsonFormatter(logging.Formatter):
    """One JSON object to a line, with the names that livekit-agents gives: ``level``, ``name``, ``message``, ...

    What a record carries beside them stands there under its own name.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        written = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            **{name: value for name, value in _fields(record).items() if name not in _RESERVED},
            "message": record.getMessage(),
            "level": record.levelname,
            "name": getattr(record, "source", "") or record.name,
            "timestamp": written,
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":"))


def configure_logging(*, level: str = "INFO", form: str = "text", stream: TextIO | None = None) -> None:
    """Send the log to ``stream`` (stderr), coloured where a person watches a terminal.

    :param form: ``text`` or ``json``.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    colour = out.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(JsonFormatter() if form == "json" else LineFormatter(colour=colour))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "asyncio", "watchfiles", "websockets"):
        # uvicorn writes the query of a request, which may hold a token, at INFO.
        logging.getLogger(name).setLevel(logging.WARNING)


def _part(logger: str) -> str:
    parts = logger.split(".")
    return parts[1] if parts[0] == "greenroom" and len(parts) > 1 else parts[0]


def _fields(record: logging.LogRecord) -> dict[str, object]:
    own = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    more = getattr(record, "fields", None)
    return {**own, **more} if isinstance(more, Mapping) else own


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        text = value
    elif (
        value
        and isinstance(value, list | tuple)
        and all(isinstance(each, str) and _BARE.fullmatch(each) for each in value)
    ):
        text = ",".join(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError):
            text = str(value)
        if not isinstance(value, dict | list | tuple):
            return _clean(text)
    return text if _BARE.fullmatch(text) and not _CONTROL.search(text) else json.dumps(text, ensure_ascii=False)


def _clean(text: str) -> str:
    # One event is one line, and nothing that was logged moves the cursor of who reads it.
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
