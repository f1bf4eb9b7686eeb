"""``greenroom log``: verify, show and erase what stands in the event log."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from greenroom.cli._options import LogOptions
from greenroom.cli._run import run
from greenroom.cli._settings import data_directory
from greenroom.errors import ConfigError
from greenroom.eventlog import (
    EventLog,
    LogReader,
    Record,
    SigningKey,
    record_as_json,
    record_as_line,
    verification_as_json,
    verification_as_lines,
)

_DAMAGED = 1
_LAST = 20
_PAGE = 1000


def verify_command(
    options: LogOptions, stream: str | None, *, key_file: Path | None, tenant: str, blobs: bool, as_json: bool
) -> int:
    """Verify the log; return 1 when it is not as it was written. Raises :class:`GreenroomError`."""
    key = SigningKey.read(key_file) if key_file else None

    async def verify() -> int:
        async with await LogReader.open_reader(_path(options)) as log:
            found = await log.verify(stream, tenant=tenant, key=key, blobs=blobs)
        if as_json:
            _print_json(verification_as_json(found))
        else:
            print(*verification_as_lines(found), sep="\n")
        return 0 if found.ok else _DAMAGED

    return run(verify())


def tail_command(
    options: LogOptions,
    *,
    after: int | None,
    follow: bool,
    streams: Sequence[str] | None,
    types: Sequence[str] | None,
    as_json: bool,
) -> int:
    """Print the end of the log, or what follows a position. Raises :class:`GreenroomError`."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize

    def show(record: Record) -> None:
        if as_json:
            _print_json(record_as_json(record))
        else:
            print(record_as_line(record, width=width), flush=True)

    async def tail() -> int:
        async with await LogReader.open_reader(_path(options)) as log:
            last = await log.head()
            start = max(0, last - _LAST) if after is None else after
            if follow:
                async for record in log.follow(start, streams=streams, types=types):
                    show(record)
            while records := await log.read(start, limit=_PAGE, streams=streams, types=types):
                for record in records:
                    show(record)
                start = records[-1].position
        return 0

    try:
        return run(tail())
    except BrokenPipeError:
        # Who reads has seen enough, as head does. What is left in the buffer must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def erase_command(
    options: LogOptions, stream: str, *, reason: str, through: int | None, tenant: str, yes: bool, as_json: bool
) -> int:
    """Erase a stream's payloads. Raises :class:`GreenroomError`."""
    path = _path(options)
    if not path.exists():
        raise ConfigError(f"There is no log at {path}", fix="Name the data directory with --data-dir")
    if not yes and not _confirmed(stream):
        return 1

    async def erase() -> int:
        async with await EventLog.open(path) as log:
            erased = await log.erase(stream, reason, through_seq=through, tenant=tenant)
        if as_json:
            _print_json({"stream": stream, "events": erased.events, "blobs": erased.blobs})
        else:
            print(f"erased {erased.events} events and {erased.blobs} blobs of {stream}")
        return 0

    try:
        return run(erase())
    except ValueError as error:
        raise ConfigError(str(error).rstrip("."), fix="See: greenroom log erase --help") from None


def _confirmed(stream: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("Erasing cannot be undone", fix="Pass --yes to erase without being asked")
    return input(f"Erase everything that was said in {stream}? It cannot be undone. [y/N] ").strip().lower() == "y"


def _path(options: LogOptions) -> Path:
    return data_directory(options) / "log.db"


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)
