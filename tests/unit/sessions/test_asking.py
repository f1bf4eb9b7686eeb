"""Searching sessions, ranges of recordings, costs, and peaks as they are stored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import ConfigError
from greenroom.eventlog import BlobRef, Record
from greenroom.sessions import (
    ChatHistory,
    ChatItem,
    Price,
    PriceTable,
    QueryError,
    SeenParticipant,
    SessionQuery,
    SessionReport,
    SpansStored,
    Usage,
    cost_of,
    load_prices,
    query_of,
)
from greenroom.sessions._peaks import waveform
from greenroom.sessions._ranges import Range, Unsatisfiable, range_of
from greenroom.sessions._reader import Reader
from greenroom.sessions._store import Store
from support.otlp import START

pytestmark = pytest.mark.unit


class Shelf:
    """Some sessions in tables, an hour apart."""

    def __init__(self, path: Path) -> None:
        self.path = path / "sessions.db"
        self._store = Store(self.path, load_prices())
        self._position = 0
        self.reader = Reader(self.path)

    def add(self, number: int, *told: msgspec.Struct) -> None:
        at = START + 3600 * number
        self.tell(number, SessionReport(started_at=at, reported_at=at + 60, room_name=f"room-{number}"), *told)

    def tell(self, number: int, *told: msgspec.Struct) -> None:
        for data in told:
            self._position += 1
            record = Record(
                position=self._position,
                tenant="",
                stream=f"session:AJ_{number:08}",
                seq=self._position,
                type=type(data).__name__,
                version=1,
                at=START,
                recorded_at=START,
                key="",
                data=data,
                hash=b"",
            )
            self._store.apply([record], self._position)

    def find(self, **query: object) -> list[int]:
        page = self.reader.search(msgspec.convert(query, SessionQuery))
        return [int(summary.id.removeprefix("AJ_")) for summary in page.sessions]

    def close(self) -> None:
        self.reader.close()
        self._store.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def said(text: str) -> ChatHistory:
    return ChatHistory(items=(ChatItem(id=f"item {text}", kind="message", role="user", text=text, at=START),))


def test_each_field_finds_what_it_names(shelf: Shelf) -> None:
    shelf.add(1, SessionReport(agent_name="desk", tags=("vip", "late")))
    shelf.add(2, SpansStored(blob=_ref(), count=1, participants=(SeenParticipant(sid="PA_1", identity="ada"),)))
    shelf.add(3, said("Where is the Café?"))
    assert shelf.find() == [3, 2, 1]
    assert shelf.find(id="AJ_00000003") == [3]
    assert shelf.find(id="AJ_0000") == [3, 2, 1]
    assert shelf.find(id="AJ_1") == shelf.find(id="_%") == []
    assert shelf.find(agent="desk") == [1]
    assert shelf.find(room="room-2") == [2]
    assert shelf.find(participant="ada") == [2]
    assert shelf.find(tag="vip") == [1]
    assert shelf.find(tag="vi") == []
    assert shelf.find(since=START + 7200) == [3, 2]
    assert shelf.find(until=START + 7200) == [1]
    assert shelf.find(text="cafe where") == [3]
    assert shelf.find(text="whe") == [3]
    assert shelf.find(text="cafe missing") == []
    assert shelf.find(status="ended", outcome="none", errors=False, recording=False) == [3, 2, 1]
    assert shelf.find(min_latency=0.1) == []
    shelf.close()


def test_what_is_no_longer_said_is_no_longer_found(shelf: Shelf) -> None:
    shelf.add(1, said("secret"))
    assert shelf.find(text="secret") == [1]
    shelf.tell(1, SessionReport(redacted=True))
    assert shelf.find(text="secret") == []
    shelf.close()


@pytest.mark.parametrize("text", ["a OR b", "NEAR(a b)", "a*b", "col:a", "'; DROP TABLE session", '"a', "-a"])
def test_words_are_words_and_no_language(shelf: Shelf, text: str) -> None:
    shelf.add(1, said("nothing of this"))
    assert shelf.find(text=text) == []
    shelf.close()


def test_pages_hold_every_session_once_while_others_come(shelf: Shelf) -> None:
    for number in range(25):
        shelf.add(number)
    found: list[str] = []
    after = ""
    for extra in range(100, 120):
        page = shelf.reader.search(SessionQuery(limit=4, after=after))
        found += [summary.id for summary in page.sessions]
        after = page.next
        if not after:
            break
        shelf.add(extra)
    assert found == [f"AJ_{number:08}" for number in reversed(range(25))]
    shelf.close()


@pytest.mark.parametrize(
    "given",
    [
        [("limit", "0")],
        [("limit", "201")],
        [("limit", "many")],
        [("since", "nan")],
        [("since", "yesterday")],
        [("errors", "maybe")],
        [("colour", "red")],
        [("text", '"(')],
        [("after", "%%%")],
        [("after", "bm90IGEgcGxhY2U")],
    ],
)
def test_what_cannot_be_asked_is_said(shelf: Shelf, given: list[tuple[str, str]]) -> None:
    with pytest.raises(QueryError):
        shelf.reader.search(query_of(given))
    shelf.close()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=0-", Range(0, 100)),
        ("bytes=10-19", Range(10, 20)),
        ("bytes=90-500", Range(90, 100)),
        ("bytes=-10", Range(90, 100)),
        ("bytes=-500", Range(0, 100)),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_ranges_are_read_as_http_says(header: str, expected: Range | None) -> None:
    assert range_of(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_past_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        range_of(header, 100)


TABLE = PriceTable(
    version="1",
    currency="EUR",
    prices=(
        Price(
            kind="llm",
            providers=("openai",),
            model="gpt",
            input_tokens_1m=2.0,
            input_cached_tokens_1m=0.5,
            output_tokens_1m=8.0,
        ),
        Price(kind="tts", providers=("voice",), model="v1", characters_1m=30.0),
        Price(kind="stt", providers=("ear",), model="e1", audio_minute=0.006),
    ),
)


def used(kind: str, provider: str, model: str, **amounts: float) -> Usage:
    return Usage(kind=kind, provider=provider, model=model, amounts=amounts)


def test_a_cost_is_the_sum_of_what_was_used() -> None:
    usage = [
        used(
            "llm", "OpenAI", "gpt-2025-04-14", input_tokens=1_000_000, input_cached_tokens=500_000, output_tokens=1000
        ),
        used("tts", "voice", "v1", characters_count=1000, audio_duration=60),
        used("stt", "ear", "e1", audio_duration=120),
    ]
    cost = cost_of(usage, TABLE)
    assert cost.amount == pytest.approx(1.0 + 0.25 + 0.008 + 0.03 + 0.012)
    assert (cost.currency, cost.price_table) == ("EUR", "1")


def test_an_unknown_price_is_unknown_and_what_is_known_is_told() -> None:
    usage = [used("tts", "voice", "v1", characters_count=1000), used("llm", "other", "m", input_tokens=5)]
    cost = cost_of(usage, TABLE)
    assert (cost.amount, cost.known) == (None, 0.03)
    assert [line.cost for line in cost.lines] == [None, 0.03]


def test_what_a_table_does_not_price_is_unknown() -> None:
    spoken = used("llm", "openai", "gpt", input_tokens=10, input_audio_tokens=10)
    assert cost_of([spoken], TABLE).amount is None
    assert cost_of([used("llm", "openai", "gpt-mini", input_tokens=10)], TABLE).amount is None


def test_unknown_usage_has_no_cost_and_no_usage_costs_nothing() -> None:
    assert cost_of(None, TABLE).amount is None
    assert cost_of([used("llm", "other", "m", input_tokens=0)], TABLE).amount == 0


def test_a_table_of_ones_own_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(msgspec.json.encode(TABLE))
    assert load_prices(path) == TABLE
    path.write_text('{"version": 1}')
    with pytest.raises(ConfigError, match="no price table"):
        load_prices(path)
    with pytest.raises(ConfigError, match="Cannot read"):
        load_prices(tmp_path / "missing.json")


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=300), st.integers(1, 400))
def test_fewer_peaks_are_the_loudest_of_more(values: list[tuple[int, int]], buckets: int) -> None:
    data = bytes((2, 1)) + bytes(value for pair in values for value in pair)
    found = waveform(data, buckets)
    assert found.duration == pytest.approx(len(values) / 50)
    for channel in range(2):
        own = [pair[channel] for pair in values]
        assert len(found.channels[channel]) == min(buckets, len(own))
        assert max(found.channels[channel], default=0) == pytest.approx(max(own, default=0) / 255, abs=0.001)


def _ref() -> BlobRef:
    return BlobRef(hash="a" * 64, size=1)
