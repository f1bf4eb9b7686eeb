"""What the pool's HTTP port answers: health, metrics, its own state, and the orders to drain and to reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import read_http_token, verify
from greenroom.pool.supervisor._http import JSON, Request, Response
from greenroom.reports import PoolSnapshot

WORKER_PROTOCOL: Final = 1
_READS: Final = frozenset({"GET", "HEAD"})


class Told(Protocol):
    """The pool, as its HTTP port knows it."""

    def snapshot(self) -> PoolSnapshot:
        """Return what it is doing."""
        ...

    def health(self) -> str:
        """Return what keeps it from taking calls; empty when nothing does."""
        ...

    def metrics(self) -> str:
        """Return its figures as Prometheus reads them."""
        ...

    def order_drain(self) -> None:
        """Begin to drain, and end once drained."""

    def order_reload(self) -> None:
        """Begin to reload."""


class Routes:
    """Answers requests.

    :param key: whose tokens with the grant ``agent: {admin: true}`` may give orders from other machines.
    """

    def __init__(self, pool: Told, key: ApiKey) -> None:
        self._pool = pool
        self._key = key
        self._reads: Mapping[str, Callable[[], Response]] = {
            "/": self._health,
            "/healthz": self._health,
            "/worker": self._worker,
            "/metrics": self._metrics,
            "/api/pool": self._snapshot,
        }
        self._orders: Mapping[str, Callable[[], None]] = {"/drain": pool.order_drain, "/reload": pool.order_reload}

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        read, order = self._reads.get(request.path), self._orders.get(request.path)
        if read is None and order is None:
            return Response(status=404, body=b"not found\n")
        if read is not None and request.method in _READS:
            if request.path == "/api/pool" and not self._may(request):
                return Response(status=403, body=b"only from this machine, or with a token of the pool's API key\n")
            return read()
        if order is None or request.method != "POST":
            return Response(status=405, body=b"method not allowed\n")
        if not self._may(request):
            return Response(status=403, body=b"only from this machine, or with a token of the pool's API key\n")
        order()
        return Response(status=202, body=b"accepted\n")

    def _may(self, request: Request) -> bool:
        try:
            token = read_http_token(request.headers, {})
            if token is None:
                return request.is_local
            claims = verify(token, (self._key,)).claims
        except TokenError:
            return False
        return claims.agent is not None and claims.agent.admin

    def _health(self) -> Response:
        problem = self._pool.health()
        return Response(status=503, body=f"{problem}\n".encode()) if problem else Response(body=b"OK")

    def _worker(self) -> Response:
        snapshot = self._pool.snapshot()
        # As upstream's workers answer it.
        body = {
            "agent_name": next((agent.dispatch for agent in snapshot.agents), ""),
            "worker_type": "JT_ROOM",
            "worker_load": snapshot.load,
            "active_jobs": len(snapshot.sessions),
            "sdk_version": snapshot.versions.get("livekit-agents", ""),
            "protocol_version": WORKER_PROTOCOL,
        }
        return Response(body=msgspec.json.encode(body), kind=JSON)

    def _metrics(self) -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(body=self._pool.metrics().encode(), kind=kind)

    def _snapshot(self) -> Response:
        return Response(body=msgspec.json.encode(self._pool.snapshot()), kind=JSON)
