"""The one place through which an event loop runs every callback, and what stands there to measure them.

asyncio's own loop runs handles. uvloop's are native, so there the callbacks themselves are replaced as they are
scheduled; what its transports call directly is not seen.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from asyncio import events
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, Final, Protocol

_handle: Final[Any] = events.Handle
_SCHEDULING: Final = {"call_soon": 0, "call_soon_threadsafe": 0, "call_later": 1, "call_at": 1}


class Measures(Protocol):
    """What is asked about callbacks.

    An account sums up the ``cpu`` that its callbacks took, in nanoseconds, and wants one of them looked at when its
    ``probe`` counts down to zero.

    :ivar nobody: the account of callbacks that belong to no session.
    :ivar long: nanoseconds from which a callback is told to :meth:`was_long`.
    """

    nobody: Any
    long: int

    @property
    def accounts(self) -> Mapping[Any, Any]:
        """The accounts by what the context variable holds; the same object always."""

    def wall(self) -> int:
        """Return a clock, in nanoseconds."""

    def probe(self, run: Callable[..., Any], arguments: tuple[Any, ...], account: Any) -> None:
        """Run a callback and look at it closely."""

    def was_long(self, account: Any, took: int) -> None:
        """Hear of a callback that took long."""


def probe() -> Iterator[str]:
    """Yield the name of each private part that is used and not there."""
    if not hasattr(events.Handle, "_run"):
        yield "asyncio.Handle._run"
    if "_context" not in events.Handle.__slots__:
        yield "asyncio.Handle._context"


def measure(loop: asyncio.AbstractEventLoop, by: Measures, scope: ContextVar[Any]) -> Callable[[], None]:
    """Have every callback of ``loop`` measured, and return what ends that."""
    if isinstance(loop, asyncio.BaseEventLoop):
        original = _handle._run
        _handle._run = _running_handles(original, by, scope)

        def undo() -> None:
            _handle._run = original

        return undo
    return _replace_scheduling(loop, _running_callbacks(by, scope))


# Two that are alike: a call more for each callback is what a shared part would cost.


def _running_handles(run: Callable[[Any], None], by: Measures, scope: ContextVar[Any]) -> Callable[[Any], None]:
    account_of, nobody, clock, long = by.accounts.get, by.nobody, by.wall, by.long

    def measured(handle: Any) -> None:
        account = account_of(handle._context.get(scope), nobody)
        if account.probe:
            account.probe -= 1
            if not account.probe:
                by.probe(run, (handle,), account)
                return
        started = clock()
        run(handle)
        took = clock() - started
        if took < long:
            account.cpu += took
        else:
            by.was_long(account, took)

    return measured


def _running_callbacks(by: Measures, scope: ContextVar[Any]) -> Callable[..., None]:
    account_of, nobody, clock, long, current = by.accounts.get, by.nobody, by.wall, by.long, scope.get

    def measured(callback: Callable[..., Any], *arguments: Any) -> None:
        account = account_of(current(), nobody)
        if account.probe:
            account.probe -= 1
            if not account.probe:
                by.probe(callback, arguments, account)
                return
        started = clock()
        callback(*arguments)
        took = clock() - started
        if took < long:
            account.cpu += took
        else:
            by.was_long(account, took)

    return measured


_CODES: Final[frozenset[CodeType]] = frozenset(
    code
    for function in (_running_handles, _running_callbacks)
    for code in function.__code__.co_consts
    if isinstance(code, CodeType)
)


def _replace_scheduling(loop: Any, measured: Callable[..., None]) -> Callable[[], None]:
    def replaced(name: str) -> Callable[..., Any]:
        schedule = getattr(loop, name)
        if not _SCHEDULING[name]:
            # Native, as what it stands for: what is scheduled most is scheduled so.
            return functools.partial(schedule, measured)

        def later(when: float, callback: Any, *arguments: Any, context: Any = None) -> Any:
            return schedule(when, measured, callback, *arguments, context=context)

        return later

    for name, function in {name: replaced(name) for name in _SCHEDULING}.items():
        setattr(loop, name, function)

    def undo() -> None:
        for name in _SCHEDULING:
            delattr(loop, name)

    return undo


def running(thread: int) -> tuple[FrameType | None, Any, int]:
    """Return a loop's thread's innermost frame, the account whose callback it runs, and what tells callbacks apart.

    The account is ``None`` when the thread runs none, or the loop is not measured.
    """
    innermost = frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code in _CODES:
            account = frame.f_locals.get("account")
            return innermost, account, account.cpu if account is not None else 0
        frame = frame.f_back
    return innermost, None, 0
