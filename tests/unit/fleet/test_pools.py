"""What a pool's reports mean: events for what changes, machines, and what is asked of the pool."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.fleet import (
    FleetState,
    Outside,
    PoolBook,
    PoolGoneError,
    PoolView,
    UnknownPoolError,
    view,
)
from greenroom.fleet._state import WorkersPart
from greenroom.link import WorkerInfo
from greenroom.reports import AgentReport, PoolSnapshot
from support.pool_reports import NOW, report, session, shard

pytestmark = pytest.mark.unit


def plain(event: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(event))


def told(*reports: PoolSnapshot, every: float = 5.0) -> list[tuple[str, dict[str, Any]]]:
    """Return the events after the first report."""
    book = PoolBook()
    events: list[Any] = []
    for number, each in enumerate(reports):
        events = [*events, *book.take(each, NOW + number * every)[1]] if number else []
        if not number:
            book.take(each, NOW)
    return [(type(each).__name__, plain(each)) for each in events]


def names(*reports: PoolSnapshot) -> list[str]:
    return [name for name, _ in told(*reports)]


def test_the_first_report_is_a_start_and_the_same_again_is_nothing() -> None:
    book = PoolBook()
    (start,) = book.take(report(), NOW)[1]
    assert plain(start) == {
        "instance": "pool-1",
        "machine": "basil",
        "pid": 99,
        "started_at": NOW - 60,
        "generation": 1,
        "max_sessions": 8,
        "shards": 2,
        "agents": ["front-desk"],
        "versions": {"livekit-agents": "1.8.9"},
    }
    assert [book.take(report(load=load), NOW + 5)[1] for load in (0.3, 0.9)] == [[], []]


def test_draining_and_stopping_are_told_once_each() -> None:
    draining = report(state="draining", sessions=(session(),))
    stopped = report(state="stopped", started=3, ended={"user": 3})
    assert told(report(), draining, draining, stopped, stopped) == [
        ("PoolDraining", {"instance": "pool-1", "machine": "basil", "sessions": 1}),
        ("PoolStopped", {"instance": "pool-1", "machine": "basil", "started": 3, "ended": {"user": 3}}),
    ]


def test_a_shard_that_died_is_told_with_the_calls_that_were_rescued() -> None:
    after = report(
        shards=(shard(0), shard(1, pid=777)), shards_lost=1, rescued=2, sessions=(session(rescues=1), session("AJ_2"))
    )
    assert told(report(sessions=(session(), session("AJ_2"))), after) == [
        ("PoolShardLost", {"instance": "pool-1", "machine": "basil", "shards": [1]}),
        ("PoolRescued", {"instance": "pool-1", "machine": "basil", "count": 2, "sessions": ["AJ_1"]}),
    ]


def test_new_code_in_service_is_told_and_its_shards_are_no_deaths() -> None:
    after = report(generation=2, shards=(shard(2, generation=2), shard(3, generation=2)))
    assert names(report(), after) == ["PoolReloaded"]


def test_a_file_that_does_not_enter_service_is_told_until_it_fails_otherwise() -> None:
    def failed(detail: str) -> PoolSnapshot:
        return report(agents=(AgentReport(name="a", dispatch="", source="/a.py", state="failed", detail=detail),))

    assert [fields["detail"] for _, fields in told(report(), failed("one"), failed("one"), failed("two"))] == [
        "one",
        "two",
    ]


def test_breakers_are_told_when_they_move() -> None:
    moves = told(
        report(), report(breakers={"acme/openai": "open"}), report(breakers={"acme/openai": "half_open"}), report()
    )
    assert [(fields["name"], fields["state"]) for _, fields in moves] == [
        ("acme/openai", "open"),
        ("acme/openai", "half_open"),
        ("acme/openai", "closed"),
    ]


class TestSilence:
    def test_three_missed_reports_are_a_loss_and_the_next_one_is_a_return(self) -> None:
        book = PoolBook()
        book.take(report(heartbeat=2.0, sessions=(session(),)), NOW)
        assert book.next() == NOW + 6
        assert book.expire(NOW + 5.9) == []
        (lost,) = book.expire(NOW + 6)
        assert plain(lost) == {
            "instance": "pool-1",
            "machine": "basil",
            "last_seen_at": NOW,
            "sessions": 1,
        }
        assert book.find("pool-1").lost
        assert book.expire(NOW + 7) == []
        (back,) = book.take(report(), NOW + 8)[1]
        assert type(back).__name__ == "PoolReturned"
        assert not book.find("pool-1").lost

    def test_who_has_stopped_is_not_missed_and_forgotten_after_ten_minutes(self) -> None:
        book = PoolBook()
        book.take(report(state="stopped"), NOW)
        assert book.expire(NOW + 599) == []
        assert len(book.views()) == 1
        book.expire(NOW + 601)
        assert book.views() == ()
        assert book.next() is None

    def test_a_pool_cannot_say_that_it_will_never_be_missed(self) -> None:
        book = PoolBook()
        book.take(report(heartbeat=1e9), NOW)
        assert len(book.expire(NOW + 900)) == 1

    def test_of_too_many_pools_the_oldest_are_forgotten(self) -> None:
        book = PoolBook()
        for number in range(1_001):
            book.take(report(instance=f"pool-{number}"), NOW + number)
        assert len(book.views()) == 1_000
        with pytest.raises(UnknownPoolError):
            book.find("pool-0")


class TestAsking:
    def test_a_drain_is_asked_for_until_it_is_seen(self) -> None:
        book = PoolBook()
        book.take(report(), NOW)
        assert book.ask("pool-1", "drain").asked == ("drain",)
        assert [book.take(report(), NOW + 5)[0].drain for _ in range(2)] == [True, True]
        assert not book.take(report(state="draining"), NOW + 10)[0].drain
        assert book.find("pool-1").asked == ()

    def test_a_reload_is_asked_for_once(self) -> None:
        book = PoolBook()
        book.take(report(), NOW)
        book.ask("pool-1", "reload")
        book.ask("pool-1", "reload")
        assert [book.take(report(), NOW + 5)[0].reload for _ in range(2)] == [True, False]

    def test_who_never_reported_or_is_gone_cannot_be_asked(self) -> None:
        book = PoolBook()
        with pytest.raises(UnknownPoolError):
            book.ask("pool-1", "drain")
        book.take(report(), NOW)
        book.expire(NOW + 60)
        with pytest.raises(PoolGoneError, match="is not heard of"):
            book.ask("pool-1", "drain")
        book.take(report(state="stopped"), NOW + 61)
        with pytest.raises(PoolGoneError, match="has stopped"):
            book.ask("pool-1", "reload")


class TestMachines:
    WORKER = WorkerInfo(id="AW_1", agent_name="front-desk", status="available", load=0.5)

    def seen(self, *, workers: bool = True, known: bool = True, **more: Any) -> Any:
        pool = PoolView(instance="pool-1", seen_at=NOW, report=report(), **more)
        part = WorkersPart(workers={"AW_1": self.WORKER} if workers else {})
        state = FleetState(calls={}, rooms={}, workers=part)
        return view(state, NOW + 1, Outside(workers_known=known, pools=(pool,)))

    def test_a_worker_of_a_pool_has_a_host_shards_and_memory(self) -> None:
        (machine,) = self.seen().machines
        assert (machine.worker, machine.pool, machine.host) == ("AW_1", "pool-1", "basil")
        assert (machine.shards, machine.memory, machine.memory_total) == (2, 100 << 20, 8 << 30)
        assert (machine.load, machine.name) == (0.5, "front-desk on basil (AW_1)")

    def test_where_the_server_does_not_tell_of_workers_the_pool_does(self) -> None:
        (machine,) = self.seen(workers=False, known=False).machines
        assert (machine.worker, machine.online, machine.load, machine.jobs) == ("AW_1", True, 0.25, 0)
        assert (machine.status, machine.version) == ("serving", "1.8.9")

    def test_a_lost_pool_is_a_reason_and_what_it_said_last_is_not_told_as_true(self) -> None:
        found = self.seen(workers=False, known=False, lost=True)
        assert [each.code for each in found.health.reasons] == ["pool_lost"]
        (machine,) = found.machines
        assert (machine.online, machine.load, machine.memory, machine.last_seen_at) == (False, None, None, NOW)
