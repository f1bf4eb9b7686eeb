"""Checking an archive by itself: its chain of events, and that its recordings are those the chain names."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from greenroom.errors import GreenroomError
from greenroom.eventlog import Link, broken_link
from greenroom.sessions._step import SESSION

_CHUNK: Final = 1 << 20
_LARGEST_LOG: Final = 1 << 30


class ArchiveError(GreenroomError):
    """A file is no archive of a session, or not a whole one."""

    code = "archive_unusable"


class ArchiveProof(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of an archive found.

    :param events: in its chain; of so many, ``erased``, only the hash is left.
    :param files: recordings and batches that were compared with the hashes in the chain.
    :param problems: what is not as it was written; empty when all is. The transcript and ``session.json`` are made
        from the chain and prove nothing themselves.
    """

    session: str
    events: int
    erased: int
    files: int
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


def check_archive(path: Path) -> ArchiveProof:
    """Check an archive of a session. Raises :class:`ArchiveError` when it is none, or is cut off."""
    hashes: dict[str, str] = {}
    links: list[Link] | None = None
    session = ""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                session, _, name = member.name.partition("/")
                content = archive.extractfile(member)
                if content is None:
                    continue
                if name == "log.json" and member.size <= _LARGEST_LOG:
                    links = msgspec.json.decode(content.read(), type=list[Link])
                elif name.startswith(("recording", "otlp/")):
                    hashes[name] = _hash(content)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"{path} is no whole archive of a session: {error}", fix="Export it again") from None
    if not links:
        raise ArchiveError(f"{path} holds no events of the log", fix="Export it again")
    return ArchiveProof(
        session=session,
        events=len(links),
        erased=sum(link.payload is None for link in links),
        files=len(hashes),
        problems=tuple(_problems(session, links, hashes)),
    )


def _problems(session: str, links: list[Link], hashes: dict[str, str]) -> Iterable[str]:
    if (broken := _broken(links)) is not None:
        yield f"event {broken.seq} ({broken.type}) does not follow from those before it"
    if any(link.stream != f"{SESSION}{session}" for link in links):
        yield "the events are of another session"
    named = {found for link in links if link.payload is not None for found in _blobs(link.payload)}
    for name, found in hashes.items():
        if found not in named:
            yield f"{name} is not what the log names"


def _broken(links: list[Link]) -> Link | None:
    try:
        return broken_link(links)
    except ValueError:
        # A hash that is not even hexadecimal.
        return links[0]


def _blobs(payload: str) -> Iterable[str]:
    try:
        fields: Any = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return
    blob = fields.get("blob") if isinstance(fields, dict) else None
    if isinstance(blob, dict) and isinstance(blob.get("hash"), str):
        yield blob["hash"]


def _hash(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := content.read(_CHUNK):
        digest.update(part)
    return digest.hexdigest()
