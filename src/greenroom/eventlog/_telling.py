"""Records and verifications as a terminal, a script or an HTTP client is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from greenroom.eventlog._events import Raw
from greenroom.eventlog._model import Record
from greenroom.eventlog._verify import Verification


def record_as_json(record: Record) -> dict[str, Any]:
    """Return a record as plain JSON values. Times are seconds since 1970, the hash is hexadecimal digits.

    ``data`` is ``null`` once erased.
    """
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(record, data=None, hash=b""))
    return plain | {"data": _plain(record), "hash": record.hash.hex()}


def record_as_line(record: Record, *, width: int) -> str:
    """Return a record as one line of at most ``width`` characters."""
    at = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    content = "erased" if record.data is None else msgspec.json.encode(_plain(record)).decode()
    line = f"{record.position:>8} {at}  {record.stream} {record.seq}  {record.type}  {content}"
    return line if len(line) <= width else line[: width - 1] + "…"


def verification_as_json(found: Verification) -> dict[str, Any]:
    """Return a verification as plain JSON values."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(found, checkpoint=b""))
    return {"ok": found.ok, **plain, "checkpoint": found.checkpoint.hex()}


def verification_as_lines(found: Verification) -> Iterator[str]:
    """Yield what a verification found, problems last."""
    yield f"events       {found.events} in {found.streams} streams, {found.erased} of them erased"
    yield f"blobs        {found.blobs}"
    if found.checkpoints:
        signed = f"{found.signed} signatures checked" if found.signed else "no signature checked"
        yield f"checkpoints  {found.checkpoints}, {signed}; they cover {found.covered} of {found.head} positions"
        yield f"last         {found.checkpoint.hex()}"
    else:
        yield "checkpoints  none"
    for problem in found.problems:
        tenant = f" of tenant {problem.tenant}" if problem.tenant else ""
        where = f"{problem.stream} {problem.seq}{tenant}" if problem.stream else "the log"
        position = f" (position {problem.position})" if problem.position else ""
        yield f"PROBLEM      {where}{position}: {problem.what}"
    yield "verified" if found.ok else "NOT AS IT WAS WRITTEN"


def _plain(record: Record) -> Any:
    if isinstance(record.data, Raw):
        try:
            return record.data.json()
        except msgspec.DecodeError:
            return None
    return msgspec.to_builtins(record.data)
