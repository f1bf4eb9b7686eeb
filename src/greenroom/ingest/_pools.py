"""Reports of pools of agents: ``POST /observability/pools/v0``, answered with what is asked of the pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
from starlette.responses import Response

from greenroom.ingest._errors import UploadInvalidError
from greenroom.reports import PoolCommands, PoolSnapshot

#: Bytes of a report: a thousand sessions are a quarter of it.
MAX_REPORT: Final = 1024 * 1024
_LONGEST_NAME: Final = 128

TakeReport: TypeAlias = Callable[[PoolSnapshot], Awaitable[PoolCommands]]


def read_report(body: bytes) -> PoolSnapshot:
    """Return a report; fields that are not known here are left out. Raises :class:`UploadInvalidError`."""
    try:
        report = msgspec.json.decode(body, type=PoolSnapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UploadInvalidError(f"The report is no PoolSnapshot: {error}", fix="Send it as JSON") from None
    for name in ("instance", "machine"):
        value = getattr(report, name)
        if not (0 < len(value) <= _LONGEST_NAME and value.isprintable()):
            raise UploadInvalidError(f"The report's {name} is no name of 1 to {_LONGEST_NAME} characters")
    return report


def commands(asked: PoolCommands) -> Response:
    """Return the answer to a report."""
    return Response(msgspec.json.encode(asked), media_type="application/json", headers={"Cache-Control": "no-store"})
