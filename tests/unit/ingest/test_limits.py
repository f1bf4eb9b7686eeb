"""Rates and budgets of uploads."""

from __future__ import annotations

import asyncio

import pytest

from greenroom.ingest import UploadBusyError, UploadRateError
from greenroom.ingest._limits import Budget, Rates

pytestmark = pytest.mark.unit


def test_a_burst_passes_then_the_rate_holds_for_each_key() -> None:
    rates = Rates(2.0, 3)
    for _ in range(3):
        rates.take("one", 0.0)
    with pytest.raises(UploadRateError) as refused:
        rates.take("one", 0.0)
    assert refused.value.retry_after
    rates.take("two", 0.0)
    rates.take("one", 0.5)
    with pytest.raises(UploadRateError):
        rates.take("one", 0.5)


def test_a_clock_that_jumps_back_gives_nothing_away() -> None:
    rates = Rates(1.0, 1)
    rates.take("one", 100.0)
    with pytest.raises(UploadRateError):
        rates.take("one", 50.0)
    rates.take("one", 51.0)


async def test_who_waits_gets_what_is_given_back_in_order() -> None:
    budget = Budget(10, patience=30)
    order: list[str] = []

    async def use(name: str, amount: int, until: asyncio.Event) -> None:
        async with budget.take(amount):
            order.append(name)
            await until.wait()

    first, rest = asyncio.Event(), asyncio.Event()
    rest.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(use("first", 8, first))
        await asyncio.sleep(0)
        group.create_task(use("large", 9, rest))
        group.create_task(use("small", 1, rest))
        await asyncio.sleep(0)
        assert order == ["first"]
        first.set()
    assert order == ["first", "large", "small"]


async def test_who_waits_in_vain_is_told_and_takes_nothing() -> None:
    budget = Budget(10, patience=0.01)
    async with budget.take(10):
        with pytest.raises(UploadBusyError):
            async with budget.take(1):
                raise AssertionError("there was nothing to take")
    async with budget.take(10):
        pass


async def test_who_is_cancelled_takes_nothing() -> None:
    budget = Budget(10, patience=30)

    async def use() -> None:
        async with budget.take(5):
            raise AssertionError("there was nothing to take")

    async with budget.take(10):
        waiting = asyncio.create_task(use())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with budget.take(10):
        pass


async def test_more_than_there_is_takes_all() -> None:
    budget = Budget(10, patience=30)
    async with budget.take(1000):
        pass
