"""What only the SQLite store can get wrong."""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from greenroom.eventlog import Appended, LogBusyError, _sqlite_file
from greenroom.eventlog._chain import Append, Encoded
from greenroom.eventlog._sqlite import SqliteStore
from greenroom.eventlog._verify import verify_log

pytestmark = pytest.mark.unit

A = "session:AJ_a"


def keyed(numbers: range, *, stream: str = A) -> Append:
    return Append("", stream, None, [Encoded("test.said", 1, None, f"key-{number}", b"{}", ()) for number in numbers])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with contextlib.closing(SqliteStore(tmp_path / "log.db")) as store:
        yield store


def duplicates(store: SqliteStore, append: Append) -> int:
    outcome = store.commit([append], now=0)[0]
    assert isinstance(outcome, Appended)
    return outcome.duplicates


def test_keys_are_known_in_memory_on_file_and_after_opening_again(store: SqliteStore) -> None:
    for first in range(0, 9000, 500):
        store.commit([keyed(range(first, first + 500))], now=0)
    filed = store._connection.execute("SELECT count(*) FROM keys").fetchone()[0]
    assert 0 < filed < 9000
    assert duplicates(store, keyed(range(9000))) == 9000
    store.commit([keyed(range(9000, 9010))], now=0)
    with contextlib.closing(SqliteStore(store.path)) as again:
        assert duplicates(again, keyed(range(9010))) == 9010
    with contextlib.closing(store.reader(tolerant=True)) as reader:
        assert verify_log(reader).problems == ()


def test_two_stores_know_each_others_keys(store: SqliteStore) -> None:
    with contextlib.closing(SqliteStore(store.path)) as other:
        for first in range(0, 6000, 300):
            store.commit([keyed(range(first, first + 150))], now=0)
            assert duplicates(other, keyed(range(first, first + 300))) == 150
            assert duplicates(store, keyed(range(first, first + 300))) == 300
    with contextlib.closing(store.reader(tolerant=True)) as reader:
        found = verify_log(reader)
    assert (found.problems, found.events) == ((), 6000)


def everywhere(store: SqliteStore) -> bytes:
    return b"".join(path.read_bytes() for path in store.path.parent.glob("log.db*"))


def test_what_is_erased_leaves_the_files(store: SqliteStore) -> None:
    store.commit([Append("", A, None, [Encoded("test.said", 1, None, "", b'{"text":"S3CRET"}', ())])], now=0)
    assert b"S3CRET" in everywhere(store)
    store.erase("", A, through=None, reason="test", now=0)
    assert b"S3CRET" not in everywhere(store)


def test_a_reader_delays_that_but_holds_up_nobody(store: SqliteStore) -> None:
    store.commit([Append("", A, None, [Encoded("test.said", 1, None, "", b'{"text":"S3CRET"}', ())])], now=0)
    with contextlib.closing(store.reader()) as reader:
        with reader.snapshot():
            reader.head()
            store.erase("", A, through=None, reason="test", now=0)
            store.commit([keyed(range(1))], now=0)
            assert reader.stream("", A, 0, -1)[0].payload == b'{"text":"S3CRET"}'
        assert reader.stream("", A, 0, -1)[0].payload is None
        store.checkpoint(key=None, now=0)
        assert b"S3CRET" not in everywhere(store)


def test_a_lock_that_is_not_let_go_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite_file, "PATIENCE", 0.01)
    path = tmp_path / "log.db"
    with contextlib.closing(SqliteStore(path)) as store, contextlib.closing(SqliteStore(path)) as other:
        other._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogBusyError, match="Another process"):
            store.commit([keyed(range(1))], now=0)
        other._connection.execute("ROLLBACK")
        assert duplicates(store, keyed(range(1))) == 0


def test_many_that_find_no_log_make_one(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / str(number) / "log.db"
        barrier = threading.Barrier(6)

        def opens(name: int, path: Path = path, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            with contextlib.closing(SqliteStore(path)) as store:
                return duplicates(store, keyed(range(name, name + 1)))

        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(opens, range(6))) == [0] * 6


def test_the_file_belongs_to_its_owner_alone(store: SqliteStore) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
