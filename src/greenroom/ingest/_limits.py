"""How much may be uploaded: sizes, a rate for each key, and memory for what is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, TypeAlias

import msgspec

from greenroom.config import Count, Seconds
from greenroom.ingest._errors import UploadBusyError, UploadRateError

_Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]


class IngestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of uploads. Sizes are bytes.

    :param batch: of a batch of spans, logs or metrics as sent; ``inflated`` once decompressed.
    :param recording: of the audio of one session; ``history`` of its conversation.
    :param rate: uploads a second for each API key, after the first ``burst``.
    :param memory: held for batches under way; further ones wait ``patience`` seconds, then are told to come again.
        As much again for conversations that come with recordings.
    :param uploads: recordings under way; further ones wait ``queue`` seconds, then are told to come again.
    :param idle: seconds a batch may take, or a recording may stand still, until it is given up.
    """

    batch: Count = 8 * 1024 * 1024
    inflated: Count = 16 * 1024 * 1024
    recording: Count = 512 * 1024 * 1024
    history: Count = 8 * 1024 * 1024
    rate: _Rate = 1000.0
    burst: Count = 5000
    memory: Count = 64 * 1024 * 1024
    uploads: Count = 100
    patience: Seconds = 5.0
    queue: Seconds = 60.0
    idle: Seconds = 60.0


class Rates:
    """A token bucket for each key; pure, time is given."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> None:
        """Count one upload. Raises :class:`UploadRateError` when it is one too many."""
        level, at = self._buckets.get(key, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - at) * self._rate)
        if level < 1:
            self._buckets[key] = (level, now)
            wait = max(1.0, (1 - level) / self._rate)
            raise UploadRateError(
                f"API key '{key}' uploads more than {self._rate:g} times a second",
                fix="Try again later, or raise the limit",
                retry_after=wait,
            )
        self._buckets[key] = (level - 1, now)


class Budget:
    """A quantity that uploads share, in order of arrival."""

    def __init__(self, total: int, patience: float) -> None:
        self._free = self._total = total
        self._patience = patience
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def take(self, amount: int) -> AsyncIterator[None]:
        """Hold so much of it. Raises :class:`UploadBusyError` after waiting in vain.

        Everything an upload will need is taken at once, so that two never wait for each other.
        """
        amount = min(amount, self._total)
        if self._waiting or amount > self._free:
            await self._wait(amount)
        else:
            self._free -= amount
        try:
            yield
        finally:
            self._give(amount)

    async def _wait(self, amount: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (amount, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give(amount)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._give(0)
            if isinstance(error, TimeoutError):
                raise UploadBusyError("Too many uploads are under way", fix="Try again later") from None
            raise

    def _give(self, amount: int) -> None:
        self._free += amount
        while self._waiting and self._waiting[0][0] <= self._free:
            taken, turn = self._waiting.popleft()
            if turn.done():
                continue
            self._free -= taken
            turn.set_result(None)


class Allowance:
    """Memory that is taken bit by bit, with no waiting: who holds some must not wait for more."""

    def __init__(self, total: int) -> None:
        self._free = total

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes so much more, and raises :class:`UploadBusyError` when there is none."""
        held = 0

        def take(amount: int) -> None:
            nonlocal held
            if amount > self._free:
                raise UploadBusyError("Too many conversations are under way", fix="Try again later")
            self._free -= amount
            held += amount

        try:
            yield take
        finally:
            self._free += held
