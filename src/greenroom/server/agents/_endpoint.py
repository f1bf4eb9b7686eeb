"""``/agent``: where workers connect.

Source: ``pkg/service/agentservice.go``; ``docs/protocol.md``, "Workers".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from livekit.protocol import agent
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from greenroom.config import ServerConfig
from greenroom.errors import TokenError
from greenroom.grants import Grant, read_http_token, verify
from greenroom.ids import Prefix, new_id
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._errors import DispatchError
from greenroom.server.agents._link import WorkerLink
from greenroom.server.agents._messages import default_permission
from greenroom.server.agents._runner import Runner
from greenroom.server.agents._validate import worker_key

GOING_AWAY: Final = 1001
MAX_ERROR: Final = 1024


class WorkerEndpoint:
    """Lets workers in and turns what they send into calls of the dispatcher."""

    def __init__(self, config: ServerConfig, dispatcher: Dispatcher, runner: Runner) -> None:
        self._keys = {key.key: key for key in config.keys}
        self._limits = config.limits
        self._dispatcher = dispatcher
        self._runner = runner
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False
        self._handlers: dict[str, Callable[[str, agent.WorkerMessage], None]] = {
            "register": self._register,
            "availability": self._availability,
            "update_worker": self._update_worker,
            "update_job": self._update_job,
            "ping": self._ping,
            "simulate_job": self._simulate_job,
            "migrate_job": self._migrate_job,
        }

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount at the root."""
        # Without methods of its own, an application as endpoint answers every one.
        return [WebSocketRoute("/agent", self.serve), Route("/agent", PlainTextResponse("not found", 404))]

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one worker until its connection ends. A refusal is an HTTP status before the upgrade."""
        try:
            grant = self._authorize(websocket)
        except TokenError as error:
            await websocket.send_denial_response(PlainTextResponse(error.message, 401))
            return
        if self._closed or len(self._runner.links) >= self._limits.workers:
            await websocket.send_denial_response(PlainTextResponse("too many workers are connected", 503))
            return
        await websocket.accept()
        worker_id = new_id(Prefix.WORKER)
        link = WorkerLink(websocket, worker_id=worker_id, max_frame=self._limits.agent_message)
        self._runner.links[worker_id] = link
        self._runner.run(self._dispatcher.connect(worker_id, grant, self._runner.clock()))
        task = asyncio.create_task(link.run(lambda message: self._handle(worker_id, message)))
        self._serving.add(task)
        try:
            await task
        finally:
            self._serving.discard(task)
            del self._runner.links[worker_id]
            self._runner.run(self._dispatcher.disconnect(worker_id, self._runner.clock()))

    async def aclose(self) -> None:
        """Disconnect every worker, after what is queued for it. Idempotent."""
        self._closed = True
        for link in self._runner.links.values():
            link.close(GOING_AWAY, "the server stops")
        if self._serving:
            await asyncio.wait(self._serving)

    def _authorize(self, websocket: WebSocket) -> Grant:
        token = read_http_token(websocket.headers, websocket.query_params)
        grant = verify(token, self._keys, now=self._runner.clock()) if token is not None else None
        if grant is None or grant.claims.video is None or not grant.claims.video.agent:
            raise TokenError("permissions denied")
        return grant

    def _handle(self, worker_id: str, message: agent.WorkerMessage) -> None:
        # A kind of message that this version does not know is skipped: workers may be newer.
        handler = self._handlers.get(message.WhichOneof("message") or "")
        if handler is not None:
            handler(worker_id, message)

    def _register(self, worker_id: str, message: agent.WorkerMessage) -> None:
        request = message.register
        now = self._runner.clock()
        try:
            key = worker_key(request, self._limits)
        except DispatchError as error:
            self._runner.run(self._dispatcher.refuse(worker_id, error.message, error.fix))
            return
        permission = request.allowed_permissions if request.HasField("allowed_permissions") else default_permission()
        version = request.version[: self._limits.name]
        self._runner.run(self._dispatcher.register(worker_id, key, permission, version, now))

    def _availability(self, worker_id: str, message: agent.WorkerMessage) -> None:
        self._runner.run(self._dispatcher.answer(worker_id, message.availability, self._runner.clock()))

    def _update_worker(self, worker_id: str, message: agent.WorkerMessage) -> None:
        self._runner.run(self._dispatcher.update_worker(worker_id, message.update_worker, self._runner.clock()))

    def _update_job(self, worker_id: str, message: agent.WorkerMessage) -> None:
        update = message.update_job
        update.error = update.error[:MAX_ERROR]
        self._runner.run(self._dispatcher.update_job(worker_id, update, self._runner.clock()))

    def _ping(self, worker_id: str, message: agent.WorkerMessage) -> None:
        now = int(self._runner.clock() * 1000)
        pong = agent.WorkerPong(last_timestamp=message.ping.timestamp, timestamp=now)
        self._runner.links[worker_id].send(agent.ServerMessage(pong=pong))

    def _simulate_job(self, worker_id: str, message: agent.WorkerMessage) -> None:
        self._runner.run(self._dispatcher.simulate(worker_id, message.simulate_job, self._runner.clock()))

    def _migrate_job(self, worker_id: str, message: agent.WorkerMessage) -> None:
        self._runner.run(self._dispatcher.migrate(worker_id, message.migrate_job.job_ids, self._runner.clock()))
