"""The inference process: runs the models that the sessions of all shards share."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from greenroom.pool._wire import Beat, Infer, Inferred, Ready, Retire, ShardSettings, ToShard, to_shard
from greenroom.pool.shard._loop import finish, new_loop, run_through
from greenroom.pool.shard._pipe import LoopPipe
from greenroom.pool.shard._upstream_inference import make_runners

logger = logging.getLogger("greenroom.pool")

_FIX: Final = "Run: python -m livekit.agents download-files"


class Inference:
    """Answers, each question on a thread: a model lets go of the interpreter while it computes."""

    def __init__(self, settings: ShardSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._loop = loop
        self._runners: dict[str, Any] = {}
        self._over = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._pipe: LoopPipe[ToShard] | None = None
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="inference")

    async def run(self, end: socket.socket) -> None:
        """Load the models, say whether all are there, and answer until retired or the supervisor is gone."""
        self._runners, broken = make_runners()
        problem = "; ".join(f"the model {method} cannot be loaded: {error}" for method, error in broken.items())
        self._pipe = LoopPipe(end, to_shard, self._loop, self._hear, self._over.set)
        self._pipe.send(Ready(problem=f"{problem}. {_FIX}" if problem else ""))
        beating = self._loop.create_task(self._beat(self._pipe))
        await self._over.wait()
        beating.cancel()
        for task in self._answering:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pipe.close()

    async def _beat(self, pipe: LoopPipe[ToShard]) -> None:
        while True:
            pipe.send(Beat())
            await asyncio.sleep(self._settings.beat)

    def _hear(self, message: ToShard) -> None:
        match message:
            case Infer():
                task = self._loop.create_task(self._answer(message))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case Retire():
                self._over.set()
            case _:
                told = type(message).__name__
                logger.error("the inference process was told what only others do", extra={"told": told})

    async def _answer(self, question: Infer) -> None:
        runner = self._runners.get(question.method)
        data, problem = None, ""
        if runner is None:
            problem = f"the model {question.method} is not loaded"
        else:
            try:
                data = await self._loop.run_in_executor(self._threads, runner.run, question.data)
            except Exception as error:
                logger.exception("a shared model failed", extra={"method": question.method})
                problem = f"{type(error).__name__}: {error}"
        if self._pipe is not None:
            self._pipe.send(Inferred(number=question.number, shard=question.shard, data=data, problem=problem))


def run_inference(end: socket.socket, settings: ShardSettings) -> None:
    """Be the inference process, until retired."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        run_through(loop, Inference(settings, loop).run(end))
    finally:
        finish(loop)
