"""Whatever a report or a conversation holds: it goes into the log and comes out as a session, or it is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import metrics

from greenroom.eventlog import BlobRef, Record
from greenroom.eventlog._events import decode, encode, type_of
from greenroom.ingest import UploadInvalidError
from greenroom.ingest._facts import Told, logs_of, spans_of
from greenroom.ingest._otlp import decode_logs, decode_spans
from greenroom.ingest._recording import Recording, told_by
from greenroom.sessions import load_prices, seconds, step, transcript, view
from support.otlp import JOB, ROOM, START, Logs, Spans

pytestmark = pytest.mark.unit

BLOB = BlobRef(hash="a" * 64, size=1)


def json_of(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | numbers | st.text(max_size=10)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=10,
    )


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats()
any_json = json_of(numbers | st.integers())
fields = st.sampled_from(
    [*("options", "usage", "tags", "errors", "timestamp", "duration_ms"), *("user_turns", "close_reason", "room")]
)
item_fields = st.sampled_from(
    [*("id", "type", "role", "content", "metrics", "created_at"), *("call_id", "arguments", "output", "new_agent_id")]
)
kinds = st.sampled_from(["message", "function_call", "function_call_output", "agent_handoff", "agent_config_update"])


def items_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({"type": kinds, "id": st.text(min_size=1, max_size=3)})
    return st.builds(lambda other, sure: {**other, **sure}, st.dictionaries(item_fields, values, max_size=6), known)


def goes_through(told: list[Told]) -> None:
    """Take payloads the whole way: written, read, projected, answered."""
    state = None
    for position, each in enumerate(told, 1):
        known = type_of(each.data)
        record = Record(
            position=position,
            tenant="",
            stream=f"session:{JOB}",
            seq=position,
            type=known.name,
            version=1,
            at=seconds(each.at) or 0.0,
            recorded_at=START,
            key="",
            data=decode(known.name, 1, encode(known, each.data)),
            hash=b"",
        )
        assert isinstance(record.data, type(each.data))
        state = step(state, record)
        assert state is not None
        restored = msgspec.json.decode(msgspec.json.encode(state), type=type(state))
        session = view(restored, None, load_prices())
        assert transcript(msgspec.json.decode(msgspec.json.encode(session), type=type(session)))


@given(st.dictionaries(fields, any_json, max_size=6), st.lists(items_of(any_json), max_size=4))
def test_the_end_of_a_session(summary: dict[str, Any], history: list[dict[str, Any]]) -> None:
    header = metrics.MetricsRecordingHeader(job_id=JOB, room_id=ROOM, session_summary=json.dumps(summary))
    with contextlib.suppress(UploadInvalidError):
        goes_through(told_by(Recording(header=header, history=json.dumps({"items": history}).encode())))


@given(st.dictionaries(fields, json_of(numbers), max_size=6), st.lists(items_of(json_of(numbers)), max_size=4))
def test_the_logs_of_a_session(summary: dict[str, Any], history: list[dict[str, Any]]) -> None:
    logs = Logs().add("session report", scope="chat_history", attributes={**summary, "session.options": summary})
    logs.add("tag", scope="evaluations", attributes={"tag": {"name": "t", "metadata": summary}})
    logs.add("evaluation", scope="evaluations", attributes={"evaluation": summary})
    for item in history:
        logs.item({item["type"]: item})
    for batch in decode_logs(logs.request.SerializeToString()).batches:
        goes_through(logs_of(batch, BLOB))


@given(st.dictionaries(st.sampled_from(["lk.speech_id", "lk.pii.user_input", "lk.e2e_latency"]), json_of(numbers)))
def test_the_spans_of_a_session(attributes: dict[str, Any]) -> None:
    batch = Spans()
    for name in ("agent_turn", "function_tool", "job_entrypoint"):
        batch.add(name, attributes={**attributes, "lk.function_tool.id": "call"})
    for decoded in decode_spans(batch.request.SerializeToString()).batches:
        goes_through(spans_of(decoded, BLOB))


def test_what_is_larger_than_an_event_is_cut() -> None:
    batch = Spans()
    long = "word " * 1000
    said = {"lk.pii.user_input": long, "lk.pii.response.text": long}
    for number in range(500):
        batch.add(
            "agent_turn", attributes={**said, "lk.speech_id": f"speech_{number}", "lk.participant_id": f"PA_{number}"}
        )
        batch.add("function_tool", attributes={"lk.function_tool.id": f"call_{number}"}, error=long)
    (decoded,) = decode_spans(batch.request.SerializeToString()).batches
    goes_through(spans_of(decoded, BLOB))
