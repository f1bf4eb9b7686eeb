"""How a shard's output reads."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextvars import Context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import JobContext
from livekit.agents.telemetry import traces
from opentelemetry.sdk.trace import TracerProvider

from greenroom.pool.context import SCOPE, Scope, current_scope, current_tenant_id, environment, resumed
from greenroom.pool.shard import _gc, _scope, _upstream_session
from greenroom.pool.shard._gc import Collections, GcPolicy
from greenroom.pool.shard._scope import Lines, Printed, ScopedHandler, on_loop_error
from greenroom.pool.shard._spans import install_spans

pytestmark = pytest.mark.unit

ADA = Scope(session="AJ_1", agent="desk", tenant="acme", room="lobby", environment={"KEY": "v"}, resumed=True)
BOB = Scope(session="AJ_2", agent="desk", tenant="other")


class Written:
    """What was written to a descriptor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self.lines = Lines(self._file.fileno())

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    made = Written(tmp_path / "out")
    yield made
    made.close()


@pytest.fixture
def stamped() -> Iterator[None]:
    """Make records as a shard's process makes them."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_scope._Stamping(before))
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def logger(stamped: None, written: Written) -> Iterator[logging.Logger]:
    made = logging.getLogger("greenroom.tests.output")
    made.propagate = False
    made.setLevel(logging.INFO)
    handler = ScopedHandler(written.lines)
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)


def inside(scope: Scope, work: Any, *arguments: Any) -> Any:
    context = Context()
    context.run(SCOPE.set, scope)
    return context.run(work, *arguments)


def test_outside_a_session_nothing_is_known() -> None:
    assert (current_scope(), current_tenant_id(), dict(environment()), resumed()) == (None, None, {}, False)
    assert inside(ADA, lambda: (current_tenant_id(), environment()["KEY"], resumed())) == ("acme", "v", True)


def test_a_record_has_its_scope_and_its_fields(written: Written, logger: logging.Logger) -> None:
    inside(
        ADA, lambda: logger.warning("hello %s", "you", extra={"tenant": "mine", "count": 2, "lk.pii.text": "secret"})
    )
    logger.info("outside")
    first, second = written.read()
    assert (first["message"], first["level"], first["session"], first["tenant"]) == (
        "hello you",
        "WARNING",
        "AJ_1",
        "acme",
    )
    assert (first["tenant_"], first["count"]) == ("mine", 2)
    assert "secret" not in json.dumps(first)
    assert "session" not in second


def test_what_cannot_be_written_as_json_is_written_as_text(written: Written, logger: logging.Logger) -> None:
    logger.info("odd", extra={"thing": object(), "many": {1, 2}})
    (line,) = written.read()
    assert line["thing"].startswith("<object")


def test_an_exception_stands_in_the_line(written: Written, logger: logging.Logger) -> None:
    try:
        int("no")
    except ValueError:
        logger.exception("failed")
    (line,) = written.read()
    assert line["exception"].endswith("'no'")


def test_pieces_of_lines_are_kept_apart_by_session(written: Written) -> None:
    stream = Printed(written.lines, "stdout", 1)
    inside(ADA, stream.write, "one ")
    inside(BOB, stream.write, "two\nthree")
    inside(ADA, stream.write, "still one\n")
    assert [(line["message"], line["session"]) for line in written.read()] == [
        ("two", "AJ_2"),
        ("one still one", "AJ_1"),
    ]
    stream.forget(BOB)
    assert written.read()[-1]["message"] == "three"
    stream.buffer.write(b"bytes\n")
    assert written.read()[-1]["message"] == "bytes"


def test_lines_of_many_threads_are_whole(written: Written) -> None:
    words = "x" * 20_000

    def write() -> None:
        for _ in range(20):
            written.lines.write({"message": words})

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["message"] for line in written.read()] == [words] * 160


def test_nobody_who_reads_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    Lines(write).write({"message": "x"})
    os.close(write)


async def test_an_error_that_is_found_elsewhere_is_nobody_s(stamped: None, written: Written) -> None:
    handler = ScopedHandler(written.lines)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        loop = asyncio.get_running_loop()
        inside(ADA, on_loop_error, loop, {"message": "never retrieved", "future": loop.create_future()})
        inside(ADA, lambda: on_loop_error(loop, {"message": "in a callback", "handle": loop.call_soon(print)}))
    finally:
        logging.getLogger("asyncio").removeHandler(handler)
    found, own = written.read()
    assert "session" not in found
    assert own["session"] == "AJ_1"


def test_what_the_collector_finalizes_is_nobody_s_doing() -> None:
    seen: list[Scope | None] = []

    class Loop:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            seen.append(SCOPE.get())

    def leave_and_collect() -> Scope | None:
        Loop()
        gc.collect()
        return SCOPE.get()

    collections = Collections()
    collections.install()
    try:
        assert inside(ADA, leave_and_collect) is ADA
    finally:
        collections.uninstall()
    assert seen == [None]
    assert collections.worst() > 0
    assert collections.worst() == 0


async def test_full_collections_wait_while_they_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [0]
    done: list[int] = []
    monkeypatch.setattr(_gc.gc, "collect", lambda generation=2: done.append(generation))
    monkeypatch.setattr(_gc.gc, "freeze", lambda: None)
    clock = iter(range(1000))
    monkeypatch.setattr(_gc.time, "perf_counter", lambda: next(clock))
    policy = GcPolicy(asyncio.get_running_loop(), lambda: sessions[0])
    policy.start()
    try:
        done.clear()
        for sessions[0] in (3, 3, 3, 0):
            policy.session_ended()
            policy.session_ended()
            await asyncio.sleep(0)
        assert done == [2, 1, 1, 2]
        done.clear()
        sessions[0] = 3
        for _ in range(_gc.PATIENCE + 1):
            policy.session_ended()
            await asyncio.sleep(0)
        assert done == [1] * _gc.PATIENCE + [2]
    finally:
        policy.stop()


def test_spans_of_any_provider_bear_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TracerProvider, "__init__", TracerProvider.__init__)
    install_spans()
    install_spans()
    tracer = TracerProvider().get_tracer("x")
    span: Any = inside(ADA, tracer.start_span, "one")
    assert span.attributes == {"greenroom.tenant": "acme", "greenroom.agent": "desk", "greenroom.session": "AJ_1"}
    assert not tracer.start_span("two").attributes  # type: ignore[attr-defined]


def test_what_livekit_uploads_bears_the_scope_and_no_other_session_s_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in (
        (traces, "_resource"),
        (traces._MetadataSpanProcessor, "set_metadata"),
        (traces._MetadataLogProcessor, "set_metadata"),
        (JobContext, "_otel_metadata"),
        (_upstream_session._ToolExecutor, "execute"),
        (_upstream_session.upstream, "_BufferingHandler"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))
    _upstream_session.install()
    _upstream_session.install()
    job: Any = SimpleNamespace(simulation_context=lambda: None)
    assert inside(ADA, JobContext._otel_metadata, job) == {
        "greenroom.tenant": "acme",
        "greenroom.agent": "desk",
        "greenroom.session": "AJ_1",
    }
    assert JobContext._otel_metadata(job) is None
    told = {"job_id": "AJ_1", "room_id": "RM_1", "lk.agent_name": "desk", "service.name": "livekit-agents"}
    assert {*told} & {*traces._resource(told).attributes} == {"service.name"}
    stamping = traces._MetadataSpanProcessor()
    stamping.set_metadata(told)
    span: Any = TracerProvider().get_tracer("x").start_span("nobody's")
    stamping.on_start(span)
    assert not span.attributes
    kept = [inside(scope, _upstream_session.upstream._BufferingHandler) for scope in (ADA, BOB)]
    for scope in (ADA, BOB):
        record = logging.makeLogRecord({"msg": scope.session})
        for handler in kept:
            inside(scope, handler.emit, record)
    assert [[record.msg for record in handler.buffer] for handler in kept] == [["AJ_1"], ["AJ_2"]]
