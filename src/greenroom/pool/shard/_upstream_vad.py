"""livekit-agents' own VAD, asked where its caller is: a window of it takes a hundredth of a millisecond.

Upstream gives each stream a thread and hands it a window 31 times a second. To hand it over and to be told of the
result costs twice what the model does, and more where threads sleep between or wait for the interpreter.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Final

from livekit.agents.inference import vad

_stream: Final[Any] = vad._VADStream


class AtOnce(Executor):
    """Runs what it is given at once, on the thread that gives it, which must be that of a running event loop.

    :meth:`submit` returns a future of that loop: one that is done is not waited for.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the outcome of ``fn`` in a future that is done."""
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def probe() -> Iterator[str]:
    """Yield the name of each private part that is used and not there."""
    if "executor" not in inspect.signature(_stream.__init__).parameters:
        yield "livekit.agents.inference.vad._VADStream(executor=)"


def install() -> Callable[[], None]:
    """Let streams that were given no threads ask the model at once, and return what ends that."""
    original = _stream.__init__
    at_once = AtOnce()

    def made(self: Any, parent: Any, options: Any, *, executor: Executor | None) -> None:
        original(self, parent, options, executor=at_once if executor is None else executor)

    _stream.__init__ = made

    def undo() -> None:
        _stream.__init__ = original

    return undo
