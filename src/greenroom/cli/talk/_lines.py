"""Where a call's lines come from: a person at a terminal, or a pipe. Reading never blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

_STDIN: Final = 0
_BLOCK: Final = 65536
_ERASE: Final = "\r\x1b[K"


#: Columns that the agent's state takes in the prompt.
STATE_WIDTH: Final = 12


class Source(Protocol):
    """Something that lines are read from."""

    def read(self) -> str | None:
        """Block until there is a line and return it without its end; ``None`` after the last."""

    def close(self) -> None:
        """Leave everything as it was found."""


class Feed:
    """Reads a source in a thread, a line at a time and only when asked."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._asked: queue.SimpleQueue[asyncio.Future[str | None]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        # A read cannot be cancelled: the thread is left behind when the program ends.
        threading.Thread(target=self._serve, name="lines", daemon=True).start()

    def next(self) -> asyncio.Future[str | None]:
        """Return the next line, to come; ``None`` after the last."""
        line: asyncio.Future[str | None] = self._loop.create_future()
        self._asked.put(line)
        return line

    def _serve(self) -> None:
        while True:
            future = self._asked.get()
            try:
                line = self._source.read()
            except (OSError, ValueError):
                line = None
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(_settle, future, line)


class Pipe:
    """Standard input that is no terminal. Bytes that are not UTF-8 are replaced."""

    def __init__(self, descriptor: int = _STDIN) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._over = False

    def read(self) -> str | None:
        """Return the next line."""
        # Not through sys.stdin: a thread that waits in there cannot be left behind.
        while b"\n" not in self._rest and not self._over:
            block = os.read(self._descriptor, _BLOCK)
            self._over = not block
            self._rest += block
        if not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").removesuffix("\r")

    def close(self) -> None:
        """Leave standard input open."""


class Terminal:
    r"""A terminal with editing and history. Its prompt shows the agent's state and stays below what is written.

    :param write: writes to the terminal.
    :param width: of what its prompt shows, in columns.
    :param keys: lines that are entered by one key, as readline calls it: ``{r"\C-t": "/mute"}``.
    """

    def __init__(
        self, write: Callable[[str], None], *, width: int = STATE_WIDTH, keys: Mapping[str, str] | None = None
    ) -> None:
        import readline  # noqa: PLC0415 - it takes over the terminal of whoever imports it
        import termios  # noqa: PLC0415

        self._readline = readline
        self._write = write
        self._width = width
        self._state = ""
        self._typing = False
        found = termios.tcgetattr(_STDIN)
        self._restore: Callable[[], None] = lambda: termios.tcsetattr(_STDIN, termios.TCSANOW, found)
        readline.set_startup_hook(self._begin)
        for key, line in (keys or {}).items():
            # What was typed so far gives way, and comes back with Ctrl-Y.
            readline.parse_and_bind(f'"{key}": "\\C-e\\C-u{line}\\C-m"')

    def read(self) -> str | None:
        """Return what the person entered; ``None`` for Ctrl-D."""
        try:
            # The characters that stand for bytes which are not UTF-8 cannot be sent.
            return input(self._label()).encode(errors="replace").decode()
        except EOFError:
            self._write("\n")
            return None
        finally:
            self._typing = False

    def hide(self) -> None:
        """Take the prompt off the screen."""
        if self._typing:
            self._write(_ERASE)

    def draw(self, state: str) -> None:
        """Put the prompt back with what was typed so far."""
        self._state = state
        if self._typing:
            self._write(self._label() + self._readline.get_line_buffer())

    def close(self) -> None:
        """Give the terminal back, also in the middle of a line."""
        self.hide()
        self._typing = False
        self._readline.set_startup_hook()
        self._restore()

    def _begin(self) -> None:
        # Before this, the line that readline holds is still the one before.
        self._typing = True

    def _label(self) -> str:
        # Always as wide, for readline computes with the one it was given.
        return f"{self._state:<{self._width}} > "


def is_terminal() -> bool:
    """Tell whether a person types here and sees what is written."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        return False
    try:
        import readline  # noqa: F401, PLC0415
        import termios  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def _settle(future: asyncio.Future[str | None], line: str | None) -> None:
    if not future.done():
        future.set_result(line)
