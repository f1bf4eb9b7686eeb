"""What the processes of a pool print: read line by line, bounded, told in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

MAX_LINE: Final = 64 * 1024


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a process of the pool printed.

    :param shard: its number; ``None`` for the nursery.
    :param generation: of the code, counted from 1.
    :param record: the line as a JSON log record; ``None`` when it is not one.
    :param text: the line as it came, without its end.
    """

    shard: int | None
    generation: int
    record: Mapping[str, Any] | None
    text: str


def read_line(line: bytes, *, shard: int | None, generation: int) -> Output:
    """Return what a line says."""
    record: Mapping[str, Any] | None = None
    if line.startswith(b"{"):
        try:
            found = msgspec.json.decode(line)
        except msgspec.MsgspecError:
            found = None
        if isinstance(found, dict):
            record = found
    return Output(shard=shard, generation=generation, record=record, text=line.decode(errors="replace"))
