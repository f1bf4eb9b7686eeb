"""To whom CPU and memory are put down, by clocks and readings of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from greenroom.pool._model import Spent
from greenroom.pool.context import Scope
from greenroom.pool.shard._spent import Meter, Readings
from greenroom.pool.shard._stall import TICK, Lateness

pytestmark = pytest.mark.unit

MS = 1_000_000
MIB = 1 << 20
ADA = Scope(session="ada", agent="a", tenant="t")
BOB = Scope(session="bob", agent="a", tenant="t")


class Machine(Readings):
    """A process that does what it is told and nothing else."""

    def __init__(self) -> None:
        self.time = 0
        self.mine = 0
        self.all = 0
        self.memory = 100 * MIB

    def works(self, nanoseconds: int, *, memory: int = 0) -> None:
        self.time += nanoseconds
        self.mine += nanoseconds
        self.all += nanoseconds
        self.memory += memory

    def now(self) -> float:
        return self.time / 1e9

    def thread(self) -> int:
        return self.mine

    def process(self) -> int:
        return self.all

    def faults(self) -> tuple[int, int]:
        return self.memory // 4096, self.memory // 4096

    def private(self) -> int:
        return self.memory

    def resident(self) -> int:
        return self.memory


class Bench:
    """A meter over such a machine, and callbacks as a loop would run them."""

    def __init__(self, *scopes: Scope) -> None:
        self.machine = Machine()
        self.meter = Meter(10.0, self.machine)
        for scope in scopes:
            self.meter.open(scope)

    def run(self, scope: Scope | None, work: Callable[[], Any]) -> None:
        account = self.meter.account(scope)
        if account.probe:
            account.probe -= 1
            if not account.probe:
                self.meter.probe(work, (), account)
                return
        started = self.machine.time
        work()
        took = self.machine.time - started
        if took < self.meter.long:
            account.cpu += took
        else:
            self.meter.was_long(account, took)

    def sleeps(self, nanoseconds: int) -> None:
        self.machine.time += nanoseconds

    def spent(self) -> dict[str, Spent]:
        return {each.job_id: each for each in self.meter.beat()[1]}


def test_who_works_has_the_share_and_who_waits_has_none() -> None:
    bench = Bench(ADA, BOB)
    for _ in range(100):
        bench.run(ADA, lambda: bench.machine.works(5 * MS))
        bench.run(BOB, lambda: bench.machine.works(MS // 100))
        bench.sleeps(5 * MS)
        bench.meter.tick()
    spent = bench.spent()
    assert spent["ada"].cpu == pytest.approx(0.5, rel=0.01)
    assert spent["bob"].cpu == pytest.approx(0.001, rel=0.05)


def test_who_only_blocks_has_used_no_cpu() -> None:
    bench = Bench(ADA)
    bench.run(ADA, lambda: None)
    bench.meter.tick()
    bench.run(ADA, lambda: bench.sleeps(1000 * MS))
    assert bench.spent()["ada"].cpu == pytest.approx(0.0, abs=0.001)


def test_what_belongs_to_nobody_is_shared() -> None:
    bench = Bench(ADA, BOB)
    bench.machine.all += 400 * MS
    bench.run(ADA, lambda: bench.machine.works(100 * MS))
    bench.sleeps(900 * MS)
    spent = bench.spent()
    assert spent["ada"].cpu == pytest.approx(0.3)
    assert spent["bob"].cpu == pytest.approx(0.2)


def test_the_share_is_of_the_window_and_not_of_all_time() -> None:
    bench = Bench(ADA)
    for second in range(60):
        work = 800 * MS if second >= 40 else 0
        bench.run(ADA, partial(bench.machine.works, work))
        bench.sleeps(1000 * MS - work)
        bench.meter.tick()
        spent = bench.spent()
    assert spent["ada"].cpu == pytest.approx(0.8, rel=0.01)


def test_a_closed_session_leaves_nothing_to_the_others() -> None:
    bench = Bench(ADA, BOB)
    bench.run(ADA, lambda: bench.machine.works(500 * MS))
    bench.meter.close(ADA)
    bench.sleeps(500 * MS)
    assert bench.spent() == {"bob": Spent(job_id="bob", cpu=0.0, memory=0)}


def test_memory_is_put_down_to_who_gained_it_at_once() -> None:
    bench = Bench(ADA, BOB)
    bench.run(ADA, lambda: bench.machine.works(50 * MS, memory=200 * MIB))
    bench.run(BOB, lambda: bench.machine.works(MS // 10))
    spent = bench.spent()
    assert spent["ada"].memory == 200 * MIB
    assert spent["bob"].memory == 0


def test_memory_that_grows_bit_by_bit_is_put_down_to_who_grows_among_others_who_are_busy() -> None:
    bench = Bench(ADA, BOB)
    for number in range(20_000):
        bench.run(ADA, lambda: bench.machine.works(MS // 20, memory=10 * 1024))
        bench.run(BOB, lambda: bench.machine.works(MS // 20))
        if number % 50 == 0:
            bench.meter.tick()
        if number % 500 == 0:
            spent = bench.spent()
    spent = bench.spent()
    assert spent["ada"].memory == pytest.approx(20_000 * 10 * 1024, rel=0.15)
    assert spent["bob"].memory < 0.05 * spent["ada"].memory


def test_work_on_a_thread_is_its_session_s() -> None:
    bench = Bench(ADA, BOB)
    bench.meter.run_in_thread(bench.meter.account(ADA), lambda: bench.machine.works(300 * MS, memory=30 * MIB))
    bench.sleeps(700 * MS)
    spent = bench.spent()
    assert spent["ada"] == Spent(job_id="ada", cpu=pytest.approx(0.3), memory=30 * MIB)
    assert spent["bob"].memory == 0


class Times:
    """A loop and its watcher on one clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0
        self.lateness = Lateness(0.0)

    def look(self, *, after: float = TICK, busy: float = 0.0) -> float:
        self.now += after
        self.used += busy
        return self.lateness.looked(self.now, self.used)


def test_a_loop_that_turns_is_not_late() -> None:
    times = Times()
    for _ in range(10):
        assert times.look() == pytest.approx(0.0)
        assert times.lateness.ticked(times.now) == pytest.approx(0.0)


def test_a_loop_that_stands_is_late_by_as_long() -> None:
    times = Times()
    seen = [times.look() for _ in range(6)]
    assert seen[-1] == pytest.approx(5 * TICK)
    assert times.lateness.ticked(times.now) == pytest.approx(5 * TICK)


def test_when_the_process_got_no_time_it_is_nobody_s_stall() -> None:
    times = Times()
    assert times.look(after=2.0) == pytest.approx(0.0, abs=1e-6)


def test_when_native_code_kept_every_thread_from_running_it_is_a_stall() -> None:
    times = Times()
    assert times.look(after=2.0, busy=1.9) == pytest.approx(2.0 - TICK)
