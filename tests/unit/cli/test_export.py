"""``greenroom export``: what arrives is checked, whole, and takes no other file's place."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenroom.cli.export import save, words_of
from greenroom.errors import ConfigError
from greenroom.eventlog import EventLog, NewEvent
from greenroom.sessions import (
    ArchiveError,
    OutcomeRecorded,
    RecordingStored,
    SessionReport,
    Sessions,
    TagAdded,
    archive,
    check_archive,
)

pytestmark = pytest.mark.unit

AUDIO = b"OggS" + bytes(range(256)) * 40


@pytest.fixture
async def parts(tmp_path: Path) -> list[bytes]:
    """The archive of a session, as it is sent."""
    async with (
        await EventLog.open(tmp_path / "log.db") as log,
        await Sessions.open(log, tmp_path / "sessions.db", peaks=False) as sessions,
    ):
        blob = await log.blobs.put_bytes(AUDIO)
        await log.append("session:AJ_1", [NewEvent(SessionReport(agent_name="desk"))])
        await log.erase("session:AJ_1", "request 1")
        told = [TagAdded(name="vip"), RecordingStored(blob=blob), OutcomeRecorded(outcome="success")]
        await log.append("session:AJ_1", [NewEvent(each) for each in told])
        await sessions.reached(await log.head())
        return [part async for part in await archive(sessions, "AJ_1")]


def changed(parts: list[bytes], name: str, change: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield an archive with another content in one of its files."""
    written = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(b"".join(parts)))) as source,
        tarfile.open(fileobj=written, mode="w:gz") as target,
    ):
        for member in source:
            file = source.extractfile(member)
            assert file is not None
            content = file.read()
            if member.name.endswith(name):
                content = change(content)
                member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    yield written.getvalue()


def test_an_archive_that_is_as_it_was_written_is_verified(parts: list[bytes], tmp_path: Path) -> None:
    proof = save(parts, tmp_path / "call.tar.gz")
    assert (proof.session, proof.events, proof.erased, proof.files, proof.ok) == ("AJ_1", 5, 1, 1, True)
    assert words_of(proof) == [
        "verified: 5 events, 1 of them erased, chained without a gap; 1 recordings and batches are those it names"
    ]
    assert (tmp_path / "call.tar.gz").read_bytes() == b"".join(parts)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("recording.ogg", lambda content: content[:-1] + b"x", "recording.ogg is not what the log names"),
        ("log.json", lambda content: content.replace(b"vip", b"vop"), "event 3 (tag.added) does not follow"),
        ("log.json", lambda content: content.replace(b"session:AJ_1", b"session:AJ_2"), "event 1"),
    ],
)
def test_what_was_changed_on_the_way_is_named_and_kept(
    parts: list[bytes], tmp_path: Path, name: str, change: Callable[[bytes], bytes], problem: str
) -> None:
    proof = save(changed(parts, name, change), tmp_path / "call.tar.gz")
    assert problem in proof.problems[0]
    assert words_of(proof)[-1] == "NOT AS IT WAS WRITTEN"
    assert (tmp_path / "call.tar.gz").exists()


@pytest.mark.parametrize("cut", [0, 100, 2000])
def test_an_archive_that_is_cut_off_leaves_no_file(parts: list[bytes], tmp_path: Path, cut: int) -> None:
    whole = b"".join(parts)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArchiveError, match=r"no whole archive|holds no events"):
        save([whole[: min(cut, len(whole) - 200)]], tmp_path / "call.tar.gz")
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_there_stays(parts: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "call.tar.gz"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        save(parts, path)
    assert path.read_text() == "mine"


def test_a_file_that_comes_meanwhile_stays_too(parts: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "call.tar.gz"

    def meanwhile() -> Iterator[bytes]:
        path.write_text("mine")
        yield from parts

    with pytest.raises(ConfigError, match="is there already"):
        save(meanwhile(), path)
    assert path.read_text() == "mine"


def test_another_file_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with pytest.raises(ArchiveError, match="no whole archive"):
        check_archive(path)
