"""Whose line is this: the output of a shard, each line with its tenant, agent and session.

A line is one JSON object and one write: ``at`` (seconds since the epoch), ``level``, ``logger``, ``message``, the
scope as ``session``, ``agent``, ``tenant`` and ``room`` where there is one, and the fields of the record. What native
code writes to the descriptors itself arrives as it is.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from types import TracebackType
from typing import Any, Final

import msgspec

from greenroom.pool._wire import ShardSettings
from greenroom.pool.context import SCOPE, Scope

OUTPUT: Final = 1
_STAMP: Final = "greenroom."
_STAMPED: Final = ("session", "agent", "tenant", "room")
_LONGEST: Final = 64 * 1024
#: Attributes of every record; what else it has is a field.
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: LiveKit marks what a person said or may be known by with this prefix; it is not for logs.
_PERSONAL: Final = "lk.pii."
_CHATTY: Final = ("httpx", "httpcore", "openai", "anthropic", "urllib3", "asyncio", "aiohttp.access", "websockets")
#: What LiveKit warns of in the course of an ordinary call: a logger, words of the message, words of the exception.
_ORDINARY: Final = (
    ("livekit", "peer connection is closed, cannot create offer", ""),
    ("livekit", "closed unexpectedly", ""),
    ("livekit.agents", "failed to send session event", "transport is closed"),
)
_encoder: Final = msgspec.json.Encoder(enc_hook=str, decimal_format="string")


class Lines:
    """Writes lines to a descriptor, from any thread, each with one write as far as the system takes it whole."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)

    def write(self, fields: dict[str, Any]) -> None:
        """Write one line. Nothing is raised when nobody reads it any more."""
        left = memoryview(_encode(fields) + b"\n")
        with self._lock:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
                except OSError:
                    return

    def _forked(self) -> None:
        self._lock = threading.Lock()


def _encode(fields: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(fields)
    except (TypeError, ValueError, RecursionError):
        return _encoder.encode({key: str(value) for key, value in fields.items()})


def _start(at: float, level: str, logger: str, message: str, scope: Scope | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"at": round(at, 6), "level": level, "logger": logger, "message": message}
    if scope is not None:
        fields |= {"session": scope.session, "agent": scope.agent, "tenant": scope.tenant, "room": scope.room}
    return fields


class ScopedHandler(logging.Handler):
    """Writes each record as a line.

    :param everything: also what LiveKit warns of in every call.
    """

    def __init__(self, lines: Lines, *, everything: bool = False) -> None:
        super().__init__()
        self._lines = lines
        self._everything = everything

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record with the scope in which it was made."""
        try:
            if record.levelno >= logging.WARNING and _is_ordinary(record) and not self._everything:
                return
            known = vars(record)
            fields = _start(record.created, record.levelname, record.name, record.getMessage(), None)
            for name in _STAMPED:
                if (stamp := f"{_STAMP}{name}") in known:
                    fields[name] = known[stamp]
            for key, value in known.items():
                if key not in _USUAL and not key.startswith((_PERSONAL, _STAMP)):
                    fields[key if key not in fields else f"{key}_"] = value
            if record.exc_info and record.exc_info[0] is not None:
                fields["exception"] = logging.Formatter().formatException(record.exc_info)
            if record.stack_info:
                fields["stack"] = record.stack_info
            self._lines.write(fields)
        except Exception:
            self.handleError(record)


def _is_ordinary(record: logging.LogRecord) -> bool:
    for logger, words, cause in _ORDINARY:
        if record.name == logger and words in record.getMessage():
            return not cause or (record.exc_info is not None and cause in str(record.exc_info[1]))
    return False


class Printed(io.TextIOBase):
    """Standard output or error, as lines: what one session prints never shares a line with another's."""

    def __init__(self, lines: Lines, name: str, descriptor: int) -> None:
        super().__init__()
        self._lines = lines
        self._name = name
        self._descriptor = descriptor
        self._begun: dict[tuple[int, str], str] = {}
        self.buffer = _PrintedBytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What it is written in."""
        return "utf-8"

    def fileno(self) -> int:
        """Return the descriptor behind it."""
        return self._descriptor

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, text: str, /) -> int:
        """Write lines; what comes after the last line break waits for the rest of its line."""
        scope = SCOPE.get()
        key = (threading.get_ident(), scope.session if scope is not None else "")
        *whole, rest = (self._begun.pop(key, "") + text).split("\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = ""
        for line in whole:
            self._say(line, scope)
        if rest:
            self._begun[key] = rest
        return len(text)

    def forget(self, scope: Scope) -> None:
        """Write what a session has begun to print and never ended."""
        for key in [key for key in self._begun if key[1] == scope.session]:
            self._say(self._begun.pop(key), scope)

    def _say(self, line: str, scope: Scope | None) -> None:
        if line.strip():
            self._lines.write(_start(time.time(), "INFO", self._name, line.rstrip("\r"), scope))


class _PrintedBytes(io.RawIOBase):
    """The ``buffer`` of a printed stream, for programs that write bytes to it."""

    def __init__(self, text: Printed) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "replace"))
        return len(raw)


def install_output(settings: ShardSettings) -> None:
    """Make every log line and every printed line of this process a line of JSON on its standard output.

    To be called when the process begins, before user code is loaded; again does no harm.
    """
    lines = Lines(OUTPUT)
    for name, descriptor in (("stdout", OUTPUT), ("stderr", 2)):
        setattr(sys, name, Printed(lines, name, descriptor))
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.setLevel(settings.log_level.upper())
    root.addHandler(ScopedHandler(lines, everything=root.level <= logging.DEBUG))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _Stamping):
        logging.setLogRecordFactory(_Stamping(factory))
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def forget_output(scope: Scope) -> None:
    """Write the lines that a session began to print and never ended."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Printed):
            stream.forget(scope)


class _Stamping:
    """Makes records that know where they were made, however late and wherever they are written."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._factory(*args, **kwargs)
        # Strings: whoever uploads records takes them for attributes, and they are welcome there.
        vars(record).update(scope_fields(SCOPE.get(), _STAMPED))
        return record


def _uncaught(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("the process ends of an exception", exc_info=(kind, value, trace))


def _uncaught_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and not issubclass(what.exc_type, SystemExit):
        details = (what.exc_type, what.exc_value, what.exc_traceback)
        thread = what.thread.name if what.thread is not None else ""
        logging.getLogger(__name__).error("a thread ended of an exception", exc_info=details, extra={"thread_": thread})


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that nobody caught, for whom it concerns. The loop's exception handler.

    Such errors are often found while garbage is collected, in the middle of another session's code.
    """
    _home(context).run(loop.default_exception_handler, context)


def _home(context: dict[str, Any]) -> Context:
    for key in ("handle", "task", "future"):
        thing = context.get(key)
        get_context = getattr(thing, "get_context", None)
        found = get_context() if get_context is not None else getattr(thing, "_context", None)
        if isinstance(found, Context):
            return found.copy()
    return Context()


def scope_fields(scope: Scope | None, names: Iterable[str] = ("tenant", "agent", "session")) -> dict[str, str]:
    """Return a scope as attributes of telemetry: ``greenroom.tenant`` and so on."""
    return {} if scope is None else {f"{_STAMP}{name}": getattr(scope, name) for name in names}
