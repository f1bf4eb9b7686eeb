"""The projection: what is known of a call does not depend on the order or the number of times it was told."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.eventlog import BlobRef, Raw, Record, StreamErased
from greenroom.sessions import (
    ChatHistory,
    ChatItem,
    EvaluationRecorded,
    LogsStored,
    MetricsStored,
    OutcomeRecorded,
    RecordingStored,
    SeenError,
    SeenJob,
    SeenParticipant,
    SeenTool,
    Session,
    SessionReport,
    SpansStored,
    TagAdded,
    Usage,
    item_of,
    load_prices,
    step,
    step_room,
    view,
)
from greenroom.sessions._store import Store
from support.otlp import JOB, ROOM, START, as_protocol, conversation

pytestmark = pytest.mark.unit

SESSION = f"session:{JOB}"
LLM = Usage(kind="llm", provider="openai", model="gpt-4.1-mini", amounts={"input_tokens": 1000.0})


def ref(letter: str) -> BlobRef:
    return BlobRef(hash=letter * 64, size=10)


def items(*, protocol: bool = False) -> tuple[Any, ...]:
    raw = [as_protocol(item) if protocol else item for item in conversation()]
    return tuple(item for each in raw if (item := item_of(each)) is not None)


def observed(kind: str, **fields: Any) -> tuple[str, Raw]:
    return kind, Raw(msgspec.json.encode(fields))


TOLD: list[Any] = [
    SpansStored(
        blob=ref("a"),
        count=3,
        first_at=START,
        last_at=START + 60,
        room_id=ROOM,
        agent_name="front-desk",
        participants=(SeenParticipant(sid="PA_1", identity="ada", kind="standard"),),
        tools=(SeenTool(call_id="call_1", name="check", started_at=START + 5.4, duration=0.1),),
        errors=(SeenError(at=START + 7, where="tts_request", message="timeout"),),
        job=SeenJob(started_at=START - 1, ended_at=START + 61, worker_id="AW_1"),
        room_name="lobby",
        heard=(ChatItem(id="speech_1/user", kind="message", role="user", text="is it Friday", at=START + 5),),
    ),
    SpansStored(blob=ref("b"), count=1, participants=(SeenParticipant(sid="PA_2", identity="bot", kind="agent"),)),
    LogsStored(blob=ref("c"), count=2, errors=(SeenError(at=START + 8, where="app", message="oh"),)),
    MetricsStored(blob=ref("d"), count=1, usage=(LLM,)),
    MetricsStored(blob=ref("e"), count=1, usage=(LLM,)),
    ChatHistory(items=items()),
    ChatHistory(items=items(protocol=True)[:4]),
    SessionReport(
        room_id=ROOM,
        room_name="lobby",
        reported_at=START + 60,
        duration=60.0,
        tags=("vip",),
        close_reason="participant_disconnected",
        errors={"tts": 1},
    ),
    SessionReport(started_at=START, agent_name="front-desk", sdk_version="1.8.9", options={"deep": {"a": 1}}),
    RecordingStored(blob=ref("f"), started_at=START, duration=60.0),
    EvaluationRecorded(name="tone", verdict="pass"),
    TagAdded(name="vip", metadata={"since": 2020}),
    OutcomeRecorded(outcome="success"),
    observed("item.added", message=as_protocol(conversation()[2])),
    observed(
        "tools.executed",
        message={
            "function_calls": [{"call_id": "call_1", "name": "check", "arguments": '{"day": "Friday"}'}],
            "function_call_outputs": [{"call_id": "call_1", "name": "check", "output": "yes"}],
        },
    ),
    observed("tool.updated", message={"ended": {"id": "call_1", "call_id": "call_1", "message": "yes"}}),
    observed("usage.updated", message={"model_usage": [{"llm": {"provider": "openai", "input_tokens": "900"}}]}),
    observed("agent.state", state="speaking"),
    observed("session.error", text="it broke"),
    observed("control.say", by="grace"),
]


def records(told: list[Any], stream: str = SESSION, first: int = 1) -> list[Record]:
    found = []
    for position, each in enumerate(told, first):
        kind, data = each if isinstance(each, tuple) else (type(each).__name__, each)
        found.append(
            Record(
                position=position,
                tenant="",
                stream=stream,
                seq=position,
                type=kind,
                version=1,
                at=START + TOLD.index(each) if each in TOLD else START,
                recorded_at=START,
                key="",
                data=data,
                hash=b"",
            )
        )
    return found


def seen(told: list[Any]) -> Session:
    state = None
    for record in records(told):
        state = step(state, record)
    assert state is not None
    return view(state, None, load_prices())


def fields(session: Session) -> Any:
    found = msgspec.to_builtins(session)
    for control in found["controls"]:
        control["at"] = 0
    return found


def test_a_call_is_told_whole() -> None:
    session = seen(TOLD)
    summary = session.summary
    assert (summary.id, summary.status, summary.room.name, summary.agent.name) == (JOB, "ended", "lobby", "front-desk")
    assert [each.identity for each in summary.participants] == ["ada", "bot"]
    assert (summary.turns, summary.tools, summary.interruptions, summary.errors) == (2, 1, 1, 3)
    assert (summary.started_at, summary.ended_at) == (START, START + 61)
    assert summary.outcome is not None
    assert summary.outcome.outcome == "success"
    assert session.tags[0].metadata == {"since": 2020}
    turn = session.turns[1]
    assert turn.user is not None
    assert (turn.user.text, turn.agent[0].text, turn.agent[0].interrupted) == (
        "is Friday free",
        "Friday is free.",
        True,
    )
    assert (turn.tools[0].name, turn.tools[0].result, turn.tools[0].duration) == ("check", "yes", 0.1)
    latency = turn.latency
    assert (latency.stt, latency.end_of_turn, latency.llm_first_token) == (0.2, 0.6, 0.4)
    assert (latency.tts_first_byte, latency.e2e, latency.e2e_derived) == (0.15, 1.4, False)


@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_order_and_repetition_change_nothing(chance: random.Random, repeated: int) -> None:
    told = TOLD + TOLD[:repeated]
    chance.shuffle(told)
    assert fields(seen(told)) == fields(seen(TOLD))


def test_a_live_call_becomes_an_ended_one() -> None:
    live = seen([observed("session.observed", reason="always", agent_identity="bot"), *TOLD[13:14]])
    assert (live.summary.status, live.summary.agent.identity, live.summary.turns) == ("live", "bot", 1)
    assert seen(TOLD).summary.status == "ended"


def test_spans_tell_of_the_conversation_until_somebody_tells_the_conversation_itself() -> None:
    provisional = seen(TOLD[:2])
    assert provisional.provisional
    assert [turn.user.text for turn in provisional.turns if turn.user] == ["is it Friday"]
    assert not seen(TOLD).provisional
    assert [turn.user.text for turn in seen(TOLD).turns if turn.user] == ["is Friday free"]


def test_usage_is_added_up_until_the_report_tells_it() -> None:
    metered = seen([each for each in TOLD if isinstance(each, MetricsStored)])
    assert metered.cost.lines[0].amounts == {"input_tokens": 2000.0}
    reported = seen([*TOLD, SessionReport(usage=(LLM,))])
    assert reported.cost.lines[0].amounts == {"input_tokens": 1000.0}


def test_redaction_takes_out_what_any_source_said_before_or_after() -> None:
    redacted = SessionReport(redacted=True)
    for told in ([redacted, *TOLD], [*TOLD, redacted]):
        session = seen(told)
        texts = [said.text for turn in session.turns for said in (turn.user, *turn.agent) if said]
        results = [tool.result for turn in session.turns for tool in turn.tools]
        assert [text for text in texts + results if text] == []


def test_an_erased_session_is_forgotten() -> None:
    state = None
    for record in records([*TOLD, StreamErased(through_seq=18, events=18, reason="asked")]):
        state = step(state, record)
    assert state is None


def test_errors_that_never_end_are_kept_from_the_first() -> None:
    errors = tuple(SeenError(at=START + n, where="app", message=str(n)) for n in range(300))
    backwards = [LogsStored(blob=ref("a"), count=1, errors=errors[n : n + 30]) for n in range(270, -1, -30)]
    assert [error.message for error in seen(backwards).errors] == [str(n) for n in range(200)]


def test_webhooks_tell_who_was_there() -> None:
    who = {"sid": "PA_1", "identity": "ada", "name": "Ada", "kind": "SIP", "joinedAt": "1795000001"}
    room = {"sid": ROOM, "name": "lobby", "creationTime": "1795000000"}
    hidden = {"sid": "PA_2", "identity": "observer", "permission": {"hidden": True}}
    told = [
        observed("participant.joined", message={"room": room, "participant": who}),
        observed("participant.joined", message={"room": room, "participant": hidden}),
        observed("participant.left", message={"room": room, "participant": who}),
        observed("room.finished", message={"room": room}),
    ]
    state = None
    for record in records(told, f"room:{ROOM}"):
        state = step_room(state, record)
    assert state is not None
    session = step(None, records([SpansStored(blob=ref("a"), count=1, room_id=ROOM)])[0])
    assert session is not None
    summary = view(session, state, load_prices()).summary
    (found,) = summary.participants
    assert found.sid == "PA_1"
    assert (found.identity, found.name, found.kind, found.joined_at) == ("ada", "Ada", "sip", START + 1)
    assert (summary.room.name, summary.status) == ("lobby", "ended")


def dump(path: Path) -> dict[str, Any]:
    """Return everything the tables hold."""
    rows_of = ("session", "words")
    tables = [f"rowid, * FROM {name}" for name in rows_of]
    tables += [f"* FROM {name}" for name in ("room", "participant", "tag", "recording", "meta")]
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = {
            table: db.execute(f"SELECT {table}").fetchall() for table in (*tables, "* FROM recording", "* FROM meta")
        }
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


streams = st.sampled_from([SESSION, "session:AJ_other1234", f"room:{ROOM}", "system:greenroom"])
room_event = observed("room.finished", message={"room": {"sid": ROOM, "name": "lobby"}})
happenings = st.lists(
    st.tuples(streams, st.sampled_from([*range(len(TOLD)), "room", "erase"]), st.booleans()), min_size=1, max_size=25
)


@settings(max_examples=40)
@given(happenings)
def test_rebuilt_equals_live_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, happened: list[Any]) -> None:
    path = tmp_path_factory.mktemp("live")
    live = Store(path / "live.db", load_prices())
    log: list[Record] = []
    pending: list[Record] = []
    for position, (stream, what, together) in enumerate(happened, 1):
        if what == "erase":
            # The log deletes the payloads of what came before, and says so.
            log = [msgspec.structs.replace(each, data=None) if each.stream == stream else each for each in log]
            told: Any = StreamErased(through_seq=position, events=1, reason="asked")
        else:
            told = room_event if what == "room" or stream.startswith("room") else TOLD[what]
        (record,) = records([told], stream, position)
        log.append(record)
        pending.append(record)
        if not together:
            live.apply(pending, position)
            pending = []
    live.apply(pending, len(log))
    live.close()
    rebuilt = Store(path / "rebuilt.db", load_prices())
    rebuilt.apply(log, len(log))
    rebuilt.close()
    assert dump(path / "live.db") == dump(path / "rebuilt.db")


def test_a_changed_price_table_makes_everything_anew(tmp_path: Path) -> None:
    prices = load_prices()
    first = Store(tmp_path / "sessions.db", prices)
    first.apply(records(TOLD), len(TOLD))
    assert first.position == len(TOLD)
    first.close()
    second = Store(tmp_path / "sessions.db", msgspec.structs.replace(prices, version="mine"))
    assert second.position == 0
    second.close()


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "sessions.db", load_prices())
    store.apply(records(TOLD), len(TOLD))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    store.close()


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(b"this is no database at all, not even nearly" * 100)
    store = Store(path, load_prices())
    assert store.position == 0
    store.close()
