"""A registration with LiveKit: one WebSocket, connected again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final, Protocol

import websockets
from livekit.protocol import agent
from websockets.asyncio.client import ClientConnection, connect

from greenroom.config import ApiKey
from greenroom.errors import ConfigError, GreenroomError
from greenroom.pool.supervisor._messages import (
    Load,
    Post,
    Terms,
    agent_url,
    job_status,
    migration,
    registration,
    worker_status,
    worker_token,
)

_log = logging.getLogger("greenroom.pool")

STATUS_EVERY: Final = 2.5
_REGISTER_WITHIN: Final = 10.0
_PING_EVERY: Final = 30.0
_LAST_WORDS: Final = 1.0
_FIRST_DELAY: Final = 0.25
_MAX_DELAY: Final = 10.0
_MAX_MESSAGE: Final = 2 * 1024 * 1024
_GO_AWAY: Final = "the server asked its workers to go elsewhere"
_REFUSED: Final = frozenset({401, 403})


class Desk(Protocol):
    """Who answers what comes over a registration."""

    def received(self, link: Link, message: agent.ServerMessage) -> None:
        """A message of the server."""

    def lost(self, link: Link) -> None:
        """The connection is gone, and will be made again."""

    def jobs_of(self, link: Link) -> list[str]:
        """Return the ids of the jobs that run and came over the link."""
        ...


class Link:
    """One worker of LiveKit, as far as LiveKit knows.

    :param on_change: called when it is registered, and when it is not any more.
    """

    def __init__(
        self,
        number: int,
        post: Post,
        terms: Terms,
        desk: Desk,
        *,
        url: str,
        key: ApiKey,
        on_change: Callable[[], None],
    ) -> None:
        self.number = number
        self.post = post
        self.terms = terms
        self.worker_id = ""
        self.registered = asyncio.Event()
        #: Why it cannot be registered, as far as a person can mend it.
        self.problem: GreenroomError | None = None
        self.settled = asyncio.Event()
        self._desk = desk
        self._url = url
        self._key = key
        self._register = registration(post, terms)
        self._on_change = on_change
        self._socket: ClientConnection | None = None
        self._load = Load()
        self._told: Load | None = None
        self._outbox: asyncio.Queue[agent.WorkerMessage] = asyncio.Queue()
        self._failures = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def is_registered(self) -> bool:
        """Whether LiveKit knows the worker now."""
        return self.registered.is_set()

    def send(self, message: agent.WorkerMessage) -> None:
        """Send a message, now or, when it is about a job, once there is a connection again."""
        if self.is_registered or message.HasField("update_job"):
            self._outbox.put_nowait(message)

    def tell_load(self, load: Load) -> None:
        """Tell how busy it is; at once when anything of it has changed."""
        self._load = load
        if self.is_registered and load != self._told:
            self._told = load
            self._outbox.put_nowait(worker_status(load))

    async def close(self) -> None:
        """Disconnect for good, after what is queued. Idempotent."""
        if self.is_registered:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._outbox.join()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            why = await self._connected()
            was_registered, self._socket, self.worker_id = self.is_registered, None, ""
            self.registered.clear()
            if was_registered:
                self._failures = 0
                self._desk.lost(self)
                self._on_change()
            delay = backoff(self._failures)
            self._failures += 1
            _log.warning(
                "not connected to LiveKit",
                extra={"agent_name": self.post.dispatch, "url": self._url, "why": why, "retry_in": round(delay, 1)},
            )
            await asyncio.sleep(delay)

    async def _connected(self) -> str:
        """Be connected for as long as it lasts; return why it ended."""
        try:
            async with connect(
                agent_url(self._url),
                additional_headers={"Authorization": f"Bearer {worker_token(self._key)}"},
                ping_interval=_PING_EVERY,
                max_size=_MAX_MESSAGE,
                compression=None,
                open_timeout=_REGISTER_WITHIN,
                close_timeout=1.0,
            ) as socket:
                return await self._talk(socket)
        except websockets.InvalidStatus as error:
            status = error.response.status_code
            if status in _REFUSED:
                self._settle(
                    ConfigError(
                        f"LiveKit refuses the API key '{self._key.key}' ({status})",
                        fix="Use a key and secret of that server",
                        context={"url": self._url},
                    )
                )
            return f"HTTP status {status}"
        except (OSError, websockets.WebSocketException, TimeoutError) as error:
            return str(error) or type(error).__name__

    async def _talk(self, socket: ClientConnection) -> str:
        await socket.send(self._register.SerializeToString())
        async with asyncio.timeout(_REGISTER_WITHIN + 2.0):
            welcome = await _read(socket)
        if welcome is None or not welcome.HasField("register"):
            return "the server did not register the worker"
        self._welcomed(socket, welcome.register)
        sending = asyncio.create_task(self._send(socket))
        try:
            return await self._listen(socket)
        except websockets.ConnectionClosed as error:
            return f"closed by the server: {error.rcvd.reason if error.rcvd else 'no reason given'}"
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    def _welcomed(self, socket: ClientConnection, welcome: agent.RegisterWorkerResponse) -> None:
        self._socket = socket
        self.worker_id = welcome.worker_id
        _log.info(
            "registered with LiveKit",
            extra={
                "agent_name": self.post.dispatch,
                "type": agent.JobType.Name(self.post.job_type),
                "worker_id": self.worker_id,
                "url": self._url,
            },
        )
        # What was said about jobs while there was no connection comes after it is known whose they are.
        waiting = []
        while not self._outbox.empty():
            waiting.append(self._outbox.get_nowait())
            self._outbox.task_done()
        jobs = self._desk.jobs_of(self)
        if jobs:
            self._outbox.put_nowait(migration(jobs))
            for job_id in jobs:
                self._outbox.put_nowait(job_status(job_id, agent.JS_RUNNING))
        for message in waiting:
            self._outbox.put_nowait(message)
        self.registered.set()
        self._settle(None)
        self._told = None
        self.tell_load(self._load)
        self._on_change()

    async def _listen(self, socket: ClientConnection) -> str:
        while True:
            message = await _read(socket)
            if message is None:
                continue
            if message.HasField("go_away"):
                return _GO_AWAY
            try:
                self._desk.received(self, message)
            except Exception:
                # One message that cannot be dealt with must not leave the registration deaf to all others.
                _log.exception("a message of LiveKit could not be dealt with")

    async def _send(self, socket: ClientConnection) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(STATUS_EVERY):
                        message = await self._outbox.get()
                except TimeoutError:
                    await socket.send(worker_status(self._load).SerializeToString())
                else:
                    await socket.send(message.SerializeToString())
                    self._outbox.task_done()
        except websockets.ConnectionClosed:
            return

    def _settle(self, problem: GreenroomError | None) -> None:
        self.problem = problem
        self.settled.set()


def backoff(failures: int) -> float:
    """Return how long to wait before connecting again: not at all at first, at most ten seconds, not all in step."""
    if not failures:
        return 0.0
    return random.uniform(0.5, 1.0) * min(_FIRST_DELAY * 2.0 ** min(failures - 1, 10), _MAX_DELAY)  # noqa: S311 - spreads load


async def _read(socket: ClientConnection) -> agent.ServerMessage | None:
    frame = await socket.recv()
    if isinstance(frame, str):
        return None
    message = agent.ServerMessage()
    try:
        message.ParseFromString(frame)
    except Exception:
        # Another class in each implementation of protobuf.
        return None
    return message
