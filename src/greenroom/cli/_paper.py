"""What commands print on: a width, colours where somebody looks, and words for values that may be unknown."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

import msgspec

UNKNOWN: Final = "?"
_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35"}
_GAP: Final = "  "
_NUMBER: Final = re.compile(r"[\d.:]+(?: [a-zA-Z]+)?")


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """Where lines go.

    :param width: columns to a line; ``None`` where lines may be of any length.
    :param zone: in which times are told; the machine's own by default.
    """

    width: int | None = None
    colour: bool = False
    zone: tzinfo | None = None

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Paper:
        """Return what stdout is. Nothing is coloured or cut that goes into a pipe or a file."""
        if not sys.stdout.isatty():
            return cls()
        return cls(width=shutil.get_terminal_size().columns, colour=not environment.get("NO_COLOR"))

    def ink(self, text: str, *styles: str) -> str:
        """Return a text in a style, where there are styles."""
        if not (self.colour and styles and text):
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def moment(self, at: float | None) -> str:
        """Return a date and time."""
        return UNKNOWN if at is None else self._local(at).strftime("%Y-%m-%d %H:%M:%S")

    def clock(self, at: float | None) -> str:
        """Return the time of the day."""
        return "--:--:--" if at is None else self._local(at).strftime("%H:%M:%S")

    def cut(self, text: str) -> str:
        """Return a text without its end where that leaves the line."""
        if self.width is None or len(text) <= self.width:
            return text
        return text[: max(0, self.width - 1)] + "…"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        """Return lines with columns as wide as what is in them; numbers, unknown or not, stand right."""
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        right = [bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(head))]

        def line(cells: Sequence[str]) -> str:
            padded = (
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(cells, widths, right, strict=True)
            )
            return self.cut(_GAP.join(padded).rstrip())

        return [self.ink(line(head), "bold"), *(line(row) for row in rows)]

    def _local(self, at: float) -> datetime:
        found = datetime.fromtimestamp(at, self.zone)
        return found if self.zone else found.astimezone()


def plain(text: str) -> str:
    """Return what somebody said as one line, with nothing in it that a terminal obeys."""
    spaced = " ".join(text.split())
    return "".join(
        letter if unicodedata.category(letter) not in {"Cc", "Cf", "Cs"} else "\N{REPLACEMENT CHARACTER}"
        for letter in spaced
    )


def seconds(value: float | None) -> str:
    """Return a duration: ``4 ms``, ``0.84 s``, ``24 s``, ``3:07``, ``1:02:03``."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.1:
        return f"{max(1, round(value * 1000))} ms"
    if value < 10:
        return f"{value:.2f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def money(amount: float | None, currency: str) -> str:
    """Return an amount with as many digits as it takes to see it."""
    if amount is None:
        return UNKNOWN
    digits = 2 if amount == 0 or amount >= 1 else 4
    return f"{amount:.{digits}f} {currency}".rstrip()


def _is_number(text: str) -> bool:
    return text == UNKNOWN or _NUMBER.fullmatch(text) is not None
