"""What an examination found: one check after the other, for a person or a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from greenroom.errors import GreenroomError

_MARKS: Final = {True: "✔", False: "✘", None: "-"}


class FaultError(GreenroomError):
    """A check failed.

    :param code: which of the known faults it is.
    """

    def __init__(self, code: str, message: str, *, fix: str) -> None:
        super().__init__(message, fix=fix)
        self.code = code


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report.

    :param check: what was examined.
    :param ok: whether it is as it should be; None when it was not examined.
    :param seconds: how long that took.
    :param code: which fault it is.
    :param fix: what to do about it.
    """

    check: str
    ok: bool | None
    message: str
    seconds: float
    code: str = ""
    fix: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole examination as ``--json`` prints it."""

    ok: bool
    url: str
    checks: Sequence[Check]


def show(check: Check) -> None:
    """Print one line, and what to do where something is wrong."""
    took = "" if check.ok is None else f" ({_duration(check.seconds)})"
    lines = [f"{_MARKS[check.ok]} {check.check:<7} {check.message}{took}"]
    if check.fix:
        lines.append(f"    fix: {check.fix}")
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
