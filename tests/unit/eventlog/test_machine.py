"""The store against a model of it: lists of what should be there, whatever is done in whatever order."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greenroom.eventlog import Appended, ConflictError, _sqlite_keys
from greenroom.eventlog._chain import Append, Encoded
from greenroom.eventlog._model import ERASED
from greenroom.eventlog._sqlite import SqliteStore
from greenroom.eventlog._store import Query
from greenroom.eventlog._verify import verify_log, verify_stream

pytestmark = pytest.mark.unit

TENANTS = st.sampled_from(["", "acme"])
STREAMS = st.sampled_from(["session:AJ_a", "session:AJ_b", "system:x"])
KEYS = st.sampled_from(["", "", "k1", "k2", "k3", "k4", "k5", "k6", "k7"])
BLOBS = st.lists(st.sampled_from(["aa", "bb"]), max_size=2).map(tuple)


@st.composite
def appends(draw: st.DrawFn) -> Append:
    events = draw(st.lists(st.tuples(KEYS, st.binary(max_size=8), BLOBS), min_size=1, max_size=4))
    expected = draw(st.none() | st.integers(0, 6))
    encoded = [Encoded("test.said", 1, None, key, payload, blobs) for key, payload, blobs in events]
    return Append(draw(TENANTS), draw(STREAMS), expected, encoded)


class Log(RuleBasedStateMachine):
    """The model: every event by position, as tenant, stream, seq, key, payload (None once erased) and blobs."""

    def __init__(self) -> None:
        super().__init__()
        # So few that keys are filed, and half filed, all the time.
        self.few = [mock.patch.object(_sqlite_keys, name, few) for name, few in (("_UNFILED", 3), ("_AT_ONCE", 2))]
        for few in self.few:
            few.start()
        self.directory = Path(tempfile.mkdtemp(prefix="greenroom-log"))
        self.now = 0
        self.events: list[list[Any]] = []
        self.seen = 0
        self.followed: list[int] = []

    @initialize()
    def opens(self) -> None:
        self.store = SqliteStore(self.directory / "log.db")
        self.store._connection.execute("PRAGMA synchronous = OFF")
        self.reader = self.store.reader(tolerant=True)

    def teardown(self) -> None:
        for few in self.few:
            few.stop()
        self.reader.close()
        self.store.close()
        shutil.rmtree(self.directory)

    def stream(self, tenant: str, stream: str) -> list[list[Any]]:
        return [event for event in self.events if event[:2] == [tenant, stream]]

    @rule(batch=st.lists(appends(), min_size=1, max_size=4), later=st.integers(-5, 5))
    def commits(self, batch: list[Append], later: int) -> None:
        self.now += later
        outcomes = self.store.commit(batch, now=self.now)
        for append, outcome in zip(batch, outcomes, strict=True):
            known = {event[3]: position for position, event in enumerate(self.events, 1) if event[0] == append.tenant}
            version = len(self.stream(append.tenant, append.stream))
            new = [event for event in append.events if not event.key or event.key not in known]
            if new and append.expected not in {None, version}:
                assert isinstance(outcome, ConflictError)
                assert outcome.actual == version
                continue
            added = 0
            for event in append.events:
                if event.key and event.key in known:
                    continue
                added += 1
                entry = [append.tenant, append.stream, version + added, event.key, event.payload, set(event.blobs)]
                self.events.append(entry)
                if event.key:
                    known[event.key] = len(self.events)
            assert isinstance(outcome, Appended)
            assert outcome.duplicates == len(append.events) - added

    @rule(tenant=TENANTS, stream=STREAMS, through=st.none() | st.integers(0, 8))
    def erases(self, tenant: str, stream: str, through: int | None) -> None:
        before = self.named()
        erased = self.store.erase(tenant, stream, through=through, reason="test", now=self.now)
        events = self.stream(tenant, stream)
        last = len(events) if through is None else min(through, len(events))
        gone = [event for event in events[:last] if event[4] is not None and event[4] != ERASED]
        for event in gone:
            event[4], event[5] = None, set()
        if gone:
            self.events.append([tenant, stream, len(events) + 1, "", ERASED, set()])
        assert erased.events == len(gone)
        deleted: list[str] = []
        self.store.release(erased.blobs, lambda blobs: deleted.extend(blobs) or 0)
        assert set(deleted) == before - self.named()

    def named(self) -> set[str]:
        return set().union(*(event[5] for event in self.events))

    @rule()
    def joins_the_ends(self) -> None:
        covered = self.reader.checkpoints()
        grown = len(self.events) > (covered[-1].position if covered else 0)
        assert self.store.checkpoint(key=None, now=self.now) is grown

    @rule()
    def opens_again(self) -> None:
        self.teardown_connections()
        self.opens()

    @rule()
    def is_written_to_by_another(self) -> None:
        with contextlib.closing(SqliteStore(self.directory / "log.db")) as other:
            other._connection.execute("PRAGMA synchronous = OFF")
            self.store, mine = other, self.store
            self.commits([Append("", "session:AJ_a", None, [Encoded("test.said", 1, None, "", b"other", ())])], 0)
            self.store = mine

    def teardown_connections(self) -> None:
        self.reader.close()
        self.store.close()

    @precondition(lambda self: self.events)
    @rule(limit=st.integers(1, 5))
    def follows(self, limit: int) -> None:
        page = self.reader.page(self.seen, limit, Query())
        self.followed += [row.position for row in page.rows]
        self.seen = page.searched
        assert self.followed == list(range(1, len(self.followed) + 1))
        assert page.searched == (self.followed[-1] if self.followed else 0)

    @rule(tenant=st.none() | TENANTS, streams=st.none() | st.lists(STREAMS, max_size=2), after=st.integers(0, 20))
    def selects(self, tenant: str | None, streams: list[str] | None, after: int) -> None:
        query = Query(tenant, None if streams is None else tuple(streams), ("test.said",))
        expected = [
            position
            for position, event in enumerate(self.events, 1)
            if position > after
            and tenant in {None, event[0]}
            and (streams is None or event[1] in streams)
            and event[4] != ERASED
        ]
        assert [row.position for row in self.reader.page(after, 1000, query).rows] == expected

    @rule(tenant=TENANTS, stream=STREAMS, after=st.integers(0, 8), limit=st.integers(-1, 4))
    def reads_a_stream(self, tenant: str, stream: str, after: int, limit: int) -> None:
        rows = self.reader.stream(tenant, stream, after, limit)
        expected = self.stream(tenant, stream)[after : None if limit < 0 else after + limit]
        assert [row.seq for row in rows] == [event[2] for event in expected]
        assert verify_stream(self.reader, tenant, stream).problems == ()

    @invariant()
    def holds_what_it_should(self) -> None:
        rows = self.reader.page(0, 10_000, Query()).rows
        assert [(row.tenant, row.stream, row.seq, row.key) for row in rows] == [tuple(e[:4]) for e in self.events]
        for row, event in zip(rows, self.events, strict=True):
            assert row.payload == event[4] or (row.type, event[4]) == (ERASED, ERASED)
        assert {blob for blob, places in self.reader.blobs() if places} == self.named()

    @invariant()
    def verifies(self) -> None:
        assert verify_log(self.reader).problems == ()


TestLog = Log.TestCase
TestLog.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
