"""``greenroom export``: a session as one archive, checked when it is here."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from greenroom.cli._api import Api, path_of, print_json
from greenroom.cli._options import ApiOptions
from greenroom.cli.session import found_session
from greenroom.errors import ConfigError, GreenroomError
from greenroom.sessions import ArchiveProof, Session, check_archive

_DAMAGED: Final = 1
_OFTEN: Final = 0.2
_UNITS: Final = ("bytes", "kB", "MB", "GB")


def export_command(options: ApiOptions, session: str, output: Path | None, *, as_json: bool) -> int:
    """Write the archive; return 1 when what came is not what the log says. Raises :class:`GreenroomError`."""
    api = Api.of(options)
    found = found_session(api, session)
    path = _path(output, found.summary.id)
    progress = _Progress(_expected(found)) if sys.stderr.isatty() and not as_json else None
    proof = save(api.download(path_of("sessions", found.summary.id, "export")), path, progress)
    size = path.stat().st_size
    if as_json:
        print_json(
            {
                "file": str(path),
                "bytes": size,
                "session": found.summary.id,
                "events": proof.events,
                "erased": proof.erased,
                "verified": proof.ok,
                "problems": proof.problems,
            }
        )
    else:
        print(f"{path}  {_size(size)}")
        print(*words_of(proof), sep="\n")
    return 0 if proof.ok else _DAMAGED


def save(parts: Iterable[bytes], path: Path, progress: _Progress | None = None) -> ArchiveProof:
    """Write an archive to a file that must not be there yet, and check it.

    The file is whole or absent. One that is not as the log says is kept, so that it can be looked at.

    :raises ConfigError: the file is there, or cannot be written.
    """
    if path.exists():
        raise _exists(path)
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            _write(parts, file, path, progress)
        proof = check_archive(part)
        _put(part, path)
    finally:
        part.unlink(missing_ok=True)
    return proof


def _put(part: Path, path: Path) -> None:
    try:
        # A link, unlike a renamed file, takes no other's place.
        path.hardlink_to(part)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without links.
        part.rename(path)


def words_of(proof: ArchiveProof) -> list[str]:
    """Return what the check found, as lines."""
    if not proof.ok:
        return [*(f"PROBLEM  {problem}" for problem in proof.problems), "NOT AS IT WAS WRITTEN"]
    erased = f", {proof.erased} of them erased," if proof.erased else ""
    files = f"; {proof.files} recordings and batches are those it names" if proof.files else ""
    return [f"verified: {proof.events} events{erased} chained without a gap{files}"]


def _write(parts: Iterable[bytes], file: IO[bytes], path: Path, progress: _Progress | None) -> None:
    for part in parts:
        try:
            file.write(part)
        except OSError as error:
            raise _unwritable(path, error) from None
        if progress is not None:
            progress.add(len(part))
    if progress is not None:
        progress.end()


class _Progress:
    """How much has come, on one line of a terminal."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._come = 0
        self._said_at = time.monotonic()

    def add(self, count: int) -> None:
        """Count some bytes, and say so now and then."""
        self._come += count
        now = time.monotonic()
        if now - self._said_at >= _OFTEN:
            self._said_at = now
            about = f" of about {_size(self._expected)}" if self._expected > self._come else ""
            sys.stderr.write(f"\r\x1b[K{_size(self._come)}{about}")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line empty."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _path(output: Path | None, session: str) -> Path:
    name = f"{session}.tar.gz"
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def _expected(found: Session) -> int:
    return sum(each.size for each in found.recordings) + sum(each.size for each in found.telemetry)


def _size(count: int) -> str:
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def _exists(path: Path) -> GreenroomError:
    return ConfigError(f"'{path}' is there already", fix="Name another file with --output")


def _unwritable(path: Path, error: OSError) -> GreenroomError:
    return ConfigError(f"Cannot write '{path}': {error.strerror}", fix="Name another file with --output")
